"""What can go wrong at the API server.

KubeError
├── Refused     the server says the request itself is wrong (400, 403, 422): trying again as is cannot help
├── Conflict    someone else was faster (409): read again
└── Unreachable network, overload or server trouble (408, 429, 5xx, timeouts): back off and try again
"""


class KubeError(Exception):
    """An API call failed. `code` is the HTTP status, 0 without an answer."""

    def __init__(self, verb: str, what: str, code: int, message: str) -> None:
        super().__init__(f"{verb} {what}: {code or 'no answer'}: {message}")
        self.verb, self.what, self.code, self.message = verb, what, code, message


class Refused(KubeError):
    """The server refused the request itself."""


class Conflict(KubeError):
    """The object changed, or was created again, since it was read."""


class Unreachable(KubeError):
    """No usable answer; `retry_after` are the seconds the server asked for, if it did, a minute at most."""

    def __init__(self, verb: str, what: str, code: int, message: str, retry_after: float | None = None) -> None:
        super().__init__(verb, what, code, message)
        self.retry_after = retry_after
