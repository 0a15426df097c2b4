"""Watches text on its way to the CSV parser, which would swallow some faults silently."""

import codecs
import io
from typing import BinaryIO

from plumbline_jobs.errors import Refused

LINE_LIMIT = 1 << 20  # bytes; longer lines are a wrong file or a missing line end, and would not fit a parser block
_BLOCK = 1 << 18


class CleanText(io.RawIOBase):
    """A byte stream that is UTF-8 without NUL bytes, with lines of bounded length and paired quotes.

    A byte order mark at the start is taken away. Raises Refused, reason SourceUnreadable, naming the line (the
    header is line 1) at the first fault.
    """

    def __init__(self, inner: BinaryIO, line_limit: int = LINE_LIMIT) -> None:
        self._inner = inner
        self._limit = line_limit
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._line = 1  # the line in which the next byte lies
        self._open_bytes = 0  # bytes of that line so far
        self._quotes = 0
        self._last_quoted_line = 0
        self._after_cr = False
        self._pending = memoryview(b"")
        self._started = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]  # typeshed: WriteableBuffer
        if not self._pending:
            self._pending = memoryview(self._next())
        size = min(len(buffer), len(self._pending))
        buffer[:size] = self._pending[:size]
        self._pending = self._pending[size:]
        return size

    def _next(self) -> bytes:
        data = self._inner.read(_BLOCK)
        if not self._started:
            self._started = True
            data = data.removeprefix(codecs.BOM_UTF8) or self._inner.read(_BLOCK)
        self._check(data)
        return data

    def _check(self, data: bytes) -> None:
        try:
            self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            line = self._line + _ends(data[: max(error.start, 0)])
            raise _refused(f"line {line} is not UTF-8; save the table as UTF-8") from error
        if (zero := data.find(b"\0")) >= 0:
            raise _refused(f"line {self._line + _ends(data[:zero])} contains a NUL byte; the source is not text")
        self._count_quotes(data)
        self._measure(data)

    def _count_quotes(self, data: bytes) -> None:
        quotes = data.count(b'"')
        if quotes:
            self._quotes += quotes
            self._last_quoted_line = self._line + _ends(data[: data.rfind(b'"')])
        if not data and self._quotes % 2:
            raise _refused(
                f"the number of quote characters is odd (the last is in line {self._last_quoted_line}): "
                'a quoted cell is never closed, or a quote inside a cell is not doubled ("")'
            )

    def _measure(self, data: bytes) -> None:
        """Line lengths; a line ends at LF, CR or CR LF, and files may mix them."""
        lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        continued = self._after_cr and data[:1] == b"\n"  # the LF of a CR LF that two blocks share
        if continued:
            lines = lines[1:]
        lengths = [len(line) for line in lines]
        if lengths:
            lengths[0] += self._open_bytes
            longest = max(lengths)
            if longest > self._limit:
                line = self._line + lengths.index(longest)
                raise _refused(f"line {line} is longer than {self._limit} bytes; are its line ends missing?")
            self._open_bytes = lengths[-1]
            self._line += len(lines) - 1
        self._after_cr = data[-1:] == b"\r"


def _ends(data: bytes) -> int:
    return data.count(b"\n") + data.count(b"\r") - data.count(b"\r\n")


def _refused(text: str) -> Refused:
    return Refused("SourceUnreadable", f"the source cannot be read as CSV: {text}")
