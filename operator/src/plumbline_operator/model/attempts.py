"""Attempts: how work done by Jobs is started, answered, tried again and given up. Pure.

A room that runs Jobs
  1. derives its status from WorkStatus;
  2. observes with `kube.work.see_jobs(kube, key, verb)`, which needs no name and no inputs;
  3. asks `take_turn(...)` in its plan, with the canonical inputs of the work wanted now;
  4. writes `turn.memory()` into its status, always, and obeys `turn.stage`:

         WORKING   apply the Job named `turn.job`; `turn.sight` says how far it is
         DONE      rely on what the status keeps; when `turn.fresh`, first copy `turn.report` into the status
         RESTING   the surroundings failed; the next attempt starts at `turn.ended.retry_at`
         FAILED    given up: the input is at fault, or attempts are used up
  5. adds `turn.leftovers` to the plan's deletes, `turn.notes(...)` to its notes and returns `turn.again`.

      inputs A                 Trouble         inputs A again     answer stored     Job deleted
    ── a1 WORKING ─── a1 RESTING (30 s) ─── a2 WORKING ─── a2 DONE, fresh ─── a2 DONE, no Job ──
    other inputs, another value of the annotation plumbline.dev/requested-at, or, after a failure, a new
    generation: start over at a1.

The answer is in the status before the Job goes, because a Job named in the status only as "under way" is made again
when it is missing. A Job that belongs to no present attempt is a leftover and is deleted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar

from pydantic import Field

from plumbline_contract.base import short_hash
from plumbline_contract.report import Outcome, Report
from plumbline_operator.model.conditions import MESSAGE_LIMIT, Conditions, stamp
from plumbline_operator.model.jobs import Fault, JobSight, Phase, look
from plumbline_operator.model.kind import Status
from plumbline_operator.model.meta import GROUP, REQUESTED_AT, Manifest, Meta, Model, Ref, controller_uid
from plumbline_operator.model.names import child_name
from plumbline_operator.model.plan import Note, Target
from plumbline_operator.model.reasons import Common

MAX_ATTEMPTS = 5
FIRST_REST = timedelta(seconds=30)  # doubles with every attempt: 30 s, 1 min, 2 min, 4 min
MAIN = "main"  # the container of a Job that has only one
PATIENCE = timedelta(seconds=30)  # a working Job wakes its owner; this is the bound should that be missed
SOON = timedelta(seconds=1)  # the answer was stored just now; the Job may go
JOBS = Ref("batch", "v1", "jobs", "Job")
JOB_LABEL = f"{GROUP}/job"  # on a Job and its pods: the Job's name
VERB_LABEL = f"{GROUP}/verb"  # on a Job: what it does, so that an owner with several kinds of work tells them apart
PODLESS = timedelta(seconds=20)  # the Job controller makes a pod within a second unless the API server refuses it
STUCK = frozenset({Common.REFUSED, Fault.UNSCHEDULABLE, Fault.IMAGE_NOT_FOUND, Fault.SECRET_NOT_FOUND})
ReasonT = TypeVar("ReasonT", bound=StrEnum)


class Stage(StrEnum):
    """Where the work stands."""

    WORKING = "Working"
    DONE = "Done"
    RESTING = "Resting"
    FAILED = "Failed"


class Ended(Model):
    """How the last attempt ended."""

    outcome: Outcome = Field(description="Done; Refused: the input is at fault; Trouble: the surroundings were.")
    reason: str = Field(default="", description="Why, in one word, when it was not Done.")
    message: str = Field(default="", description="Why, in a sentence, when it was not Done.")
    generation: int = Field(default=0, description="The metadata.generation at that time; a newer one tries again.")
    at: datetime = Field(description="When the answer was read (UTC).")
    retry_at: datetime | None = Field(default=None, description="When the next attempt starts; absent: never.")


class WorkStatus(Status):
    """The part of the status of a kind whose work is done by Jobs."""

    attempt: int = Field(default=0, description="Number of the attempt under way or ended last, from 1; 0: none yet.")
    inputs: str = Field(default="", description="Short hash of what that attempt works on.")
    job: str = Field(default="", description="Name of its Job, which is deleted once its answer is stored here.")
    ended: Ended | None = Field(default=None, description="How it ended; absent while it is under way.")
    last_requested_at: str = Field(
        default="", description=f"The value of the annotation {REQUESTED_AT} that the attempt answers."
    )


@dataclass(frozen=True, slots=True)
class SeenJob:
    """A Job of the owner, and the pods that carry its label."""

    job: Manifest
    pods: tuple[Manifest, ...] = ()

    @property
    def name(self) -> str:
        """The Job's name."""
        return str(self.job["metadata"]["name"])


