"""What a request to the API server asks for, read from its method and path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
REVIEWS = frozenset({"selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews"})
UNCOUNTED = frozenset({"leases", "events"}) | REVIEWS  # the machinery's own, not the state of anybody's objects


@dataclass(frozen=True, slots=True)
class Call:
    """One request. `resource` is the plural, empty for paths that name none; `name` is empty for collections.

    `agent` is the client's name for itself, `token` its bearer token.
    """

    method: str
    resource: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    watch: bool = False
    agent: str = field(default="", compare=False)
    token: str = field(default="", compare=False, repr=False)

    @property
    def changes(self) -> bool:
        """Whether it changes something; a review is a question in the form of a POST."""
        return self.method in WRITES and self.resource not in REVIEWS

    @property
    def disturbs(self) -> bool:
        """Whether it ends silence: every change but the leader's heartbeat."""
        return self.changes and self.resource != "leases"

    @property
    def counted(self) -> bool:
        """Whether it is one of the writes that have a number."""
        return self.method in WRITES and self.resource not in UNCOUNTED

    @property
    def place(self) -> str:
        """`resource/name/subresource`, for people."""
        return "/".join(part for part in (self.resource, self.name, self.subresource) if part)


def call_of(method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str] | None = None) -> Call:
    """The call that a method, path, query and headers mean to the API server."""
    parts = [part for part in path.split("/") if part]
    rest = parts[2:] if parts[:1] == ["api"] else parts[3:] if parts[:1] == ["apis"] else []
    namespace = ""
    if len(rest) > 2 and rest[0] == "namespaces":
        namespace, rest = rest[1], rest[2:]
    resource, name, subresource = (*rest[:3], "", "", "")[:3]
    watch = method == "GET" and query.get("watch", "").lower() in ("1", "true")
    sent = headers or {}
    scheme, _, token = sent.get("Authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    return Call(method, resource, namespace, name, subresource, watch, sent.get("User-Agent", ""), bearer)
