"""`python -m tests.support.demo up|down`: run the story, or remove every trace of it."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tests.support.cluster import ClusterError, start
from tests.support.demo.narrate import say, stage
from tests.support.demo.people import DemoError
from tests.support.demo.story import NAMESPACE, tell
from tests.support.demo.table import facts_table

NAME = "demo"


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0 when every fact came true; 1, with the fact that did not, otherwise."""
    parser = argparse.ArgumentParser(prog="demo", description=(__doc__ or "").strip())
    parser.add_argument("what", choices=["up", "down"])
    parser.add_argument("--facts", type=Path, help="also write the measured facts here, as JSON")
    options = parser.parse_args(arguments)
    if options.what == "down":
        return _down()
    try:
        facts = _up()
    except (DemoError, ClusterError) as error:
        say(f"the demo failed: {error}")
        return 1
    if options.facts:
        options.facts.write_text(json.dumps(facts, indent=2, default=str))
    return 0


def _up() -> dict[str, object]:
    with stage("cluster: a real Kubernetes on this machine"):
        cluster = start(bed="B", name=NAME)
    facts = tell(cluster)
    print("\n" + facts_table(facts) + "\n")
    print("Look around:")
    print(f"  export KUBECONFIG={cluster.kubeconfig}")
    print(f"  kubectl get plumbline -n {NAMESPACE}")
    print(f"  kubectl describe modeldeployment late-arrival -n {NAMESPACE}")
    print("  make demo-down    # removes everything\n")
    return facts


def _down() -> int:
    from tests.support.cluster.__main__ import main as cluster_main

    return cluster_main(["down", "--name", NAME])


if __name__ == "__main__":
    sys.exit(main())
