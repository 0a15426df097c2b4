"""DatasetSnapshot: what is read, and what wakes it."""

from plumbline_operator.model.meta import Key, Manifest
from plumbline_operator.rooms.datasetsnapshot.api import KIND, DatasetSnapshotResource
from plumbline_operator.rooms.datasetsnapshot.plan import Observed, plan
from plumbline_operator.runtime.room import Room, Sight


async def observe(snapshot: DatasetSnapshotResource, sight: Sight) -> Observed:
    """Nothing beyond the snapshot itself."""
    del sight
    return Observed(snapshot)


def dependencies(raw: Manifest) -> tuple[Key, ...]:
    """Nothing: a snapshot stands for itself."""
    del raw
    return ()


ROOM = Room(kind=KIND, observe=observe, plan=plan, dependencies=dependencies)
