"""Log lines: one JSON object each, on standard output. They name columns, counts and digests, never data values."""

import json
import sys
from datetime import UTC, datetime


def log(event: str, **facts: str | int | float | None) -> None:
    """Writes one line. `event` is a short phrase that stays the same; what varies goes into `facts`."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    print(json.dumps({"time": now, "event": event, **facts}, allow_nan=False), file=sys.stdout, flush=True)
