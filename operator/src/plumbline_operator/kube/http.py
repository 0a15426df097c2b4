"""The Kube protocol over HTTP, on the transport of the official asynchronous client."""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration

from plumbline_operator.kube.errors import Conflict, KubeError, Refused, Unreachable
from plumbline_operator.kube.refs import EVENTS
from plumbline_operator.kube.wire import as_yaml
from plumbline_operator.model.conditions import is_ours
from plumbline_operator.model.meta import MANAGER, STATUS_MANAGER, Manifest, Ref

IN_FLIGHT = 20  # requests at once; beyond it the API server's own fairness queues them anyway
PAGE = 500  # objects per list request, as kubectl does
CONNECT_SECONDS = 10.0
REQUEST_SECONDS = 30.0
LONGEST_QUIET_SECONDS = 60.0  # however long a Retry-After is: a proxy asks for an hour as if for a second
APPLY = "application/apply-patch+yaml; charset=utf-8"  # the client writes ASCII where the charset is not said
MERGE = "application/merge-patch+json"
WRITES = frozenset({"apply", "apply_status", "clear_status", "delete", "event"})  # all but those of the Lease itself
REVIEWS = Ref("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", namespaced=False)

Observer = Callable[[str, str, int, float], None]


def unobserved(verb: str, plural: str, code: int, seconds: float) -> None:
    """Measures nothing."""


def unfenced() -> bool:
    """Nobody else could be leading."""
    return True


@dataclass(frozen=True, slots=True)
class _Call:
    """One request, in our words."""

    verb: str
    method: str
    ref: Ref
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: Manifest | None = None
    content_type: str = "application/json"


