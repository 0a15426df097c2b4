"""A pin says whether it is in force."""

from datetime import UTC, datetime, timedelta

import pytest

from plumbline_operator.model.meta import Key, Manifest
from plumbline_operator.rooms.modeldeployment.handlers import ROOM as DEPLOYMENT_ROOM
from plumbline_operator.rooms.releasepin.api import Reason, ReleasePin, in_force, is_refused, refusal
from plumbline_operator.rooms.releasepin.handlers import ROOM
from tests.rooms.release_objects import FIRST, Stage, approved, denied, deployment, pin, stage, surroundings
from tests.support.laws import check_laws
from tests.support.worlds import NOW, World, loop_on, ready_of

SERVED = frozenset({"v1", "v2"})


def read(raw: Manifest) -> ReleasePin:
    return ReleasePin.model_validate(raw)


async def two_served() -> Stage:
    """A deployment in which v2 took over from v1."""
    cluster = stage(DEPLOYMENT_ROOM, *surroundings(), deployment("v1"))
    await cluster.until_settled()
    cluster.go_to("v2")
    await cluster.until_settled()
    return cluster


async def looked_at(cluster: Stage, name: str = "incident") -> Manifest:
    """The pin after one reconcile of it."""
    await loop_on(cluster.kube).reconcile(ROOM, Key("ReleasePin", "team", name), cluster.now)
    found = cluster.kube.look("ReleasePin", name)
    assert found is not None
    return found


def message_of(raw: Manifest) -> str:
    return str(next(c["message"] for c in raw["status"]["conditions"] if c["type"] == "Ready"))


@pytest.mark.parametrize(
    ("title", "raw", "refused", "now", "expected"),
    [
        ("served before", pin(), frozenset(), NOW, None),
        ("never served", pin(version_name="v9"), frozenset(), NOW, Reason.NEVER_SERVED),
        ("denied since", pin(), frozenset({"v1"}), NOW, Reason.UNAPPROVED),
        ("ends later", pin(expiresAt="2026-03-01T12:00:01Z"), frozenset(), NOW, None),
        ("ends now", pin(expiresAt="2026-03-01T12:00:00Z"), frozenset(), NOW, Reason.EXPIRED),
    ],
)
def test_a_pin_is_followed_or_not(
    title: str, raw: Manifest, refused: frozenset[str], now: datetime, expected: Reason | None
) -> None:
    assert refusal(read(raw), SERVED, refused, now) is expected, title


def test_the_newest_pin_that_may_be_followed_decides() -> None:
    old = read(pin("old", created="2026-03-01T10:00:00Z"))
    new = read(pin("new", "v2", created="2026-03-01T11:00:00Z"))
    wrong = read(pin("wrong", "v9", created="2026-03-01T11:30:00Z"))
    assert in_force([new, wrong, old], SERVED, frozenset(), NOW) == new
    assert in_force([new, wrong, old], SERVED, frozenset({"v2"}), NOW) == old
    assert in_force([wrong], SERVED, frozenset(), NOW) is None


def test_two_pins_of_one_second_are_told_apart_by_name() -> None:
    one, other = read(pin("a")), read(pin("b"))
    assert in_force([one, other], SERVED, frozenset(), NOW) == in_force([other, one], SERVED, frozenset(), NOW) == other


def test_only_a_withdrawn_approval_refuses_a_version() -> None:
    assert is_refused(denied("v1", FIRST))
    assert not is_refused(approved("v1", FIRST))
    assert not is_refused(None)


async def test_a_pin_is_in_force_once_its_deployment_serves_the_version() -> None:
    cluster = await two_served()
    cluster.kube.put(pin())
    assert ready_of(await looked_at(cluster)) == ("False", "Applying")
    await cluster.step()
    found = await looked_at(cluster)
    assert ready_of(found) == ("True", "InForce")
    assert found["status"]["since"] == "2026-03-01T12:00:00Z"
    assert "Wrong predictions." in message_of(found)


async def test_an_older_pin_is_superseded_and_says_by_which() -> None:
    cluster = await two_served()
    cluster.kube.put(pin("incident", created="2026-03-01T10:00:00Z"))
    cluster.kube.put(pin("newer", "v2", created="2026-03-01T11:00:00Z"))
    await cluster.step()
    found = await looked_at(cluster)
    assert ready_of(found) == ("False", "Superseded")
    assert "newer" in message_of(found)
    assert ready_of(await looked_at(cluster, "newer")) == ("True", "InForce")


async def test_a_pin_to_what_never_served_lists_what_did() -> None:
    cluster = await two_served()
    cluster.kube.put(pin(version_name="v3"))
    found = await looked_at(cluster)
    assert ready_of(found) == ("False", "NeverServed")
    assert "v1, v2" in message_of(found)


async def test_a_pin_looks_again_when_it_ends() -> None:
    cluster = await two_served()
    cluster.kube.put(pin(expiresAt="2026-03-01T12:10:00Z"))
    await cluster.step()
    key = Key("ReleasePin", "team", "incident")
    assert await loop_on(cluster.kube).reconcile(ROOM, key, cluster.now) == timedelta(minutes=10)
    later = datetime(2026, 3, 1, 12, 10, tzinfo=UTC)
    await loop_on(cluster.kube).reconcile(ROOM, key, later)
    found = cluster.kube.look("ReleasePin", "incident")
    assert found is not None
    assert ready_of(found) == ("False", "Expired")


def test_a_pin_wakes_its_deployment_and_is_woken_by_it() -> None:
    assert ROOM.wakes(pin()) == (Key("ModelDeployment", "team", "late"),)
    assert set(ROOM.dependencies(pin())) == {Key("ModelDeployment", "team", "late"), Key("ModelVersion", "team", "v1")}


async def test_the_laws_hold() -> None:
    cluster = await two_served()
    served, around = cluster.own(), surroundings()
    cluster.kube.put(pin())
    pinned = await cluster.until_settled()
    await check_laws(
        ROOM,
        [
            World("no deployment", pin()),
            World("nothing served yet", pin(), (deployment("v1"),)),
            World("about to be followed", pin(), (served, *around)),
            World("in force", pin(), (pinned, *around)),
            World("denied", pin(), (pinned, *surroundings(denied("v1", FIRST)))),
            World("expired", pin(expiresAt="2026-01-01T00:00:00Z"), (served, *around)),
            World("superseded", pin(), (pinned, *around, pin("newer", "v2", created="2026-03-01T11:30:00Z"))),
        ],
    )
