"""The only door to the API server."""

from collections.abc import Mapping
from typing import Protocol

from plumbline_operator.model.meta import Manifest, Ref


class Reader(Protocol):
    """Live reads. Every call asks the API server; nothing is cached."""

    async def get(self, ref: Ref, namespace: str, name: str) -> Manifest | None:
        """The object, or None when it does not exist."""

    async def list(
        self, ref: Ref, namespace: str | None = None, labels: Mapping[str, str] | None = None
    ) -> list[Manifest]:
        """All objects of a type in a namespace (None: all namespaces), with all these labels."""


class Kube(Reader, Protocol):
    """Reads and the few writes. All raise kube.errors.KubeError."""

    async def apply(self, ref: Ref, manifest: Manifest) -> Manifest:
        """Server-side apply under our field manager, forced for the fields sent."""

    async def apply_status(self, ref: Ref, manifest: Manifest) -> Manifest:
        """Server-side apply of `status` under our status manager, as read with `metadata.resourceVersion` (required).

        A uid would not do: on a status, the API server ignores one that does not match. What strangers have put into
        the status is removed, but for conditions of another domain.
        """

    async def delete(self, ref: Ref, namespace: str, name: str, uid: str) -> None:
        """Delete the object with this uid, children in the background; gone or created again is fine."""

    async def event(self, manifest: Manifest) -> None:
        """Create or, for a repeated one, patch an events.k8s.io/v1 Event."""

    async def may(self, verb: str, ref: Ref, namespace: str | None, subresource: str = "", name: str = "") -> bool:
        """Whether the operator itself is allowed to do this (SelfSubjectAccessReview); `name` empty: to every one."""
