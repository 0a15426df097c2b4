"""HttpKube sends what the protocol promises, and turns every answer into a value or one of three errors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client.configuration import Configuration

from plumbline_operator.kube import http
from plumbline_operator.kube.errors import Conflict, KubeError, Refused, Unreachable
from plumbline_operator.kube.http import IN_FLIGHT, HttpKube, path_of
from plumbline_operator.kube.refs import CONFIG_MAPS, DEPLOYMENTS, JOBS, LEASES
from plumbline_operator.model.meta import MANAGER, STATUS_MANAGER, Manifest, Ref

DATASETS = Ref("plumbline.dev", "v1alpha1", "datasets", "Dataset")
CONFIG = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "team", "name": "a"}, "data": {"k": "v"}}

Answer = Callable[[web.Request], Any]


@dataclass
class Server:
    """An API server that answers as told, and remembers what it was asked."""

    answer: Answer = lambda request: web.json_response({})
    requests: list[dict[str, Any]] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        text = await request.text()
        self.requests.append(
            {
                "method": request.method,
                "path": request.path,
                "query": dict(request.query),
                "type": request.content_type,
                "authorization": request.headers.get("Authorization", ""),
                "body": json.loads(text) if text else None,
            }
        )
        answer = self.answer(request)
        return await answer if asyncio.iscoroutine(answer) else answer


@dataclass
class Calls:
    """What the metrics hook was told."""

    seen: list[tuple[str, str, int]] = field(default_factory=list)

    def __call__(self, verb: str, plural: str, code: int, seconds: float) -> None:
        assert seconds >= 0
        self.seen.append((verb, plural, code))


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
async def kube(server: Server, calls: Calls, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[HttpKube]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    listening = TestServer(app)
    await listening.start_server()
    configuration = Configuration(host=str(listening.make_url("")).rstrip("/"))
    configuration.api_key["BearerToken"] = "Bearer first"
    configuration.retries = None
    one = HttpKube(configuration, calls)
    yield one
    await one.close()
    await listening.close()


def status(code: int, message: str = "no", headers: dict[str, str] | None = None) -> Answer:
    """An answer as the API server refuses things."""
    return lambda request: web.json_response({"kind": "Status", "message": message}, status=code, headers=headers)


async def test_an_object_is_read_from_its_path_with_the_token(server: Server, kube: HttpKube) -> None:
    server.answer = lambda request: web.json_response(CONFIG)
    assert await kube.get(CONFIG_MAPS, "team", "a") == CONFIG
    (asked,) = server.requests
    assert (asked["method"], asked["path"]) == ("GET", "/api/v1/namespaces/team/configmaps/a")
    assert asked["authorization"] == "Bearer first"


async def test_an_object_that_is_not_there_is_none(server: Server, kube: HttpKube) -> None:
    server.answer = status(404)
    assert await kube.get(CONFIG_MAPS, "team", "a") is None


async def test_a_list_goes_on_to_its_last_page_and_names_what_it_holds(server: Server, kube: HttpKube) -> None:
    def page(request: web.Request) -> web.Response:
        first = "continue" not in request.query
        item = {"metadata": {"name": "a" if first else "b"}}
        return web.json_response({"items": [item], "metadata": {"continue": "more"} if first else {}})

    server.answer = page
    found = await kube.list(JOBS, "team", {"x": "1", "a": "2"})
    assert [(o["apiVersion"], o["kind"], o["metadata"]["name"]) for o in found] == [
        ("batch/v1", "Job", "a"),
        ("batch/v1", "Job", "b"),
    ]
    assert [r["query"].get("continue") for r in server.requests] == [None, "more"]
    assert {r["query"]["labelSelector"] for r in server.requests} == {"a=2,x=1"}


async def test_a_list_of_all_namespaces_names_none(server: Server, kube: HttpKube) -> None:
    server.answer = lambda request: web.json_response({"items": [], "metadata": {}})
    assert await kube.list(DATASETS) == []
    assert server.requests[0]["path"] == "/apis/plumbline.dev/v1alpha1/datasets"
    assert "labelSelector" not in server.requests[0]["query"]


async def test_children_are_applied_server_side_by_force_under_our_name(server: Server, kube: HttpKube) -> None:
    server.answer = lambda request: web.json_response(CONFIG)
    await kube.apply(CONFIG_MAPS, CONFIG)
    (asked,) = server.requests
    assert (asked["method"], asked["type"]) == ("PATCH", "application/apply-patch+yaml")
    assert asked["query"] == {"fieldManager": MANAGER, "force": "true"}
    assert asked["body"] == CONFIG


async def test_a_status_goes_to_its_subresource_under_its_own_manager(server: Server, kube: HttpKube) -> None:
    await kube.apply_status(
        DATASETS, {"metadata": {"namespace": "team", "name": "d", "resourceVersion": "5"}, "status": {}}
    )
    (asked,) = server.requests
    assert asked["path"] == "/apis/plumbline.dev/v1alpha1/namespaces/team/datasets/d/status"
    assert asked["query"]["fieldManager"] == STATUS_MANAGER


async def test_what_strangers_put_into_a_status_is_removed_but_for_conditions_of_their_domain(
    server: Server, kube: HttpKube
) -> None:
    sent = {"rows": 1, "weights": {"a": 100}, "conditions": [{"type": "Ready"}]}
    kept = [{"type": "Ready"}, {"type": "example.com/T"}]
    forged = {"pin": {"version": "x"}, "weights": {"a": 100, "b": 5}, "conditions": [*kept, {"type": "T"}]}
    meta = {"namespace": "team", "name": "d", "resourceVersion": "6"}
    server.answer = lambda request: web.json_response({"metadata": meta, "status": sent | forged})
    await kube.apply_status(DATASETS, {"metadata": meta | {"resourceVersion": "5"}, "status": sent})
    _, cleared = server.requests
    assert (cleared["type"], cleared["query"]) == ("application/merge-patch+json", {"fieldManager": STATUS_MANAGER})
    removed = {"pin": None, "weights": {"b": None}, "conditions": kept}
    assert cleared["body"] == {"metadata": {"resourceVersion": "6"}, "status": removed}


async def test_a_status_of_what_is_gone_is_a_conflict(server: Server, kube: HttpKube) -> None:
    server.answer = status(404)
    meta = {"namespace": "team", "name": "d", "resourceVersion": "5"}
    with pytest.raises(Conflict):
        await kube.apply_status(DATASETS, {"metadata": meta, "status": {}})


async def test_a_status_without_the_version_that_was_read_is_never_sent(server: Server, kube: HttpKube) -> None:
    with pytest.raises(KeyError):
        await kube.apply_status(DATASETS, {"metadata": {"namespace": "team", "name": "d"}, "status": {}})
    assert server.requests == []


async def test_a_delete_carries_the_uid_that_was_seen(server: Server, kube: HttpKube) -> None:
    await kube.delete(JOBS, "team", "j", "u-1")
    (asked,) = server.requests
    assert asked["method"] == "DELETE"
    assert asked["body"]["preconditions"] == {"uid": "u-1"}
    assert asked["body"]["propagationPolicy"] == "Background"


@pytest.mark.parametrize("code", [404, 409])
async def test_a_delete_of_what_is_gone_or_was_made_again_is_fine(server: Server, kube: HttpKube, code: int) -> None:
    server.answer = status(code)
    await kube.delete(JOBS, "team", "j", "u-1")


async def test_a_delete_that_is_forbidden_says_so(server: Server, kube: HttpKube) -> None:
    server.answer = status(403, "you may not")
    with pytest.raises(Refused, match="you may not"):
        await kube.delete(JOBS, "team", "j", "u-1")


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (400, Refused),
        (403, Refused),
        (404, Refused),
        (422, Refused),
        (409, Conflict),
        (401, Unreachable),
        (408, Unreachable),
        (410, Unreachable),
        (429, Unreachable),
        (500, Unreachable),
        (503, Unreachable),
        (504, Unreachable),
    ],
)
async def test_every_refusal_is_one_of_three_errors_with_the_servers_words(
    server: Server, kube: HttpKube, code: int, error: type[KubeError]
) -> None:
    server.answer = status(code, "spec.x: is wrong")
    with pytest.raises(error, match=r"spec\.x: is wrong") as caught:
        await kube.apply(CONFIG_MAPS, CONFIG)
    assert caught.value.code == code
    assert caught.value.what == "/api/v1/namespaces/team/configmaps/a"


async def test_the_servers_wish_for_patience_is_kept_and_nothing_is_tried_twice(server: Server, kube: HttpKube) -> None:
    server.answer = status(429, headers={"Retry-After": "7"})
    with pytest.raises(Unreachable) as caught:
        await kube.list(JOBS, "team")
    assert caught.value.retry_after == 7.0
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("asked", "heard"),
    [("3600", 60.0), ("9" * 400, 60.0), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("nan", None), ("-1", None)],
)
async def test_a_proxy_cannot_have_it_wait_for_longer_than_a_minute(
    server: Server, kube: HttpKube, asked: str, heard: float | None
) -> None:
    server.answer = status(503, headers={"Retry-After": asked})
    with pytest.raises(Unreachable) as caught:
        await kube.get(CONFIG_MAPS, "team", "a")
    assert caught.value.retry_after == heard


async def test_nothing_like_it_is_sent_until_the_servers_patience_is_over(server: Server, kube: HttpKube) -> None:
    server.answer = status(429, headers={"Retry-After": "7"})
    for _ in range(3):
        with pytest.raises(Unreachable) as caught:
            await kube.get(CONFIG_MAPS, "team", "a")
        assert 6 < (caught.value.retry_after or 0) <= 7
    assert len(server.requests) == 1
    server.answer = lambda request: web.json_response(CONFIG)
    assert await kube.apply(CONFIG_MAPS, CONFIG) == CONFIG  # another verb is another matter
    kube._quiet_until = {what: until - 7 for what, until in kube._quiet_until.items()}  # seven seconds later
    assert await kube.get(CONFIG_MAPS, "team", "a") == CONFIG


async def test_a_proxys_page_is_quoted_in_part(server: Server, kube: HttpKube) -> None:
    server.answer = lambda request: web.Response(status=502, text="<html>Bad Gateway" + "." * 900)
    with pytest.raises(Unreachable, match="Bad Gateway") as caught:
        await kube.get(CONFIG_MAPS, "team", "a")
    assert len(caught.value.message) <= 300


@pytest.mark.parametrize("text", ["not json", "[1]"])
async def test_a_success_that_is_no_object_is_trouble(server: Server, kube: HttpKube, text: str) -> None:
    server.answer = lambda request: web.Response(text=text)
    with pytest.raises(Unreachable, match="not"):
        await kube.get(CONFIG_MAPS, "team", "a")


async def test_a_server_that_hangs_up_is_trouble(server: Server, kube: HttpKube, calls: Calls) -> None:
    def hang_up(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    server.answer = hang_up
    with pytest.raises(Unreachable, match="no answer"):
        await kube.apply(CONFIG_MAPS, CONFIG)
    assert calls.seen == [("apply", "configmaps", 0)]


async def test_a_server_that_says_nothing_is_given_up(
    server: Server, kube: HttpKube, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = asyncio.Event()

    async def wait(request: web.Request) -> web.Response:
        await released.wait()
        return web.json_response({})

    server.answer = wait
    monkeypatch.setattr(kube, "_timeout", http.aiohttp.ClientTimeout(total=0.1))
    with pytest.raises(Unreachable, match="no answer"):
        await kube.get(CONFIG_MAPS, "team", "a")
    released.set()


async def test_no_more_than_the_limit_are_in_flight(server: Server, kube: HttpKube) -> None:
    going, most, full, released = 0, 0, asyncio.Event(), asyncio.Event()

    async def slow(request: web.Request) -> web.Response:
        nonlocal going, most
        going += 1
        most = max(most, going)
        if going == IN_FLIGHT:
            full.set()
        await released.wait()
        going -= 1
        return web.json_response(CONFIG)

    server.answer = slow
    asked = [asyncio.create_task(kube.get(CONFIG_MAPS, "team", str(n))) for n in range(IN_FLIGHT + 5)]
    await asyncio.wait_for(full.wait(), 30)
    released.set()
    await asyncio.gather(*asked)
    assert most == IN_FLIGHT
    assert len(server.requests) == IN_FLIGHT + 5


async def test_every_call_is_measured_by_verb_resource_and_code(server: Server, kube: HttpKube, calls: Calls) -> None:
    server.answer = status(404)
    await kube.get(CONFIG_MAPS, "team", "a")
    await kube.delete(JOBS, "team", "j", "u")
    assert calls.seen == [("get", "configmaps", 404), ("delete", "jobs", 404)]


@pytest.mark.parametrize("allowed", [True, False])
async def test_the_operator_asks_for_its_own_rights(server: Server, kube: HttpKube, allowed: bool) -> None:
    server.answer = lambda request: web.json_response({"status": {"allowed": allowed}})
    assert await kube.may("patch", DATASETS, "team", "status") is allowed
    (asked,) = server.requests
    assert asked["path"] == "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    assert asked["body"]["spec"]["resourceAttributes"] == {
        "verb": "patch",
        "group": "plumbline.dev",
        "resource": "datasets",
        "subresource": "status",
        "namespace": "team",
    }


async def test_a_lease_is_created_and_replaced_as_it_was_read(server: Server, kube: HttpKube) -> None:
    lease: Manifest = {"metadata": {"namespace": "system", "name": "l", "resourceVersion": "5"}, "spec": {}}
    await kube.create(LEASES, lease)
    await kube.replace(LEASES, lease)
    assert [(r["method"], r["path"].rsplit("/", 1)[-1]) for r in server.requests] == [("POST", "leases"), ("PUT", "l")]
    assert server.requests[1]["body"]["metadata"]["resourceVersion"] == "5"


async def test_who_does_not_surely_lead_sends_no_write_but_the_leases(server: Server, kube: HttpKube) -> None:
    leads = False
    kube.fence(lambda: leads)
    own: Manifest = {"metadata": {"namespace": "team", "name": "d", "resourceVersion": "5"}, "status": {}}
    writes: list[Callable[[], Awaitable[object]]] = [
        lambda: kube.apply(CONFIG_MAPS, CONFIG),
        lambda: kube.apply_status(DATASETS, own),
        lambda: kube.delete(JOBS, "team", "j", "u-1"),
        lambda: kube.event(CONFIG),
    ]
    for write in writes:
        with pytest.raises(Unreachable, match="not sent: the Lease"):
            await write()
    assert server.requests == []
    await kube.get(CONFIG_MAPS, "team", "a")
    await kube.replace(LEASES, own)
    assert len(server.requests) == 2
    leads = True
    for write in writes:
        await write()
    assert len(server.requests) == 6


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (path_of(CONFIG_MAPS, "n", "a"), "/api/v1/namespaces/n/configmaps/a"),
        (path_of(DEPLOYMENTS, "n"), "/apis/apps/v1/namespaces/n/deployments"),
        (path_of(DEPLOYMENTS), "/apis/apps/v1/deployments"),
        (path_of(http.REVIEWS, "n"), "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"),
        (path_of(CONFIG_MAPS, "n", "../../secrets/s"), "/api/v1/namespaces/n/configmaps/..%2F..%2Fsecrets%2Fs"),
    ],
)
def test_paths_are_those_of_the_api_server_and_names_cannot_leave_them(path: str, expected: str) -> None:
    assert path == expected
