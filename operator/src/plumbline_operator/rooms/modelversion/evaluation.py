"""What an evaluation is asked, and how its answer is read. Pure."""

from collections.abc import Iterable, Sequence

from plumbline_contract.base import short_hash
from plumbline_contract.manifest import SnapshotRef
from plumbline_contract.report import Report, TestVerdict
from plumbline_contract.runspec import Bucket, Evaluate, MetricGate, Owner, RegressionGate, SliceGate, Window
from plumbline_operator.model.conditions import Conditions, State
from plumbline_operator.model.meta import plain
from plumbline_operator.rooms.modelversion.api import (
    GateVerdict,
    Judgement,
    ModelVersion,
    ModelVersionSpec,
    Reason,
)
from plumbline_operator.rooms.registeredmodel.api import Gate, RegisteredModelSpec

VERB = "evaluate"
PASS, FAIL, INCONCLUSIVE = "Pass", "Fail", "Inconclusive"


def policy_of(model: RegisteredModelSpec) -> str:
    """Short hash of everything in a RegisteredModel that an evaluation depends on; the gates' order does not matter."""
    gates = sorted((plain(gate) for gate in model.gates), key=lambda gate: str(gate["name"]))
    return short_hash({"golden": plain(model.golden), "gates": gates})


def inputs_of(version: ModelVersionSpec, judgement: Judgement) -> dict[str, str]:
    """What makes one evaluation different from another."""
    return {
        "manifest": version.manifest,
        "policy": judgement.policy,
        "golden": judgement.golden.digest,
        "champion": judgement.champion.manifest if judgement.champion else "",
    }


def document(
    version: ModelVersion, model: RegisteredModelSpec, judgement: Judgement, storage: Bucket, job: str
) -> Evaluate:
    """What the Job is asked. Gates that compare with a champion are left out while there is none."""
    meta, spec, golden = version.metadata, version.spec, model.golden
    window = spec.training_window
    return Evaluate(
        owner=Owner(namespace=meta.namespace, kind="ModelVersion", name=meta.name, uid=meta.uid, job=job),
        storage=storage,
        manifest=spec.manifest,
        champion=judgement.champion.manifest if judgement.champion else None,
        golden=judgement.golden.digest,
        window=Window(since=golden.since, until=golden.until) if golden.since or golden.until else None,
        label=golden.label,
        prediction_output=golden.prediction_output,
        gates=tuple(_asked(gate) for gate in model.gates if _is_measured(gate, judgement)),
        training=tuple(
            SnapshotRef(input=one.input, dataset=one.dataset, snapshot=one.snapshot, digest=one.digest)
            for one in spec.snapshots
        ),
        training_window=Window(since=window.since, until=window.until) if window else None,
    )


def answered(judgement: Judgement, report: Report) -> Judgement:
    """The evaluation with its result."""
    numbers = dict(report.numbers)
    rows = numbers.pop("rows", None)
    return judgement.model_copy(
        update={
            "digest": report.digests.get("evaluation", ""),
            "predictions": report.digests.get("predictions", judgement.predictions),
            "rows": None if rows is None else int(rows),
            "metrics": {name: _rounded(value) for name, value in sorted(numbers.items())},
        }
    )


def verdicts(gates: Iterable[Gate], judgement: Judgement, report: Report) -> tuple[GateVerdict, ...]:
    """One verdict per gate, in the gates' order. What the answer does not say is Inconclusive, never a pass."""
    said = {one.name: one for one in report.verdicts} if report.digests.get("evaluation") else {}
    return tuple(_verdict(gate, judgement, said.get(gate.name)) for gate in gates)


def say(gates: Sequence[GateVerdict], conditions: Conditions) -> tuple[Reason, str]:
    """Set the GatesPassed condition from the verdicts; returns its reason and message."""
    failed = [one for one in gates if one.verdict == FAIL]
    unclear = [one for one in gates if one.verdict not in (PASS, FAIL)]
    if failed:
        found = State.FALSE, Reason.GATE_FAILED, _sentence("failed", failed, gates)
    elif unclear:
        found = State.UNKNOWN, Reason.GATE_INCONCLUSIVE, _sentence("could not be judged", unclear, gates)
    else:
        text = f"All {len(gates)} gates passed." if gates else "The RegisteredModel declares no gates."
        found = State.TRUE, Reason.GATES_PASSED, text
    conditions.set("GatesPassed", *found)
    return found[1], found[2]


def _asked(gate: Gate) -> MetricGate | RegressionGate | SliceGate:
    if gate.minimum is not None:
        return MetricGate(name=gate.name, metric=gate.minimum.metric, minimum=gate.minimum.value)
    if gate.regression is not None:
        given = gate.regression
        return RegressionGate(name=gate.name, metric=given.metric, maximum_percent=given.max_percent)
    if gate.slices is None:
        raise ValueError(f"gate {gate.name!r} has no minimum, regression or slices")
    return SliceGate(
        name=gate.name,
        metric=gate.slices.metric,
        columns=gate.slices.columns,
        per_month=gate.slices.per_month,
        minimum=gate.slices.minimum,
        minimum_samples=gate.slices.min_samples,
    )


def _is_measured(gate: Gate, judgement: Judgement) -> bool:
    return gate.regression is None or judgement.champion is not None


def _verdict(gate: Gate, judgement: Judgement, said: TestVerdict | None) -> GateVerdict:
    if not _is_measured(gate, judgement):
        # The first version has nothing to be worse than; any other rule would keep it from ever serving.
        return GateVerdict(name=gate.name, verdict=PASS, message="There was no champion to compare with.")
    if said is None:
        text = "The evaluation's answer has no verdict for this gate."
        return GateVerdict(name=gate.name, verdict=INCONCLUSIVE, message=text)
    if said.verdict == PASS and said.value is None:
        text = f"The evaluation says Pass without a measured value. {said.message}".strip()
        return GateVerdict(name=gate.name, verdict=INCONCLUSIVE, bound=said.bound, message=text)
    value = None if said.value is None else _rounded(said.value)
    return GateVerdict(name=gate.name, verdict=said.verdict, value=value, bound=said.bound, message=said.message)


def _sentence(what: str, some: Sequence[GateVerdict], gates: Sequence[GateVerdict]) -> str:
    told = "; ".join(f"{one.name}: {one.message or _measured(one)}" for one in some)
    return f"{len(some)} of {len(gates)} gates {what}. {told}"


def _measured(one: GateVerdict) -> str:
    return f"measured {one.value if one.value is not None else 'nothing'}, bound {one.bound or 'unknown'}"


def _rounded(value: float) -> float:
    """Six significant digits, so that a status does not change with the last bits of a sum."""
    return float(f"{value:.6g}")
