"""Log lines that quote no caller: an exception is logged as its kind and place, without what it says.

What a library says of a value it cannot take often is that value. Requests hold personal data, and logs are kept by
other people, in other places and for another time than the prediction log.
"""

import logging
from traceback import format_tb
from types import TracebackType

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
Raised = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class Discreet(logging.Formatter):
    """Formats records as FORMAT says, and exceptions without their messages."""

    def formatException(self, ei: Raised) -> str:
        """Kind and place of an exception and of those that led to it, the first one first."""
        found: list[str] = []
        error = ei[1]
        while error is not None:
            found.append("".join(format_tb(error.__traceback__)) + type(error).__name__)
            error = error.__cause__ or error.__context__
        return "\n".join(reversed(found))


def set_up() -> None:
    """Send the log of this process to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(Discreet(FORMAT))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
