"""Measures a canary from the outside, while the deployment's status says that one is under way."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.support.demo.people import DemoError, Raw
from tests.support.demo.traffic import Tally


@dataclass(slots=True)
class CanaryWatch:
    """What clients and the router saw while the deployment's status said that a canary was under way.

    Clients' counts run from the first look that saw the canary's weight to the last one that did.
    """

    tally: Tally
    first: Counter[str] | None = None
    last: Counter[str] = field(default_factory=Counter)
    target: str = ""
    asked: int = 0
    router_share: float | None = None
    arms: dict[str, int] = field(default_factory=dict)

    def look(self, status: Raw) -> None:
        """Note the counts if a canary is under way now."""
        target = status.get("target", {}).get("variant", "")
        weight = status.get("weights", {}).get(target, 0)
        if not 0 < weight < 100:
            return
        if self.first is None:
            self.first, self.target, self.asked = self.tally.mark(), target, weight
            self.tally.arms.clear()
        self.last = self.tally.mark()
        self.arms = self.tally.arms_seen()
        self.router_share = status.get("measured", {}).get("sharePercent", self.router_share)

    def facts(self) -> dict[str, Any]:
        """Share in percent, requests it was measured over, and how many units changed their arm."""
        if self.first is None:
            raise DemoError("the rollout never showed a canary")
        counted = self.last - self.first
        total = sum(counted.values())
        return {
            "asked": self.asked,
            "share": 100 * counted[self.target] / max(1, total),
            "requests": total,
            "router_share": self.router_share,
            "units": len(self.arms),
            "moved": sum(arms > 1 for arms in self.arms.values()),
        }
