"""Connection: ask the endpoint once per change, and say what it answered."""

from dataclasses import dataclass
from datetime import datetime

from plumbline_contract.runspec import Owner, VerifyConnection
from plumbline_operator.build.job import Resources, job
from plumbline_operator.model.attempts import (
    SeenJob,
    Stage,
    Turn,
    conditions_for,
    take_turn,
    tell,
    written,
)
from plumbline_operator.model.conditions import stamp
from plumbline_operator.model.meta import Manifest, plain
from plumbline_operator.model.plan import Plan
from plumbline_operator.rooms.connection.api import (
    ConnectionResource,
    ConnectionSpec,
    Reason,
    bucket_of,
    credentials_of,
)

VERB = "verify"
DEADLINE_SECONDS = 600  # covers a Secret that is applied a little later than the Connection
RESOURCES = Resources({"cpu": "50m", "memory": "128Mi"}, {"memory": "512Mi"})


@dataclass(frozen=True, slots=True)
class Observed:
    """A Connection and the Jobs that verify it. `image`, `pull_policy`: of our jobs image."""

    connection: ConnectionResource
    jobs: tuple[SeenJob, ...]
    image: str
    pull_policy: str = "IfNotPresent"


def plan(seen: Observed, now: datetime) -> Plan:
    """What to do next about a Connection."""
    meta, status = seen.connection.metadata, seen.connection.status
    spec = seen.connection.spec
    conditions = conditions_for(meta, status, now)
    turn = take_turn(status, meta, seen.jobs, now, verb=VERB, inputs=plain(spec))
    status = status.model_copy(update={**turn.memory(), "endpoint": address(spec)})
    if turn.stage is Stage.DONE:
        if turn.fresh:
            status = status.model_copy(update={"verified_at": stamp(now)})
        conditions.ready(Reason.VERIFIED, f"{address(spec)} answered at {status.verified_at}.")
    else:
        tell(turn, conditions, Reason, Reason.VERIFYING, f"Asking {address(spec)}")
    return Plan(
        apply=(_verify_job(seen, turn),) if turn.stage is Stage.WORKING else (),
        delete=turn.leftovers,
        status=written(status, conditions),
        notes=turn.notes(Reason.VERIFIED, f"{address(spec)} answered."),
        again=turn.again,
    )


def address(spec: ConnectionSpec) -> str:
    """The endpoint in one line, for people: `http://store:9000/bucket/prefix` or a repository's URL."""
    if spec.git is not None:
        return spec.git.url
    bucket = bucket_of(spec)
    base = bucket.endpoint.rstrip("/") or f"s3.{bucket.region}.amazonaws.com"
    return "/".join(part for part in (base, bucket.bucket, bucket.prefix) if part)


def _verify_job(seen: Observed, turn: Turn) -> Manifest:
    meta, spec = seen.connection.metadata, seen.connection.spec
    document = VerifyConnection(
        owner=Owner(namespace=meta.namespace, kind="Connection", name=meta.name, uid=meta.uid, job=turn.job),
        s3=bucket_of(spec) if spec.s3 else None,
        git_url=spec.git.url if spec.git else None,
    )
    return job(
        turn.job,
        document,
        seen.image,
        credentials=[credentials_of(spec)] if spec.s3 else [],
        resources=RESOURCES,
        pull_policy=seen.pull_policy,
        deadline_seconds=DEADLINE_SECONDS,
    )
