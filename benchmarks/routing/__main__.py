"""`python -m benchmarks.routing`: what a request through the router costs more, as ratios with their spread.

Method: server and router share core 0 as if they shared a node's last core, wrk has core 1; keep-alive, closed loop;
each round asks directly and through the router, one after the other and in turns the one or the other first, so that
what else the machine does hits both alike; ratios are taken within a round. The router is the one of a deployment: the
agent's own configuration, with a canary of 5 % that is the same server, health checks, hashing and counting on.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving.environments import model_file
from benchmarks.serving.load import Measured, Point, body, measure, require_wrk
from benchmarks.serving.servers import LOAD_CORE, NAME, SERVER_CORE, ours, running
from tests.overload.bench import on_core
from tests.router.fake_api import FakeApi
from tests.router.processes import backend, routes, routing
from tests.serving.bucket import CREDENTIALS, Bucket
from tests.support.moto import s3_server

POINTS = (Point(1, 1), Point(1, 16), Point(64, 16))
CANARY_PERCENT = 5


@dataclass(frozen=True)
class Pair:
    """One round at one point: the same load directly and through the router."""

    direct: Measured
    routed: Measured

    @property
    def kept(self) -> float:
        """Requests per second through the router as a share of those without."""
        return self.routed.per_second / self.direct.per_second

    @property
    def added(self) -> float:
        """Microseconds that the router adds to the median."""
        return self.routed.p50 - self.direct.p50


def main() -> None:
    """Run all rounds and print the tables."""
    parser = argparse.ArgumentParser(prog="benchmarks.routing", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of load per way and point")
    parser.add_argument("--out", type=Path, help="also write the numbers here, as JSON")
    options = parser.parse_args()
    require_wrk()
    with tempfile.TemporaryDirectory() as name, both_ways(Path(name)) as ports:
        found = rounds(ports, options.rounds, options.seconds, Path(name))
    report(found)
    if options.out is not None:
        plain = [
            {"load": str(point), "rounds": [[vars(one.direct), vars(one.routed)] for one in pairs]}
            for point, pairs in found.items()
        ]
        options.out.write_text(json.dumps(plain, indent=1))


@contextmanager
def both_ways(folder: Path) -> Iterator[tuple[int, int]]:
    """The ports of a server and of a router in front of it."""
    with ExitStack() as stack:
        with on_core(LOAD_CORE):
            bucket = Bucket(stack.enter_context(s3_server())).create()
        api = FakeApi()
        stack.callback(api.close)
        settings = bucket.settings(bucket.put_model(model_file().read_bytes()), model_name=NAME)
        server = ours(settings.canonical().decode(), CREDENTIALS)
        split = routes(
            1, backend("stable", server.port, 100 - CANARY_PERCENT), backend("canary", server.port, CANARY_PERCENT)
        )
        stack.enter_context(running(server, body(64), folder / "server.log"))
        with on_core(SERVER_CORE):
            router = stack.enter_context(routing(api, folder / "router", split))
        yield server.port, router.port


def rounds(ports: tuple[int, int], count: int, seconds: int, folder: Path) -> dict[Point, list[Pair]]:
    """All measurements, in pairs."""
    found: dict[Point, list[Pair]] = {point: [] for point in POINTS}
    for number in range(1, count + 1):
        print(f"round {number} of {count}", flush=True)
        order = ports if number % 2 else ports[::-1]
        for point, pairs in found.items():
            measured = {port: measure(port, point, seconds, folder) for port in order}
            pairs.append(Pair(measured[ports[0]], measured[ports[1]]))
    return found


def report(found: dict[Point, list[Pair]]) -> None:
    """Print medians with their spread."""
    print("\n| load | way | requests/s | p50 us | p99 us |\n|---|---|---|---|---|")
    for point, pairs in found.items():
        for way, measured in (("direct", [one.direct for one in pairs]), ("router", [one.routed for one in pairs])):
            cells = [spread([getattr(one, field) for one in measured]) for field in ("per_second", "p50", "p99")]
            print(f"| {point} | {way} | {' | '.join(cells)} |")
    print("\n| load | p50 added, us | requests/s kept |\n|---|---|---|")
    for point, pairs in found.items():
        kept = spread([one.kept * 100 for one in pairs])
        print(f"| {point} | {spread([one.added for one in pairs])} | {kept} % |")


def spread(values: list[float]) -> str:
    """Median and range."""
    return f"{statistics.median(values):,.0f} ({min(values):,.0f}-{max(values):,.0f})"


if __name__ == "__main__":
    main()
