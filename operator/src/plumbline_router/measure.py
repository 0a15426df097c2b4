"""What this pod's Envoy has counted, as numbers that only grow."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from plumbline_contract.routes import Measured, Routes
from plumbline_router.render import SERVE, SHADOW

COMPLETED, FAILED, SENT = "upstream_rq_completed", "upstream_rq_5xx", "upstream_rq_total"
DROPPED = ("upstream_rq_pending_overflow", "upstream_cx_none_healthy")  # it did not keep up, or was put aside
PATTERN = rf"^cluster\.({SERVE}|{SHADOW})[^.]+\.({'|'.join((COMPLETED, FAILED, SENT, *DROPPED))})$"


class Stats(Protocol):
    """Envoy's counters."""

    async def stats(self, pattern: str) -> Mapping[str, object]:
        """Counters whose names match."""


@dataclass(slots=True)
class Meter:
    """Envoy's counters, kept growing over the end of a cluster: one made again begins at zero."""

    _seen: dict[str, int] = field(default_factory=dict)
    _earlier: dict[str, int] = field(default_factory=dict)

    async def read(self, stats: Stats) -> None:
        """Take the counters as they are now."""
        self.take(await stats.stats(PATTERN))

    def take(self, counters: Mapping[str, object]) -> None:
        """Take counters by Envoy's names; a smaller value than before belongs to a new cluster of that name."""
        for name, value in counters.items():
            if not isinstance(value, int):
                continue
            if value < self._seen.get(name, 0):
                self._earlier[name] = self._earlier.get(name, 0) + self._seen[name]
            self._seen[name] = value

    def measured(self, pod: str, routes: Routes | None) -> Measured:
        """All counts so far, by variant; a variant that is routed to and has counted nothing yet has 0."""
        backends = () if routes is None else tuple(backend.variant for backend in routes.backends)
        shadows = () if routes is None or routes.shadow is None else (routes.shadow.variant,)
        return Measured(
            pod=pod,
            generation=0 if routes is None else routes.generation,
            requests=dict.fromkeys(backends, 0) | self._by_variant(SERVE, COMPLETED),
            failures=dict.fromkeys(backends, 0) | self._by_variant(SERVE, FAILED),
            mirrored=dict.fromkeys(shadows, 0) | self._by_variant(SHADOW, SENT),
            mirror_dropped=dict.fromkeys(shadows, 0) | self._by_variant(SHADOW, *DROPPED),
        )

    def _by_variant(self, kind: str, *counters: str) -> dict[str, int]:
        """The sum of these counters of each cluster of a kind."""
        found: dict[str, int] = {}
        for name, value in sorted(self._seen.items()):
            cluster, _, counter = name.removeprefix("cluster.").partition(".")
            if cluster.startswith(kind) and counter in counters:
                variant = cluster.removeprefix(kind)
                found[variant] = found.get(variant, 0) + value + self._earlier.get(name, 0)
        return found
