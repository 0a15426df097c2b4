"""One Bed B and one small world for all tests here. They run in `make proof` only: they take half an hour.

`make test` has a part of each claim elsewhere: the demo's release under load, its share and its pin (tests/e2e), and
killed agents, killed servers and hanging shadows as processes (tests/router).
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.proof.goals import is_whole
from tests.support.cluster import start, stop
from tests.traffic_node.scene import Scene
from tests.traffic_node.world import build

collect_ignore_glob = [] if is_whole() else ["test_*.py"]
NAME = "traffic"


@pytest.fixture(scope="session")
def scene() -> Iterator[Scene]:
    """The old version serves; the others are approved and have never served."""
    try:
        yield build(start(bed="B", name=NAME))
    finally:
        stop(NAME)