class HttpKube:
    """Implements kube.protocol.Kube. Nothing is cached and nothing is tried twice.

    While the API server wants to be left alone with a verb on a type (Retry-After), such calls fail without being sent.
    """

    def __init__(self, configuration: Configuration, observer: Observer = unobserved) -> None:
        self._client = ApiClient(configuration)
        self._observer = observer
        self._fence: Callable[[], bool] = unfenced
        self._gate = asyncio.Semaphore(IN_FLIGHT)
        self._quiet_until: dict[tuple[str, str], float] = {}
        self._timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS, sock_connect=CONNECT_SECONDS)

    def fence(self, leads: Callable[[], bool]) -> None:
        """From now on, fail every write without sending it unless `leads` says so at that moment.

        A process that slept in the middle of a reconcile wakes with a plan of before; another one has gone on since.
        """
        self._fence = leads

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def get(self, ref: Ref, namespace: str, name: str) -> Manifest | None:
        """The object, or None when it does not exist."""
        try:
            return await self._send(_Call("get", "GET", ref, path_of(ref, namespace, name)))
        except Refused as exc:
            if exc.code == 404:
                return None
            raise

    async def list(
        self, ref: Ref, namespace: str | None = None, labels: Mapping[str, str] | None = None
    ) -> "list[Manifest]":
        """All objects of a type in a namespace (None: all namespaces), with all these labels."""
        found: list[Manifest] = []
        query: dict[str, str] = {"limit": str(PAGE)}
        if labels:
            query["labelSelector"] = ",".join(f"{k}={v}" for k, v in sorted(labels.items()))
        while True:
            page = await self._send(_Call("list", "GET", ref, path_of(ref, namespace), tuple(query.items())))
            # Items of a list carry neither apiVersion nor kind.
            found += [{"apiVersion": ref.api_version, "kind": ref.kind, **item} for item in page["items"]]
            query["continue"] = page["metadata"].get("continue", "")
            if not query["continue"]:
                return found

    async def apply(self, ref: Ref, manifest: Manifest) -> Manifest:
        """Server-side apply under our field manager, forced for the fields sent."""
        return await self._apply("apply", ref, manifest, MANAGER)

    async def apply_status(self, ref: Ref, manifest: Manifest) -> Manifest:
        """Server-side apply of `status` under our status manager; raises KeyError without `metadata.resourceVersion`.

        Conflict when the object has changed, or is gone, since it was read with that version. Whatever else stands in
        the status afterwards is a stranger's and goes, but for conditions of another domain: a status is what we
        remember.
        """
        _ = manifest["metadata"]["resourceVersion"]
        try:
            made = await self._apply_status(ref, manifest)
            foreign = surplus(made, manifest)
            return await self._clear_status(ref, made, foreign) if foreign else made
        except Refused as exc:
            if exc.code == 404:
                raise Conflict(exc.verb, exc.what, exc.code, exc.message) from exc
            raise

    async def delete(self, ref: Ref, namespace: str, name: str, uid: str) -> None:
        """Delete the object with this uid, children in the background; gone or created again is fine."""
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid},
            "propagationPolicy": "Background",
        }
        try:
            await self._send(_Call("delete", "DELETE", ref, path_of(ref, namespace, name), body=options))
        except Conflict:
            return  # another object has that name by now
        except Refused as exc:
            if exc.code != 404:
                raise

    async def event(self, manifest: Manifest) -> None:
        """Create or, for a repeated one, patch an events.k8s.io/v1 Event."""
        await self._apply("event", EVENTS, manifest, MANAGER)

    async def may(self, verb: str, ref: Ref, namespace: str | None, subresource: str = "", name: str = "") -> bool:
        """Whether the operator itself is allowed to do this (SelfSubjectAccessReview); `name` empty: to every one."""
        wanted = {"verb": verb, "group": ref.group, "resource": ref.plural, "subresource": subresource}
        if name:
            wanted["name"] = name
        if namespace is not None:
            wanted["namespace"] = namespace
        body = {
            "apiVersion": REVIEWS.api_version,
            "kind": REVIEWS.kind,
            "spec": {"resourceAttributes": wanted},
        }
        answer = await self._send(_Call("may", "POST", REVIEWS, path_of(REVIEWS), body=body))
        return bool(answer["status"].get("allowed", False))

    async def create(self, ref: Ref, manifest: Manifest) -> Manifest:
        """Create an object; Conflict when its name is taken. Only for what is not ours by server-side apply."""
        path = path_of(ref, manifest["metadata"]["namespace"])
        return await self._send(_Call("create", "POST", ref, path, body=manifest))

    async def replace(self, ref: Ref, manifest: Manifest) -> Manifest:
        """Replace an object as it was read; Conflict when its resourceVersion has moved on."""
        meta = manifest["metadata"]
        return await self._send(
            _Call("replace", "PUT", ref, path_of(ref, meta["namespace"], meta["name"]), body=manifest)
        )

    async def _apply(self, verb: str, ref: Ref, manifest: Manifest, manager: str, *, subresource: str = "") -> Manifest:
        meta = manifest["metadata"]
        path = path_of(ref, meta.get("namespace"), meta["name"], subresource)
        query = (("fieldManager", manager), ("force", "true"))
        return await self._send(_Call(verb, "PATCH", ref, path, query, manifest, APPLY))

    async def _apply_status(self, ref: Ref, manifest: Manifest) -> Manifest:
        """Apply a status; where the API server finds the outcome incomplete, once more on what was cleared before.

        What we send no more stays where another manager has it, too. Of a condition that somebody else has in part,
        that part would stay.
        """
        try:
            return await self._apply("apply_status", ref, manifest, STATUS_MANAGER, subresource="status")
        except Refused as exc:
            if exc.code != 422:
                raise
            meta = manifest["metadata"]
            live = await self.get(ref, meta["namespace"], meta["name"]) or {}
            foreign = surplus(live, manifest)
            if not foreign or live["metadata"]["resourceVersion"] != meta["resourceVersion"]:
                raise
            cleared = await self._clear_status(ref, live, foreign)
            now = {"resourceVersion": cleared["metadata"]["resourceVersion"]}
            again = manifest | {"metadata": meta | now}
            return await self._apply("apply_status", ref, again, STATUS_MANAGER, subresource="status")

    async def _clear_status(self, ref: Ref, read: Manifest, foreign: Manifest) -> Manifest:
        meta = read["metadata"]
        path = path_of(ref, meta["namespace"], meta["name"], "status")
        body = {"metadata": {"resourceVersion": meta["resourceVersion"]}, "status": foreign}
        return await self._send(
            _Call("clear_status", "PATCH", ref, path, (("fieldManager", STATUS_MANAGER),), body, MERGE)
        )

    async def _send(self, call: _Call) -> Manifest:
        """The answer's JSON. Raises KubeError for everything that is no success."""
        async with self._gate:
            started = time.monotonic()
            self._keep_quiet(call, started)
            if call.verb in WRITES and not self._fence():
                raise Unreachable(call.verb, call.path, 0, "not sent: the Lease was not renewed in time")
            code = 0
            try:
                code, headers, data = await self._exchange(call)
            except (aiohttp.ClientError, TimeoutError, OSError) as exc:
                raise Unreachable(call.verb, call.path, 0, f"{type(exc).__name__}: {exc}") from exc
            finally:
                self._observer(call.verb, call.ref.plural, code, time.monotonic() - started)
        if not 200 <= code <= 299:
            error = _error(call, code, headers, data)
            if isinstance(error, Unreachable) and error.retry_after:
                self._quiet_until[call.verb, call.ref.plural] = time.monotonic() + error.retry_after
            raise error
        return _parsed(call, code, data)

    def _keep_quiet(self, call: _Call, now: float) -> None:
        """Raise Unreachable while the API server wants no such call."""
        left = self._quiet_until.get((call.verb, call.ref.plural), 0.0) - now
        if left > 0:
            raise Unreachable(call.verb, call.path, 429, f"not sent: to be asked again in {left:.1f} s", left)

    async def _exchange(self, call: _Call) -> tuple[int, Mapping[str, str], bytes]:
        method, url, headers, body, _ = await self._client.param_serialize(
            call.method,
            call.path,
            query_params=list(call.query),
            header_params={"Accept": "application/json", "Content-Type": call.content_type},
            body=as_yaml(call.body) if call.body and call.content_type == APPLY else call.body,
            auth_settings=["BearerToken"],
        )
        response = await self._client.call_api(method, url, headers, body, _request_timeout=self._timeout)
        data = await response.read()
        return response.status, response.headers, data


