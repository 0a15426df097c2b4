"""kopf itself in the listener's thread, on an API server that answers as troubled ones do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from plumbline_operator.model.meta import Manifest, Ref
from plumbline_operator.runtime.ears import Ears
from plumbline_operator.runtime.links import Links
from plumbline_operator.runtime.listener import Listener, listener
from plumbline_operator.runtime.metrics import Metrics
from plumbline_operator.runtime.queue import WorkQueue
from tests.runtime.toy import KIND, ROOM
from tests.support.clock import Clock
from tests.support.worlds import raw

NAMESPACES = Ref("", "v1", "namespaces", "Namespace", namespaced=False)  # kopf waits until it knows of them
SECONDS = 60  # kopf gives itself five to fall
Answer = Callable[[], web.Response]


@dataclass(slots=True)
class Api:
    """An API server with one toy. `lists` are the answers to the next lists of toys; afterwards it is well."""

    refs: tuple[Ref, ...]
    lists: list[Answer] = field(default_factory=list)
    events: list[Manifest] = field(default_factory=list)
    hidden: tuple[str, ...] = ()  # types that are not served yet
    asked: int = 0
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer discovery, lists and watches."""
        parts = request.path.strip("/").split("/")
        if parts == ["api"]:
            return web.json_response({"versions": ["v1"]})
        if parts == ["apis"]:
            return web.json_response({"groups": [_group(one) for one in {r.group for r in self.refs if r.group}]})
        if "namespaces" not in parts:
            served = [one for one in self.refs if _is_at(one, parts) and one.plural not in self.hidden]
            return web.json_response({"resources": [_resource(one) for one in served]})
        if request.query.get("watch"):
            return await self._watch(request, parts[-1])
        return self._list(parts[-1])

    def _list(self, plural: str) -> web.Response:
        if plural != "toys":
            return web.json_response({"items": [], "metadata": {"resourceVersion": "1"}})
        self.asked += 1
        if self.lists:
            return self.lists.pop(0)()
        toy = raw(KIND, "bear", {"size": 1}, resourceVersion="7")
        return web.json_response({"kind": "ToyList", "items": [toy], "metadata": {"resourceVersion": "7"}})

    async def _watch(self, request: web.Request, plural: str) -> web.StreamResponse:
        reply = web.StreamResponse()
        await reply.prepare(request)
        while plural == "toys" and self.events:
            await reply.write(json.dumps(self.events.pop(0)).encode() + b"\n")
        await self.over.wait()
        return reply


def _group(name: str) -> Manifest:
    version = {"version": "v2" if name == "autoscaling" else "v1"}
    version = {"version": "v1alpha1"} if name == KIND.ref.group else version
    return {"name": name, "versions": [version], "preferredVersion": version}


def _is_at(ref: Ref, parts: list[str]) -> bool:
    return parts == ["api", "v1"] if not ref.group else parts == ["apis", ref.group, ref.version]


def _resource(ref: Ref) -> Manifest:
    verbs = ["get", "list", "watch", "patch"]
    return {"name": ref.plural, "kind": ref.kind, "singularName": "", "namespaced": ref.namespaced, "verbs": verbs}


@pytest.fixture
async def bed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Api, Ears, Listener]]:
    ears = Ears({"Toy": ROOM}, WorkQueue(Clock()), Links(), Metrics())
    api = Api((*ears.watched(), NAMESPACES))
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.handle)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    config = {
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{runner.addresses[0][1]}"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(path))
    one = listener(ears, ("team",))
    one.first_pause = 0.05
    running = asyncio.create_task(one.run())
    yield api, ears, one
    one.end()
    api.over.set()
    await asyncio.wait_for(running, SECONDS)
    await runner.cleanup()


async def until(fact: Callable[[], bool]) -> None:
    """Wait for a fact."""
    async with asyncio.timeout(SECONDS):
        while True:
            if fact():
                return
            await asyncio.sleep(0.02)


async def test_what_the_watches_tell_arrives_in_our_loop(bed: tuple[Api, Ears, Listener]) -> None:
    _, ears, _ = bed
    await until(lambda: {key.name: version for key, version in ears.heard.items()} == {"bear": 7})
    assert ears.newest(KIND.ref, "team") == 7


@pytest.mark.parametrize(
    "trouble",
    [
        lambda: web.json_response({}, status=401),
        lambda: web.json_response({}, status=410),
        lambda: web.Response(text='{"items": [', content_type="application/json"),
    ],
    ids=["401", "410", "half a list"],
)
async def test_what_ends_kopf_does_not_end_us(bed: tuple[Api, Ears, Listener], trouble: Answer) -> None:
    api, ears, one = bed
    await until(lambda: api.asked > 0)
    api.lists = [trouble]
    one.renew()
    asked = api.asked
    await until(lambda: not api.lists and api.asked > asked + 1)
    assert [key.name for key in ears.heard] == ["bear"]


async def test_an_error_within_a_watch_is_lived_through(bed: tuple[Api, Ears, Listener]) -> None:
    api, _, _ = bed
    api.events = [{"type": "ERROR", "object": {"kind": "Status", "code": 500}}]
    await until(lambda: api.asked >= 2)


async def test_an_api_server_that_does_not_serve_everything_yet_is_asked_again(
    bed: tuple[Api, Ears, Listener], caplog: pytest.LogCaptureFixture
) -> None:
    api, ears, one = bed
    await until(lambda: api.asked > 0)
    api.hidden = ("toys", "jobs")
    one.renew()
    await until(lambda: "does not serve toys.plumbline.dev, jobs.batch" in caplog.text)
    ears.heard.clear()
    api.hidden = ()
    await until(lambda: [key.name for key in ears.heard] == ["bear"])
