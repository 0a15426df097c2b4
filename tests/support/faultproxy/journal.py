"""What went through the proxy, kept for oracles and as JSON lines for people."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.faultproxy.call import Call


@dataclass(slots=True)
class Entry:
    """One write, or one fault. `code` is the API server's answer, 0 when there was none; `number` 0 is uncounted."""

    at: float
    call: Call
    number: int = 0
    code: int = 0
    fault: str = ""
    body: Any = None

    def line(self) -> str:
        """The entry as one line of JSON, without the body."""
        facts = {"at": round(self.at, 3), "number": self.number, "method": self.call.method, "code": self.code}
        return json.dumps(facts | {"place": self.call.place, "namespace": self.call.namespace, "fault": self.fault})


@dataclass(slots=True)
class Journal:
    """Entries in the order in which they ended; `path` receives each as a line."""

    path: Path
    entries: list[Entry] = field(default_factory=list)
    changed_at: float = field(default_factory=time.monotonic)
    asked: list[tuple[float, Call]] = field(default_factory=list)  # every request, and when, by the monotonic clock

    def add(self, entry: Entry) -> None:
        """Keep an entry."""
        self.entries.append(entry)
        with self.path.open("a") as lines:
            lines.write(entry.line() + "\n")

    def changed(self) -> None:
        """A change other than a heartbeat is on its way to the API server now."""
        self.changed_at = time.monotonic()

    def quiet_seconds(self) -> float:
        """How long ago the last change was sent."""
        return time.monotonic() - self.changed_at

    def calls(self, since: float, until: float) -> int:
        """How many requests came in this time of the monotonic clock."""
        return sum(since <= at < until for at, _ in self.asked)

    def writes(self) -> list[Entry]:
        """The numbered writes, by number."""
        return sorted((one for one in self.entries if one.number), key=lambda one: one.number)
