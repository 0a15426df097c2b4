"""What can go wrong in a server.

ServingError
├── StartFailure    the server cannot start: wrong settings, storage, digest, model file. The process ends with a line.
├── StorageTrouble  storage did not take or give an object; trying again may help.
├── Unencodable     records that cannot be written as a file; the message is a kind of error, never a value.
└── BadRequest      the caller's request is wrong: 4xx with a message that names the field.
"""


class ServingError(Exception):
    """Base of all errors of the server."""


class StartFailure(ServingError):
    """The server cannot start; the message says what, where and what to do."""


class StorageTrouble(ServingError):
    """Storage did not take or give an object; trying again may help."""


class Unencodable(ServingError):
    """Records that cannot be written as a file. What a library says of them may quote a value, so it is left out."""


class BadRequest(ServingError):
    """The request is wrong. `status` is the HTTP status to answer."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.message, self.status = message, status
