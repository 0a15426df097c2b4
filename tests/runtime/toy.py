"""A small room of the tests' own: one Job, one ConfigMap, a status."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from pydantic import Field

from plumbline_operator.build.job import JOB_LABEL
from plumbline_operator.kube.refs import JOBS, PODS
from plumbline_operator.model.conditions import Conditions
from plumbline_operator.model.jobs import JobSight, Phase, look
from plumbline_operator.model.kind import Explained, Kind, Resource, Status
from plumbline_operator.model.meta import Key, Manifest, Model, plain
from plumbline_operator.model.plan import Note, Plan, Target
from plumbline_operator.runtime.room import Room, Sight


class Reason(StrEnum):
    """Why a toy is as it is."""

    PLAYED = "Played"
    PLAYING = "Playing"
    BROKEN = "Broken"
    INVALID_SPEC = "InvalidSpec"
    NAME_TAKEN = "NameTaken"
    REFUSED = "Refused"


class ToySpec(Model):
    """What a user asks of a toy."""

    size: int = Field(ge=1, le=10, description="Size.")
    colours: tuple[str, ...] = Field(default=(), max_length=3, description="Colours.")


class ToyStatus(Status):
    """What became of it."""

    played: int = Field(default=0, description="How often it was played with.")


KIND = Kind(
    kind="Toy",
    plural="toys",
    short="toy",
    description="A toy.",
    resource=Resource[ToySpec, ToyStatus],
    spec=ToySpec,
    status=ToyStatus,
    reasons={reason: Explained("It happens.", "Play on.") for reason in Reason},
)


@dataclass(frozen=True, slots=True)
class Seen:
    """A toy and its Job."""

    toy: Any
    job: JobSight


async def observe(toy: Any, sight: Sight) -> Seen:
    """The toy's Job, live."""
    job = await sight.kube.get(JOBS, toy.metadata.namespace, f"{toy.metadata.name}-play")
    pods = await sight.kube.list(PODS, toy.metadata.namespace, {JOB_LABEL: f"{toy.metadata.name}-play"})
    return Seen(toy, look(job, pods))


def plan(seen: Seen, now: datetime) -> Plan:
    """Play once."""
    toy = seen.toy
    conditions = Conditions([plain(c) for c in toy.status.conditions], toy.metadata.generation, now)
    if toy.status.played or seen.job.phase is Phase.DONE:
        gone = (Target(JOBS, f"{toy.metadata.name}-play", seen.job.uid),) if toy.status.played and seen.job.uid else ()
        notes = () if toy.status.played else (Note("Played", "It was played with."),)
        status = _status(toy, conditions.ready(Reason.PLAYED, "Done."), played=1)
        return Plan(apply=(_config(toy),), delete=gone, status=status, notes=notes)
    if seen.job.phase in (Phase.REFUSED, Phase.TROUBLE):
        return Plan(status=_status(toy, conditions.stalled(Reason.BROKEN, seen.job.message or "Broken."), played=0))
    status = _status(toy, conditions.waiting(Reason.PLAYING, "A Job plays."), played=0)
    return Plan(apply=(_config(toy), _job(toy)), status=status, again=timedelta(minutes=1))


def dependencies(raw: Manifest) -> tuple[Key, ...]:
    """A toy depends on the toy it names in a label."""
    other = raw["metadata"].get("labels", {}).get("after")
    return (Key("Toy", raw["metadata"]["namespace"], other),) if other else ()


def _status(toy: Any, conditions: Conditions, *, played: int) -> Manifest:
    return {"observedGeneration": toy.metadata.generation, "conditions": conditions.list(), "played": played}


def _config(toy: Any) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"{toy.metadata.name}-size"},
        "data": {"size": str(toy.spec.size)},
    }


def _job(toy: Any) -> Manifest:
    name = f"{toy.metadata.name}-play"
    main = {"name": "main", "image": "toy:1", "resources": {"requests": {"cpu": "1000m"}}}
    template = {"metadata": {"labels": {JOB_LABEL: name}}, "spec": {"containers": [main], "restartPolicy": "Never"}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": template},
    }


ROOM = Room(kind=KIND, observe=observe, plan=plan, dependencies=dependencies)
