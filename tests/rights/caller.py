"""Somebody who talks to the API server with credentials of their own, and sees its answer as it is."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp

from plumbline_operator.kube.http import path_of
from plumbline_operator.kube.refs import ref_of
from plumbline_operator.model.meta import Manifest, Ref
from tests.support.cluster import Cluster

MERGE, APPLY = "application/merge-patch+json", "application/apply-patch+yaml"
SECONDS = 30.0
EXTRA = "Impersonate-Extra-"


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and body of a response. `text`: what a refusal says."""

    code: int
    body: Manifest

    @property
    def ok(self) -> bool:
        """Whether it was done."""
        return 200 <= self.code <= 299

    @property
    def text(self) -> str:
        """The message of a refusal; empty when it was done."""
        return "" if self.ok else f"{self.code} {self.body.get('message', '')}"


@dataclass(frozen=True, slots=True)
class Caller:
    """One connection of one identity. `headers` impersonate somebody, if anybody."""

    session: aiohttp.ClientSession
    server: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def acting_as(self, name: str, *groups: str, extra: Mapping[str, str] | None = None) -> Caller:
        """The same credentials, impersonating somebody. One group at most: a header can be given once."""
        found = {
            "Impersonate-User": name,
            **{f"{EXTRA}{quote(key, safe='')}": value for key, value in (extra or {}).items()},
        }
        for group in groups:
            found["Impersonate-Group"] = group
        return Caller(self.session, self.server, found)

    async def ask(
        self, method: str, path: str, body: Any = None, *, query: Mapping[str, str] | None = None, kind: str = ""
    ) -> Answer:
        """One request; `kind`: the content type of its body."""
        sent = None if body is None else json.dumps(body)
        headers = {**self.headers, "Accept": "application/json", "Content-Type": kind or "application/json"}
        async with self.session.request(
            method, self.server + path, data=sent, params=dict(query or {}), headers=headers
        ) as reply:
            text = await reply.text()
            return Answer(reply.status, json.loads(text) if text.startswith("{") else {"message": text})

    async def create(self, namespace: str, obj: Manifest, **query: str) -> Answer:
        """Create an object; `query`: fieldValidation, dryRun and so on."""
        ref = ref_of(obj)
        return await self.ask("POST", path_of(ref, namespace), placed(obj, namespace), query=query)

    async def patch(self, ref: Ref, namespace: str, name: str, change: Any, sub: str = "") -> Answer:
        """A merge patch."""
        return await self.ask("PATCH", path_of(ref, namespace, name, sub), change, kind=MERGE)

    async def delete(self, ref: Ref, namespace: str, name: str) -> Answer:
        """Delete an object."""
        return await self.ask("DELETE", path_of(ref, namespace, name))

    async def look(self, ref: Ref, namespace: str, name: str) -> Manifest:
        """An object; empty while it does not exist."""
        answer = await self.ask("GET", path_of(ref, namespace, name))
        return answer.body if answer.ok else {}

    async def all(self, ref: Ref, namespace: str) -> list[Manifest]:
        """All objects of a type in a namespace. Raises AssertionError when they cannot be had."""
        answer = await self.ask("GET", path_of(ref, namespace))
        assert answer.ok, f"list {ref.plural} in {namespace}: {answer.text}"
        return [{"apiVersion": ref.api_version, "kind": ref.kind, **one} for one in answer.body["items"]]


def placed(obj: Manifest, namespace: str) -> Manifest:
    """The object as its user writes it, in this namespace."""
    meta = {k: v for k, v in obj["metadata"].items() if k in ("name", "labels", "annotations", "ownerReferences")}
    return {k: v for k, v in obj.items() if k != "status"} | {"metadata": meta | {"namespace": namespace}}


@asynccontextmanager
async def caller(kubeconfig: Path) -> AsyncIterator[Caller]:
    """A connection with the credentials of a kubeconfig of ours, which is JSON and holds everything inline."""
    config = json.loads(await asyncio.to_thread(kubeconfig.read_text))
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=authority)
    headers = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}
    if "client-key-data" in user:
        _present(context, user)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=context, limit=40),
        timeout=aiohttp.ClientTimeout(total=SECONDS),
        headers=headers,
    ) as session:
        yield Caller(session, cluster["server"])


@asynccontextmanager
async def person(cluster: Cluster, name: str, *groups: str) -> AsyncIterator[Caller]:
    """Somebody with a client certificate."""
    async with caller(cluster.user_kubeconfig(name, groups)) as one:
        yield one


def _present(context: ssl.SSLContext, user: Mapping[str, str]) -> None:
    """Load the client certificate, which ssl takes from files only."""
    with tempfile.TemporaryDirectory() as folder:
        pair = Path(folder, "certificate"), Path(folder, "key")
        for path, part in zip(pair, ("client-certificate-data", "client-key-data"), strict=True):
            path.write_bytes(base64.b64decode(user[part]))
        context.load_cert_chain(*pair)