def path_of(ref: Ref, namespace: str | None = None, name: str = "", subresource: str = "") -> str:
    """The path of a collection, an object or its subresource on the API server."""
    root = f"/apis/{ref.group}/{ref.version}" if ref.group else f"/api/{ref.version}"
    space = ("namespaces", namespace) if namespace is not None and ref.namespaced else ()
    return "/".join([root, *(quote(part, safe="") for part in (*space, ref.plural, name, subresource) if part)])


def surplus(live: Mapping[str, Any], sent: Mapping[str, Any]) -> Manifest:
    """What `live.status` has beyond `sent.status`, as a merge patch that removes it.

    Server-side apply replaces lists whole, and leaves in maps, and among conditions, what another manager has put
    there. Conditions of another domain are left alone.
    """
    before, wanted = (dict(one.get("status") or {}) for one in (live, sent))
    conditions, ours = (one.pop("conditions", []) for one in (before, wanted))
    found = _surplus(before, wanted)
    types = {one["type"] for one in ours}
    kept = [one for one in conditions if one["type"] in types or not is_ours(one["type"])]
    return found if len(kept) == len(conditions) else found | {"conditions": kept}


def _surplus(live: Mapping[str, Any], wanted: Mapping[str, Any]) -> Manifest:
    found: Manifest = {name: None for name in live if name not in wanted}
    for name, value in wanted.items():
        if isinstance(value, Mapping) and isinstance(live.get(name), Mapping) and (more := _surplus(live[name], value)):
            found[name] = more
    return found


def _parsed(call: _Call, code: int, data: bytes) -> Manifest:
    try:
        answer = json.loads(data)
    except ValueError as exc:
        raise Unreachable(call.verb, call.path, code, "the answer is not JSON") from exc
    if not isinstance(answer, dict):
        raise Unreachable(call.verb, call.path, code, "the answer is not a JSON object")
    return answer


def _error(call: _Call, code: int, headers: Mapping[str, str], data: bytes) -> KubeError:
    """The exception for an answer that is no success."""
    message = _message(data)
    if code == 409:
        return Conflict(call.verb, call.path, code, message)
    if code in (401, 408, 410, 429) or code >= 500:  # 401: a token was just rotated; 410: a list took too long
        return Unreachable(call.verb, call.path, code, message, _retry_after(headers))
    return Refused(call.verb, call.path, code, message)


def _message(data: bytes) -> str:
    """The message of the API server's Status, or the start of whatever a proxy said instead."""
    try:
        return str(json.loads(data)["message"])
    except (ValueError, KeyError, TypeError):
        return data[:300].decode(errors="replace")


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds that a server asks for, as long as we obey it; None when it asks for none, or by a date."""
    asked = headers.get("Retry-After", "").strip()
    return min(float(asked), LONGEST_QUIET_SECONDS) if asked.isdecimal() else None
