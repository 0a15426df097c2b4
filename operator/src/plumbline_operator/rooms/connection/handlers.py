"""Connection: what is read, and what wakes it."""

from plumbline_operator.kube.work import see_jobs
from plumbline_operator.model.meta import Key, Manifest
from plumbline_operator.rooms.connection.api import KIND, ConnectionResource
from plumbline_operator.rooms.connection.plan import VERB, Observed, plan
from plumbline_operator.runtime.room import Room, Sight


async def observe(connection: ConnectionResource, sight: Sight) -> Observed:
    """The Jobs that verify it. Secrets are not read: the Job's pod is given them by the kubelet."""
    key = Key(KIND.kind, connection.metadata.namespace, connection.metadata.name)
    jobs = await see_jobs(sight.kube, key, VERB)
    return Observed(connection, jobs, sight.images.jobs, sight.images.pull_policy)


def dependencies(raw: Manifest) -> tuple[Key, ...]:
    """Nothing: a Connection stands on no other object of ours."""
    return ()


ROOM = Room(kind=KIND, observe=observe, plan=plan, dependencies=dependencies)
