"""A user's writes, as kubectl sends them: the API server is asked to refuse unknown fields."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from plumbline_operator.kube.http import path_of
from plumbline_operator.kube.wire import as_yaml
from plumbline_operator.model.meta import Manifest, Ref
from tests.support.faultproxy import Upstream

SECONDS = 60.0  # of one request; longer is a hang
STRICT = {"fieldValidation": "Strict", "fieldManager": "kubectl"}
APPLY = "application/apply-patch+yaml"
AGAIN = frozenset({409, 429, 500, 503, 504})  # somebody else wrote, or the server was busy
TRIES = 20


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API server said to a write."""

    code: int
    message: str
    object: Manifest

    @property
    def taken(self) -> bool:
        """Whether the write was done."""
        return self.code < 300


class Users:
    """Everybody who writes objects of ours in one namespace."""

    def __init__(self, upstream: Upstream, namespace: str) -> None:
        self.namespace = namespace
        self._session = upstream.session()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def read(self, ref: Ref, name: str) -> Manifest | None:
        """The object, or None."""
        answer = await self._ask("GET", path_of(ref, self.namespace, name))
        return answer.object if answer.taken else None

    async def every(self, ref: Ref) -> list[Manifest]:
        """All objects of a type."""
        items: list[Manifest] = (await self._ask("GET", path_of(ref, self.namespace))).object["items"]
        return items

    async def apply(self, ref: Ref, name: str, spec: Any) -> Answer:
        """`kubectl apply --server-side`."""
        body = self._object(ref, name, spec)
        path = path_of(ref, self.namespace, name)
        query = STRICT | {"force": "true"}
        return await self._until_said(lambda: self._ask("PATCH", path, as_yaml(body), query, APPLY))

    async def replace(self, ref: Ref, name: str, spec: Any) -> Answer:
        """`kubectl replace`, or `create` when there is no such object."""

        async def once() -> Answer:
            live = await self.read(ref, name)
            body = self._object(ref, name, spec)
            if live is None:
                return await self._ask("POST", path_of(ref, self.namespace), json.dumps(body), STRICT)
            body["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"]
            return await self._ask("PUT", path_of(ref, self.namespace, name), json.dumps(body), STRICT)

        return await self._until_said(once)

    async def remove(self, ref: Ref, name: str) -> None:
        """Delete an object, its children after it."""
        options = {"propagationPolicy": "Background"}
        await self._ask("DELETE", path_of(ref, self.namespace, name), json.dumps(options))

    def _object(self, ref: Ref, name: str, spec: Any) -> Manifest:
        meta: Manifest = {"name": name, "namespace": self.namespace}
        return {"apiVersion": ref.api_version, "kind": ref.kind, "metadata": meta, "spec": spec}

    async def _until_said(self, ask: Any) -> Answer:
        """The answer to a write, asked again while only somebody else's write or a busy server is in the way."""
        for _ in range(TRIES):
            answer: Answer = await ask()
            if answer.code not in AGAIN or "field" in answer.message:
                return answer
            await asyncio.sleep(0.2)
        return answer

    async def _ask(
        self,
        method: str,
        path: str,
        data: str | bytes | None = None,
        query: dict[str, str] | None = None,
        kind: str = "application/json",
    ) -> Answer:
        async with (
            asyncio.timeout(SECONDS),
            self._session.request(method, path, data=data, params=query, headers={"Content-Type": kind}) as answer,
        ):
            text = await answer.text()
        try:
            found = json.loads(text)
        except ValueError:
            found = {"message": text[:300]}
        message = "" if answer.status < 300 else str(found.get("message", ""))
        return Answer(answer.status, message, found)
