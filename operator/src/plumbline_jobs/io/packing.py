"""Opens a source file as a plain stream of bytes, whatever it is packed in, within bounds."""

import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Literal

from plumbline_jobs.errors import Refused

Compression = Literal["None", "Gzip", "Zip"]


@dataclass(frozen=True, slots=True)
class PackingBounds:
    """How much a packed source may unpack to.

    A ratio above `ratio` counts as an attack only beyond `free_bytes`: short repetitive tables compress very well.
    """

    unpacked_bytes: int = 64 << 30
    ratio: int = 300  # deflate cannot exceed 1,032; real tables lie below 50
    free_bytes: int = 64 << 20


class Bounded(io.RawIOBase):
    """A readable stream that raises Refused once it has given more than its bounds allow."""

    def __init__(self, inner: BinaryIO, packed_bytes: int, bounds: PackingBounds) -> None:
        self._inner = inner
        self._packed = max(packed_bytes, 1)
        self._bounds = bounds
        self._given = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]  # typeshed: WriteableBuffer
        data = self._inner.read(len(buffer))
        buffer[: len(data)] = data
        self._given += len(data)
        self._check()
        return len(data)

    def _check(self) -> None:
        if self._given > self._bounds.unpacked_bytes:
            raise Refused(
                "SourceUnreadable",
                f"the source unpacks to more than {self._bounds.unpacked_bytes} bytes; split it into several objects",
            )
        if self._given > self._bounds.free_bytes and self._given > self._packed * self._bounds.ratio:
            raise Refused(
                "SourceUnreadable",
                f"the source unpacks to more than {self._bounds.ratio} times its size; it looks like a decompression "
                "bomb. Store it unpacked if it is not",
            )


@contextmanager
def unpacked(path: Path, compression: Compression, bounds: PackingBounds | None = None) -> Iterator[BinaryIO]:
    """The plain bytes of a source file as a buffered stream.

    Raises Refused, reason SourceUnreadable, when the file is not packed as declared, is damaged, is a zip that does
    not hold exactly one ordinary file, or unpacks to more than the bounds.
    """
    try:
        with path.open("rb") as file, _opened(file, compression) as inner:
            yield io.BufferedReader(Bounded(inner, path.stat().st_size, bounds or PackingBounds()), 1 << 20)
    except (gzip.BadGzipFile, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise Refused("SourceUnreadable", f"the source is not a whole {compression} file: {error}") from error
    except NotImplementedError as error:
        raise Refused("SourceUnreadable", f"the zip's member uses a packing that is not supported: {error}") from error


@contextmanager
def _opened(file: BinaryIO, compression: Compression) -> Iterator[BinaryIO]:
    if compression == "None":
        yield file
    elif compression == "Gzip":
        with gzip.GzipFile(fileobj=file) as packed:
            yield packed  # type: ignore[misc]  # GzipFile reads like a BinaryIO but typeshed does not say so
    else:
        with zipfile.ZipFile(file) as archive, archive.open(_only_member(archive)) as member:
            yield member  # type: ignore[misc]  # as above


def _only_member(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    members = archive.infolist()
    if len(members) != 1:
        raise Refused("SourceUnreadable", f"the zip has {len(members)} members; it must hold exactly one file")
    member = members[0]
    name = PurePosixPath(member.filename.replace("\\", "/"))
    if member.is_dir() or name.is_absolute() or ".." in name.parts or ":" in member.filename:
        raise Refused("SourceUnreadable", "the zip's member is a folder, or its name climbs out of the archive")
    if member.flag_bits & 0x1:
        raise Refused("SourceUnreadable", "the zip's member is encrypted; store it without a password")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        # LZMA lets the file choose how much memory unpacking takes, and the bounds are made for deflate.
        raise Refused("SourceUnreadable", "the zip's member is not packed with deflate; store it with the usual zip")
    if (member.external_attr >> 16) & 0o170000 == 0o120000:
        raise Refused("SourceUnreadable", "the zip's member is a symbolic link; store the file itself")
    return member
