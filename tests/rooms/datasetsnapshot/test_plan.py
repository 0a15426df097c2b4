"""DatasetSnapshot: sealed as soon as it exists."""

from plumbline_operator.rooms.datasetsnapshot.handlers import ROOM
from tests.rooms.data_objects import snapshot
from tests.support.laws import check_laws
from tests.support.worlds import World, ready_of, settle


def fresh() -> World:
    """A snapshot nobody has looked at yet."""
    obj = snapshot()
    return World("sealed", {part: value for part, value in obj.items() if part != "status"})


async def test_a_snapshot_is_sealed_and_says_how_many_rows_it_has() -> None:
    world = fresh()
    own = await settle(ROOM, world, world.kube())
    assert ready_of(own) == ("True", "Sealed")
    assert "100 rows of flights" in own["status"]["conditions"][0]["message"]


async def test_the_laws_hold() -> None:
    await check_laws(ROOM, [fresh()])
