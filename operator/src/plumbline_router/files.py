"""Files that are either the old ones or the new ones, whenever a crash comes."""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ORDERS = "envoy.json"  # in the router's folder: how Envoy is started


def folder_from(environment: Mapping[str, str]) -> Path:
    """Where a router keeps its files. They outlive a container's restart, not the pod."""
    return Path(environment.get("PLUMBLINE_ROUTER_DIR") or os.path.join(tempfile.gettempdir(), "plumbline-router"))


def write_json(path: Path, document: Any) -> None:
    """Replace `path` with this JSON in one step.

    The bytes go to a hidden file beside it, reach the disk, and are renamed. A reader, or a start after a crash at any
    moment, finds either the whole old or the whole new file; what a crash left is overwritten by the next write.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.draft")
    with draft.open("w", encoding="utf-8") as sink:
        json.dump(document, sink, sort_keys=True)
        sink.flush()
        os.fsync(sink.fileno())
    draft.rename(path)
