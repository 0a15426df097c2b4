"""The routes ConfigMap as the agent sees it through trouble."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from plumbline_router.settings import Settings
from plumbline_router.source import RoutesSource
from tests.router.fake_api import NAME, NAMESPACE, TOKEN, FakeApi
from tests.router.processes import backend, routes
from tests.router.test_render import given_settings

SECONDS = 10


def document(generation: int) -> str:
    return routes(generation, backend("a", 1, 100)).canonical().decode()


@pytest.fixture
def settings(api: FakeApi, tmp_path: Path) -> Settings:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    return replace(given_settings(tmp_path), api=api.url, token_file=token)


@pytest.fixture
async def documents(settings: Settings) -> AsyncIterator[AsyncIterator[str]]:
    stream = RoutesSource(settings).documents()
    yield stream
    await stream.aclose()


async def following(documents: AsyncIterator[str]) -> str:
    return await asyncio.wait_for(anext(documents), SECONDS)


async def eventually(fact: Callable[[], bool]) -> None:
    """Return when a fact of the API server's threads is true."""
    for _ in range(SECONDS * 100):
        if fact():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("not in time")


async def watched(api: FakeApi) -> None:
    """Return when a watch is open."""
    await eventually(lambda: api.watches > 0)


async def test_what_is_there_comes_first_then_every_change(api: FakeApi, documents: AsyncIterator[str]) -> None:
    api.put(document(1))
    assert await following(documents) == document(1)
    coming = asyncio.create_task(following(documents))
    await watched(api)
    api.put(document(2))
    assert await coming == document(2)


async def test_a_change_between_read_and_watch_is_not_lost(api: FakeApi, documents: AsyncIterator[str]) -> None:
    api.put(document(1))
    assert await following(documents) == document(1)
    api.put(document(2))  # the watch is opened only by the next step
    assert await following(documents) == document(2)


async def test_it_waits_for_a_config_map_that_does_not_exist_yet(api: FakeApi, documents: AsyncIterator[str]) -> None:
    coming = asyncio.create_task(following(documents))
    await eventually(lambda: bool(api.paths))
    api.put(document(1))
    assert await coming == document(1)


@pytest.mark.parametrize("trouble", ["hang up", "gone", "not JSON"])
async def test_after_a_broken_watch_it_reads_again(api: FakeApi, documents: AsyncIterator[str], trouble: str) -> None:
    api.put(document(1))
    await following(documents)
    coming = asyncio.create_task(following(documents))
    await watched(api)
    if trouble == "hang up":
        api.hang_up()
    elif trouble == "gone":
        api.say({"type": "ERROR", "object": {"code": 410, "message": "too old resource version"}})
    else:
        api.say_raw(b"<html>\n")
    assert await coming == document(1)  # a whole read, whose document the applier knows already
    api.put(document(2))
    assert await following(documents) == document(2)


async def test_an_api_server_that_started_anew_is_watched_without_asking_again_and_again(
    api: FakeApi, documents: AsyncIterator[str]
) -> None:
    """What was written before its start is too old to be watched from."""
    api.put(document(1))
    assert await following(documents) == document(1)
    coming = asyncio.create_task(following(documents))
    await watched(api)
    api.restart()
    assert await coming == document(1)
    asked = len(api.paths)
    coming = asyncio.create_task(following(documents))
    await watched(api)
    await asyncio.sleep(1.0)  # long enough for five more tries, were the watch refused
    assert len(api.paths) == asked + 1
    api.put(document(2))
    assert await coming == document(2)


async def test_bookmarks_and_deletion_change_nothing(api: FakeApi, documents: AsyncIterator[str]) -> None:
    api.put(document(1))
    await following(documents)
    coming = asyncio.create_task(following(documents))
    await watched(api)
    api.say({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "999"}}})
    api.say({"type": "DELETED", "object": {"metadata": {"name": NAME}, "data": {"routes.json": document(5)}}})
    api.say({"type": "MODIFIED", "object": {"metadata": {"name": NAME}, "data": {}}})
    api.put(document(2))
    assert await coming == document(2)


async def test_it_asks_for_this_one_config_map_only(api: FakeApi, documents: AsyncIterator[str]) -> None:
    api.put(document(1))
    await following(documents)
    coming = asyncio.create_task(following(documents))
    await watched(api)
    api.put(document(2))
    await coming
    get, watch = api.paths[:2]
    assert get == f"/api/v1/namespaces/{NAMESPACE}/configmaps/{NAME}"
    assert f"fieldSelector=metadata.name%3D{NAME}" in watch or f"fieldSelector=metadata.name={NAME}" in watch


async def test_a_renewed_token_is_used(api: FakeApi, settings: Settings) -> None:
    settings.token_file.write_text("expired")
    api.put(document(1))
    stream = RoutesSource(settings).documents()
    coming = asyncio.create_task(following(stream))
    await eventually(lambda: bool(api.paths))
    settings.token_file.write_text(TOKEN)
    assert await coming == document(1)
    await stream.aclose()
