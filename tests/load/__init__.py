"""An open-loop load generator for loopback: requests start on a clock, in a process of its own.

    shots = Load(folder, port, [post("/v2/models/m/infer", body)], per_second=300).run(10)
    with Load(folder, port, requests, per_second=300, most_seconds=700) as load:
        ...  # disturb something
        shots = load.stop()

An answer's time counts from when its request was due, so a server that stalls is seen as such. Nothing is sent twice.
"""

from tests.load.load import Load
from tests.load.shots import Shot, failures, post, quantile

__all__ = ["Load", "Shot", "failures", "post", "quantile"]
