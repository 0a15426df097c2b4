"""What the gate refuses with, and the bounds it holds a file to."""

from dataclasses import dataclass


class ModelRefused(ValueError):
    """The bytes are not a model we run. `code` is a short CamelCase fact, the text says what, where and what to do."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Bounds:
    """Largest model the gate lets through. Counts, unless the name says bytes.

    `file_bytes` stays under protobuf's own 2 GiB; the others stop files that are small on disk and huge in memory.
    """

    file_bytes: int = 1 << 30
    nodes: int = 200_000
    depth: int = 16  # graphs inside graphs (If, Loop, Scan)
    inputs: int = 4_096
    outputs: int = 64
    dimension: int = 1 << 31
    rank: int = 32  # dimensions of one tensor; the product of very many is slow to take, and operators take 8
    name_bytes: int = 512
    metadata_bytes: int = 1 << 20


def text(value: str | bytes, where: str) -> str:
    """A text field's value. Protobuf hands out bytes, instead of an error, where a file's text is not UTF-8."""
    if isinstance(value, str):
        return value
    raise ModelRefused("NotText", f"{where} is not UTF-8; the file is damaged, or was never made by an exporter")
