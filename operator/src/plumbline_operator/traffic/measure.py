"""What the routers counted since a step began, from counters that only grow while a pod lives."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pydantic import Field

from plumbline_contract.routes import Measured
from plumbline_operator.model.meta import Model


class PodCounters(Model):
    """What one router pod had counted at one moment."""

    pod: str = Field(description="Name of the router pod.")
    requests: dict[str, int] = Field(default_factory=dict, description="Answered requests by variant, without copies.")
    failures: dict[str, int] = Field(default_factory=dict, description="5xx answers and resets by variant.")
    mirrored: dict[str, int] = Field(default_factory=dict, description="Mirrored requests by variant.")


@dataclass(frozen=True, slots=True)
class Counts:
    """Requests since a moment, summed over router pods, by variant."""

    requests: Mapping[str, int] = field(default_factory=dict)
    failures: Mapping[str, int] = field(default_factory=dict)
    mirrored: Mapping[str, int] = field(default_factory=dict)


def counters(measured: Iterable[Measured], variants: Iterable[str]) -> tuple[PodCounters, ...]:
    """The counters of these variants, pod by pod, sorted by pod: the baseline of a step that begins now."""
    kept = sorted(variants)
    return tuple(
        PodCounters(
            pod=one.pod,
            requests=_only(one.requests, kept),
            failures=_only(one.failures, kept),
            mirrored=_only(one.mirrored, kept),
        )
        for one in sorted(measured, key=lambda m: m.pod)
    )


def counted_since(baseline: Iterable[PodCounters], measured: Iterable[Measured], variants: Iterable[str]) -> Counts:
    """What was counted since the baseline.

    A pod that is not in the baseline started later, and one whose counters fell has restarted: both count from zero.
    What a pod had counted before it went away is lost, so a sum is never too large.
    """
    before = {one.pod: one for one in baseline}
    deltas = [_delta(before.get(one.pod), one) for one in counters(measured, variants)]
    return Counts(
        requests=_sum(d.requests for d in deltas),
        failures=_sum(d.failures for d in deltas),
        mirrored=_sum(d.mirrored for d in deltas),
    )


def generation_taken(measured: Iterable[Measured] | None, generation: int) -> bool:
    """Whether every router pod answered and serves at least this generation of the routes; without pods, no."""
    known = list(measured or ())
    return bool(known) and all(one.generation >= generation for one in known)


def _delta(before: PodCounters | None, after: PodCounters) -> PodCounters:
    if before is None or _fell(before, after):
        return after
    return PodCounters(
        pod=after.pod,
        requests=_minus(after.requests, before.requests),
        failures=_minus(after.failures, before.failures),
        mirrored=_minus(after.mirrored, before.mirrored),
    )


def _fell(before: PodCounters, after: PodCounters) -> bool:
    pairs = ((before.requests, after.requests), (before.failures, after.failures), (before.mirrored, after.mirrored))
    return any(new.get(name, 0) < count for old, new in pairs for name, count in old.items())


def _minus(after: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    return {name: count - before.get(name, 0) for name, count in after.items()}


def _only(counts: Mapping[str, int], variants: Iterable[str]) -> dict[str, int]:
    return {name: counts[name] for name in variants if name in counts}


def _sum(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in parts:
        for name, count in part.items():
            total[name] = total.get(name, 0) + count
    return total
