"""Attempts: when work is started, taken as done, tried again and given up."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plumbline_contract.report import Outcome, Report
from plumbline_operator.model.attempts import SeenJob, Stage, Turn, WorkStatus, known, take_turn
from plumbline_operator.model.jobs import Fault, Phase
from plumbline_operator.model.meta import REQUESTED_AT, Manifest, Meta
from plumbline_operator.rooms.connection.api import Reason
from tests.support.worlds import NOW

INPUTS = {"bucket": "team"}
NEW = WorkStatus()


def meta(generation: int = 1, asked: str = "") -> Meta:
    """The metadata of an owner."""
    return Meta(
        name="lake", namespace="team", generation=generation, annotations={REQUESTED_AT: asked} if asked else {}
    )


def turn(
    status: WorkStatus = NEW,
    jobs: tuple[SeenJob, ...] = (),
    now: datetime = NOW,
    owner: Meta | None = None,
    inputs: Any = INPUTS,
    limit: int = 5,
) -> Turn:
    """One turn."""
    return take_turn(status, owner or meta(), jobs, now, verb="verify", inputs=inputs, limit=limit)


def after(one: Turn, **changes: Any) -> WorkStatus:
    """The status once the turn is stored."""
    return WorkStatus().model_copy(update=one.memory() | changes)


def ended(name: str, outcome: Outcome) -> SeenJob:
    """A Job of that name that ended with this outcome."""
    ok = outcome is Outcome.DONE
    message = Report(outcome=outcome, reason="" if ok else "AccessDenied").termination_message().decode()
    state = {"terminated": {"exitCode": 0 if ok else 3, "message": message}}
    pod = {"metadata": {"name": "p"}, "status": {"containerStatuses": [{"name": "main", "state": state}]}}
    return SeenJob(live(name, "Complete" if ok else "Failed"), (pod,))


def live(name: str, condition: str = "") -> Manifest:
    """A Job as the API server holds it."""
    conditions = [{"type": condition, "status": "True"}] if condition else []
    return {"metadata": {"name": name, "uid": f"uid-{name}"}, "status": {"conditions": conditions}}


def test_the_first_turn_starts_attempt_one() -> None:
    one = turn()
    assert (one.stage, one.attempt, one.ended) == (Stage.WORKING, 1, None)
    assert one.job.startswith("lake-verify-a1-")


def test_the_same_inputs_are_the_same_job() -> None:
    assert turn().job == turn(inputs={"bucket": "team"}).job
    assert turn().job != turn(inputs={"bucket": "other"}).job
    assert turn().job != turn(owner=meta(asked="again")).job


def test_an_answer_is_fresh_once_and_its_job_goes_the_turn_after() -> None:
    first = turn()
    seen = (ended(first.job, Outcome.DONE),)
    fresh = turn(after(first), seen)
    assert (fresh.stage, fresh.fresh, fresh.leftovers) == (Stage.DONE, True, ())
    assert fresh.report is not None
    kept = turn(after(fresh), seen)
    assert (kept.stage, kept.fresh, kept.report) == (Stage.DONE, False, None)
    assert [(one.name, one.uid) for one in kept.leftovers] == [(first.job, f"uid-{first.job}")]
    assert turn(after(fresh)).leftovers == ()


def test_a_job_that_vanishes_under_way_is_made_again_under_the_same_name() -> None:
    first = turn()
    assert turn(after(first)).job == first.job
    assert turn(after(first)).stage is Stage.WORKING


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 30), (2, 60), (3, 120), (4, 240)])
def test_trouble_rests_longer_each_time(attempt: int, seconds: int) -> None:
    name = turn(after(turn(), attempt=attempt)).job
    one = turn(after(turn(), attempt=attempt), (ended(name, Outcome.TROUBLE),))
    assert one.stage is Stage.RESTING
    assert one.ended is not None
    assert one.ended.retry_at == NOW + timedelta(seconds=seconds)


def test_a_rest_ends_on_time_and_not_before() -> None:
    resting = turn(after(turn()), (ended(turn().job, Outcome.TROUBLE),))
    early = turn(after(resting), now=NOW + timedelta(seconds=29))
    assert (early.stage, early.again) == (Stage.RESTING, timedelta(seconds=1))
    due = turn(after(resting), now=NOW + timedelta(seconds=30))
    assert (due.stage, due.attempt) == (Stage.WORKING, 2)


def test_the_last_attempts_trouble_is_the_end() -> None:
    name = turn(after(turn(), attempt=2)).job
    one = turn(after(turn(), attempt=2), (ended(name, Outcome.TROUBLE),), limit=2)
    assert one.stage is Stage.FAILED
    assert turn(after(one), now=NOW + timedelta(days=9), limit=2).stage is Stage.FAILED


def test_a_refusal_is_not_tried_again_until_somebody_changes_something() -> None:
    refused = turn(after(turn()), (ended(turn().job, Outcome.REFUSED),))
    assert refused.stage is Stage.FAILED
    later = NOW + timedelta(days=9)
    assert turn(after(refused), now=later).stage is Stage.FAILED
    assert turn(after(refused), now=later, owner=meta(generation=2)).stage is Stage.WORKING
    assert turn(after(refused), now=later, owner=meta(asked="again")).stage is Stage.WORKING
    assert turn(after(refused), now=later, inputs={"bucket": "other"}).stage is Stage.WORKING


def test_what_is_done_stays_done_in_a_new_generation_with_the_same_inputs() -> None:
    done = turn(after(turn()), (ended(turn().job, Outcome.DONE),))
    assert turn(after(done), owner=meta(generation=2)).stage is Stage.DONE


def test_jobs_of_other_attempts_are_leftovers_but_not_those_that_go_already() -> None:
    going = live("lake-verify-a1-old")
    going["metadata"]["deletionTimestamp"] = "now"
    jobs = (SeenJob(live(turn().job)), SeenJob(live("lake-verify-a1-other")), SeenJob(going))
    assert [one.name for one in turn(jobs=jobs).leftovers] == ["lake-verify-a1-other"]


def test_a_job_that_gets_no_pod_says_so_after_a_while() -> None:
    name = turn().job
    job = live(name) | {"status": {"startTime": "2026-03-01T12:00:00Z"}}
    assert turn(jobs=(SeenJob(job),), now=NOW + timedelta(seconds=19)).sight.reason == ""
    told = turn(jobs=(SeenJob(job),), now=NOW + timedelta(seconds=20)).sight
    assert told.reason == "Refused"
    assert f"kubectl describe job {name}" in told.message
    assert turn(jobs=(SeenJob(job, ({"metadata": {"name": "p"}},)),), now=NOW + timedelta(hours=1)).sight.reason == ""


def test_a_word_that_the_kind_does_not_know_becomes_job_failed() -> None:
    assert known(Reason, "AccessDenied") is Reason.ACCESS_DENIED
    assert known(Reason, "Gibberish") is Reason.JOB_FAILED


@given(st.lists(st.sampled_from(Outcome), max_size=12), st.integers(1, 5))
def test_no_story_costs_more_attempts_than_allowed_or_goes_backwards(story: list[Outcome], limit: int) -> None:
    status, now, numbers = WorkStatus(), NOW, []
    for outcome in story:
        one = turn(status, now=now, limit=limit)
        status = after(one)
        if one.stage is Stage.WORKING:
            numbers.append(one.attempt)
            status = after(turn(status, (ended(one.job, outcome),), now, limit=limit))
        now += timedelta(seconds=600)
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) <= limit


def test_the_job_of_a_deleted_namesake_answers_nothing_and_goes() -> None:
    first = turn()
    seen = ended(first.job, Outcome.DONE)
    seen.job["metadata"]["ownerReferences"] = [{"uid": "older", "controller": True}]
    one = turn(after(first), (seen,))
    assert (one.stage, one.report) == (Stage.WORKING, None)
    assert [gone.uid for gone in one.leftovers] == [f"uid-{first.job}"]


def test_a_suspended_job_is_told_with_what_to_do() -> None:
    first = turn()
    job = live(first.job) | {"spec": {"suspend": True}}
    sight = turn(after(first), (SeenJob(job),)).sight
    assert (sight.phase, sight.reason) == (Phase.PENDING, Fault.UNSCHEDULABLE)
    assert f"Job {first.job} is suspended" in sight.message
    assert f"kubectl edit job {first.job}" in sight.message
