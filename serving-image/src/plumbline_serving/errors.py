"""What can go wrong in a server.

ServingError
├── StartFailure  the server cannot start: wrong settings, storage, digest, model file. The process ends with a line.
└── BadRequest    the caller's request is wrong: 4xx with a message that names the field.
"""


class ServingError(Exception):
    """Base of all errors of the server."""


class StartFailure(ServingError):
    """The server cannot start; the message says what, where and what to do."""


class BadRequest(ServingError):
    """The request is wrong. `status` is the HTTP status to answer."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.message, self.status = message, status
