"""Somebody who may do everything and is not the operator: reads, changes and deletes under a name of his own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from plumbline_operator.kube.http import path_of
from plumbline_operator.model.meta import Manifest, Ref

NAME = "stranger"  # field manager
MERGE = "application/merge-patch+json"
DONE = range(200, 300)


class Refusal(Exception):
    """The API server did not let him; with its words."""


@dataclass(slots=True)
class Stranger:
    """One client in one namespace."""

    session: aiohttp.ClientSession
    namespace: str

    async def look(self, ref: Ref, name: str) -> Manifest | None:
        """The object as it is, or None."""
        code, body = await self._ask("GET", ref, name)
        return None if code == 404 else _good(code, body)

    async def list(self, ref: Ref) -> list[Manifest]:
        """All objects of a type, with their type."""
        items = _good(*await self._ask("GET", ref))["items"]
        return [{"apiVersion": ref.api_version, "kind": ref.kind, **one} for one in items]

    async def patch(self, ref: Ref, name: str, change: Mapping[str, Any], subresource: str = "") -> Manifest:
        """Merge a change into an object; None removes."""
        return _good(*await self._ask("PATCH", ref, name, subresource, body=change))

    async def replace(self, ref: Ref, obj: Manifest, *, dry: bool = False) -> Manifest:
        """Write a whole object, as an editor does; dry: only ask whether it would be taken."""
        query = {"dryRun": "All"} if dry else {}
        return _good(*await self._ask("PUT", ref, obj["metadata"]["name"], body=obj, **query))

    async def create(self, ref: Ref, obj: Manifest) -> Manifest:
        """Create an object."""
        return _good(*await self._ask("POST", ref, body=obj))

    async def delete(self, ref: Ref, name: str) -> None:
        """Delete an object and, in the background, what belongs to it; one that is gone is fine."""
        code, body = await self._ask("DELETE", ref, name, body={"propagationPolicy": "Background"})
        if code != 404:
            _good(code, body)

    async def _ask(
        self, method: str, ref: Ref, name: str = "", subresource: str = "", body: Any = None, **query: str
    ) -> tuple[int, Any]:
        path = path_of(ref, self.namespace if ref.namespaced else None, name, subresource)
        kind = MERGE if method == "PATCH" else "application/json"
        params = query if method in ("GET", "DELETE") else query | {"fieldManager": NAME}
        async with self.session.request(
            method, path, json=body, params=params, headers={"Content-Type": kind, "Accept": "application/json"}
        ) as answer:
            return answer.status, await answer.json()


def _good(code: int, body: Any) -> Manifest:
    if code not in DONE:
        raise Refusal(f"{code}: {body.get('message', body)}")
    return dict(body)
