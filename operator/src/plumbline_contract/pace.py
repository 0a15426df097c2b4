"""How slowly the bytes of an object may come from storage.

A server that gives a byte now and then keeps every socket's timeout from expiring; only the pace tells.
"""

from collections.abc import Callable, Iterable, Iterator
from time import monotonic

CHUNK = 1 << 15  # bytes to read at a time: as many as the slowest pace brings in four seconds
SLOWEST = 8 << 10  # bytes a second; a body that is slower on average is given up
PATIENCE_SECONDS = 20.0  # before the pace is looked at


class TooSlow(TimeoutError):
    """A body that hardly comes."""

    def __init__(self, size: int, seconds: float) -> None:
        super().__init__(
            f"it gave {size} bytes of an object in {seconds:.0f} s; less than {SLOWEST} bytes a second is taken for an "
            "outage"
        )


def paced(chunks: Iterable[bytes], clock: Callable[[], float] = monotonic) -> Iterator[bytes]:
    """The chunks of a body as they come, `CHUNK` bytes each. Raises TooSlow when they hardly do."""
    began, size = clock(), 0
    for chunk in chunks:
        size += len(chunk)
        seconds = clock() - began
        if seconds > PATIENCE_SECONDS and size < seconds * SLOWEST:
            raise TooSlow(size, seconds)
        yield chunk
