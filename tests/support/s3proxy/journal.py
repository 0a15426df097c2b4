"""What went through the proxy, kept for tests and as JSON lines for people."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.s3proxy.call import Call
from tests.support.s3proxy.faults import Fault


@dataclass(slots=True)
class Entry:
    """One request. `number`: of a write, from 1 in its bucket; 0 for a read. `status` 0: it was not answered."""

    at: float
    call: Call
    number: int = 0
    status: int = 0
    fault: Fault | None = None
    note: str = ""

    def line(self) -> str:
        """The entry as one line of JSON."""
        call = self.call
        facts = {"at": round(self.at, 3), "bucket": call.bucket, "number": self.number, "method": call.method}
        facts |= {"key": call.key, "bytes": call.size, "status": self.status}
        return json.dumps(facts | {"fault": repr(self.fault) if self.fault else "", "note": self.note})


@dataclass(slots=True)
class Journal:
    """Entries in the order in which they ended; `path` receives each as a line."""

    path: Path
    entries: list[Entry] = field(default_factory=list)

    def add(self, entry: Entry) -> None:
        """Keep an entry."""
        self.entries.append(entry)
        with self.path.open("a") as lines:
            lines.write(entry.line() + "\n")

    def of(self, bucket: str) -> list[Entry]:
        """What one bucket was asked."""
        return [one for one in self.entries if one.call.bucket == bucket]

    def writes(self, bucket: str) -> list[Entry]:
        """The numbered writes of one bucket, by number."""
        return sorted((one for one in self.of(bucket) if one.number), key=lambda one: one.number)

    def faults(self, bucket: str) -> list[Fault]:
        """The faults that one bucket's client met."""
        return [one.fault for one in self.of(bucket) if one.fault is not None]
