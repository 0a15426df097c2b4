"""`python -m benchmarks.serving`: a table of requests per second and latencies, and our ratios to the rivals.

Method: each server alone on core 0, wrk on core 1, keep-alive, closed loop; rounds interleaved over the servers, so
that what else the machine does hits all alike; every answer is compared with ours first. Ratios are taken within a
round. Closed-loop p99 compares servers, it does not promise an objective.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.serving.environments import model_file
from benchmarks.serving.load import Measured, Point, body, measure, require_wrk
from benchmarks.serving.servers import NAME, Server, kserve, mlserver, ours, running
from tests.serving.bucket import CREDENTIALS, Bucket
from tests.support.moto import s3_server

POINTS = (Point(1, 1), Point(1, 16), Point(64, 16))
TOLERANCE = 1e-4  # float32 outputs of the same file and runtime, in different sums
Results = dict[tuple[str, Point], list[Measured]]


def main() -> None:
    """Run all rounds and print the tables."""
    parser = argparse.ArgumentParser(prog="benchmarks.serving", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4, help="of load per server and point")
    parser.add_argument("--out", type=Path, help="also write the numbers here, as JSON")
    options = parser.parse_args()
    require_wrk()
    model = model_file()
    with s3_server() as url, tempfile.TemporaryDirectory() as name:
        bucket, folder = Bucket(url).create(), Path(name)
        settings = bucket.settings(bucket.put_model(model.read_bytes()), model_name=NAME).canonical().decode()
        servers = [ours(settings, CREDENTIALS), kserve(model), mlserver(model, folder)]
        results = rounds(servers, options.rounds, options.seconds, folder)
    report(servers, results)
    if options.out is not None:
        options.out.write_text(json.dumps(plain(results), indent=1))


def rounds(servers: list[Server], count: int, seconds: int, folder: Path) -> Results:
    """All measurements, interleaved."""
    results: Results = {}
    expected: Any = None
    for number in range(1, count + 1):
        for server in servers:
            print(f"round {number} of {count}: {server.name}", flush=True)
            with running(server, body(64), folder / f"{server.name}.log") as (_, answer):
                expected = expected or answer
                compare(server.name, answer, expected)
                for point in POINTS:
                    results.setdefault((server.name, point), []).append(measure(server.port, point, seconds, folder))
    return results


def compare(name: str, answer: Any, expected: Any) -> None:
    """End the benchmark when a server does not give the answers ours gives."""
    found = {output["name"]: output["data"] for output in answer["outputs"]}
    for output in expected["outputs"]:
        pairs = zip(flat(found[output["name"]]), flat(output["data"]), strict=True)
        if any(abs(one - other) > TOLERANCE for one, other in pairs):
            raise SystemExit(f"{name} answers differently in {output['name']}; the comparison would mean nothing")


def flat(data: Iterable[Any]) -> list[float]:
    """Numbers of a flat or nested array."""
    return [number for part in data for number in (flat(part) if isinstance(part, list) else [part])]


def report(servers: list[Server], results: Results) -> None:
    """Print medians with their spread, and our ratio to each rival."""
    print("\n| server | load | requests/s | p50 us | p99 us |\n|---|---|---|---|---|")
    for point in POINTS:
        for server in servers:
            found = results[server.name, point]
            cells = [spread([getattr(one, field) for one in found]) for field in ("per_second", "p50", "p99")]
            print(f"| {server.name} | {point} | {' | '.join(cells)} |")
    ours_name = servers[0].name
    print(f"\n| load | {ours_name} against | ratio of requests/s |\n|---|---|---|")
    for point in POINTS:
        for rival in servers[1:]:
            pairs = zip(results[ours_name, point], results[rival.name, point], strict=True)
            ratios = [mine.per_second / theirs.per_second for mine, theirs in pairs]
            print(f"| {point} | {rival.name} | {spread(ratios, digits=1)} |")


def spread(values: list[float], digits: int = 0) -> str:
    """Median and range."""
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f}-{max(values):,.{digits}f})"


def plain(results: Results) -> list[dict[str, Any]]:
    """The measurements as JSON values."""
    return [
        {"server": name, "rows": point.rows, "connections": point.connections, "rounds": [vars(one) for one in found]}
        for (name, point), found in results.items()
    ]


if __name__ == "__main__":
    main()