@dataclass(frozen=True, slots=True)
class Turn:
    """What to do about the work now. `fresh`: the answer was read in this very turn and is not stored yet."""

    stage: Stage
    attempt: int
    inputs: str
    job: str
    requested_at: str
    sight: JobSight
    ended: Ended | None = None
    fresh: bool = False
    leftovers: tuple[Target, ...] = ()
    again: timedelta | None = None

    @property
    def report(self) -> Report | None:
        """The answer, in the one turn in which it is fresh."""
        return self.sight.report if self.fresh else None

    def memory(self) -> dict[str, Any]:
        """The fields of WorkStatus, for `status.model_copy(update=...)`."""
        return {
            "attempt": self.attempt,
            "inputs": self.inputs,
            "job": self.job,
            "ended": self.ended,
            "last_requested_at": self.requested_at,
        }

    def notes(self, done: str, message: str) -> tuple[Note, ...]:
        """The Event of an attempt that just ended; none otherwise. `done`, `message`: what a good end is called."""
        if not self.fresh or self.ended is None:
            return ()
        if self.stage is Stage.DONE:
            return (Note(done, message),)
        return (Note(self.ended.reason, self.ended.message, warning=True),)


def take_turn(
    memory: WorkStatus,
    meta: Meta,
    jobs: Sequence[SeenJob],
    now: datetime,
    *,
    verb: str,
    inputs: Any,
    limit: int = MAX_ATTEMPTS,
) -> Turn:
    """What to do about the work on `inputs` (any JSON value), given the status, the owner's Jobs and the time.

    limit: how many attempts Trouble may cost. Inputs that have changed, or are asked for again, start at attempt 1.
    Jobs of an owner of the same name that was deleted before answer nothing, and are leftovers.
    """
    asked = meta.annotations.get(REQUESTED_AT, "")
    wanted = short_hash({"inputs": inputs, "requestedAt": asked})
    number, ended = _position(memory, meta, wanted, now)
    name = child_name(meta.name, verb, f"a{number}", inputs=wanted)
    if ended is not None:
        stage = _stage(ended)
        rest = ended.retry_at - now if stage is Stage.RESTING and ended.retry_at else None
        gone = leftovers(jobs, keep="")
        return Turn(stage, number, wanted, name, asked, JobSight(Phase.ABSENT), ended, False, gone, rest)
    own = [one for one in jobs if controller_uid(one.job) in ("", meta.uid)]
    sight = _sight(own, name, now)
    gone = (*leftovers(own, keep=name), *leftovers([one for one in jobs if one not in own], keep=""))
    ended = _ending(_never_started(sight, memory), number, limit, meta.generation, now)
    if ended is None:
        return Turn(Stage.WORKING, number, wanted, name, asked, sight, None, False, gone, PATIENCE)
    return Turn(_stage(ended), number, wanted, name, asked, sight, ended, True, gone, SOON)


def tell(turn: Turn, conditions: Conditions, reasons: type[ReasonT], working: ReasonT, what: str) -> Conditions:
    """The conditions of work that is not done: waiting while it may move on by itself, stalled when it cannot.

    working, what: the reason and sentence while the Job runs and nothing is wrong with it.
    """
    if turn.ended is None:
        if turn.sight.reason:
            return conditions.waiting(known(reasons, turn.sight.reason), turn.sight.message)
        step = f"step {turn.sight.container}, " if turn.sight.container not in ("", MAIN) else ""
        return conditions.waiting(working, f"{what} ({step}attempt {turn.attempt}, Job {turn.job}).")
    reason = known(reasons, turn.ended.reason)
    if turn.stage is Stage.RESTING and turn.ended.retry_at:
        text = f"{turn.ended.message} Attempt {turn.attempt + 1} starts at {stamp(turn.ended.retry_at)}."
        return conditions.waiting(reason, text)
    return conditions.stalled(reason, turn.ended.message)


def known(reasons: type[ReasonT], reason: str) -> ReasonT:
    """A Job's reason as one of its owner kind's; a word the kind does not list becomes JobFailed."""
    return reasons(reason) if reason in {one.value for one in reasons} else reasons(Fault.JOB_FAILED.value)


def leftovers(jobs: Sequence[SeenJob], keep: str) -> tuple[Target, ...]:
    """Jobs that belong to no present attempt and are not being deleted already."""
    return tuple(
        Target(JOBS, seen.name, seen.job["metadata"]["uid"])
        for seen in jobs
        if seen.name != keep and not seen.job["metadata"].get("deletionTimestamp")
    )


def pods_of(jobs: Sequence[SeenJob], job: str) -> tuple[Manifest, ...]:
    """The pods of the Job with this name; none when it is not there."""
    return next((seen.pods for seen in jobs if seen.name == job), ())


def written(status: Status, conditions: Conditions) -> Manifest:
    """A status as the API server wants it, with these conditions, for their generation."""
    wire: Mapping[str, Any] = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {**wire, "observedGeneration": conditions.generation, "conditions": conditions.list()}


def conditions_for(meta: Meta, status: Status, now: datetime) -> Conditions:
    """The builder of the next conditions of an object, from those it has."""
    old = [one.model_dump(mode="json", by_alias=True) for one in status.conditions]
    return Conditions(old, meta.generation, now)


def _position(memory: WorkStatus, meta: Meta, wanted: str, now: datetime) -> tuple[int, Ended | None]:
    """The attempt to look at, and how it ended when it has."""
    ended = memory.ended
    if memory.inputs != wanted or memory.attempt < 1:
        return 1, None
    if ended is None or ended.outcome is Outcome.DONE:
        return memory.attempt, ended
    if ended.generation != meta.generation:
        return 1, None
    if ended.retry_at is not None and now >= ended.retry_at:
        return memory.attempt + 1, None
    return memory.attempt, ended


def _sight(jobs: Sequence[SeenJob], name: str, now: datetime) -> JobSight:
    seen = next((one for one in jobs if one.name == name), None)
    if seen is None:
        return JobSight(Phase.ABSENT)
    sight = look(seen.job, seen.pods)
    if seen.job.get("spec", {}).get("suspend") and sight.phase in (Phase.PENDING, Phase.RUNNING):
        return replace(sight, phase=Phase.PENDING, reason=Fault.UNSCHEDULABLE, message=_suspended(name))
    started = seen.job.get("status", {}).get("startTime")  # set as soon as the Job controller has looked at it
    if sight.phase is not Phase.PENDING or seen.pods or not started:
        return sight
    if now - datetime.fromisoformat(started) < PODLESS:
        return sight
    text = (
        f"Job {name} has had no pod since {started}, usually because of a ResourceQuota, a LimitRange or Pod "
        f"Security. The Job controller says which: kubectl describe job {name}."
    )
    return replace(sight, reason=Common.REFUSED, message=text)


def _suspended(name: str) -> str:
    return (
        f"Job {name} is suspended, and its deadline does not run. A queue such as Kueue resumes it when there is room. "
        f"If somebody else suspended it, set its spec.suspend to false: kubectl edit job {name}."
    )


def _never_started(sight: JobSight, memory: WorkStatus) -> JobSight:
    """The sight with what kept the pod from starting until its deadline; the pod that showed it is gone by then."""
    before = next((one for one in memory.conditions if one.type == "Ready"), None)
    if sight.reason != Fault.DEADLINE or before is None or before.reason not in STUCK:
        return sight
    return replace(sight, message=f"{sight.message} It never started; {before.reason}: {before.message}")


def _ending(sight: JobSight, number: int, limit: int, generation: int, now: datetime) -> Ended | None:
    """How the attempt ended, or None while it has not."""
    at = now.astimezone(UTC).replace(microsecond=0)
    message = sight.message[:MESSAGE_LIMIT]
    if sight.phase is Phase.DONE:
        return Ended(outcome=Outcome.DONE, generation=generation, at=at)
    if sight.phase is Phase.REFUSED:
        return Ended(outcome=Outcome.REFUSED, reason=sight.reason, message=message, generation=generation, at=at)
    if sight.phase is not Phase.TROUBLE:
        return None
    retry = at + FIRST_REST * 2 ** (number - 1) if number < limit else None
    return Ended(
        outcome=Outcome.TROUBLE, reason=sight.reason, message=message, generation=generation, at=at, retry_at=retry
    )


def _stage(ended: Ended) -> Stage:
    if ended.outcome is Outcome.DONE:
        return Stage.DONE
    return Stage.FAILED if ended.retry_at is None else Stage.RESTING
