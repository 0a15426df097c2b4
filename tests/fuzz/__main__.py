"""Random specs of every kind, good and bad, written to a real API server with the real operator at work.

python -m tests.fuzz                                     every kind, 50 chains of 20
python -m tests.fuzz --kind Dataset --seed 7             one kind
python -m tests.fuzz --kind Dataset --seed 7 --chain 3   one chain again
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.fuzz.chain import Limits
from tests.fuzz.runs import Order, fuzz, unbroken
from tests.fuzz.subjects import KINDS

SEED = 4
LANES = 16


def main(arguments: Sequence[str]) -> int:
    """Exit status 0 when nothing is wrong."""
    options = _parser().parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="plumbline-fuzz-"))
    print(f"the operator's log: {folder}", flush=True)
    chains = options.chain or range(options.chains)
    limits = Limits(Limits().decided * options.patience, Limits().ready * options.patience)
    order = Order(options.kind or list(KINDS), options.seed, chains, options.lanes, limits=limits)
    outcome = fuzz(f"fuzz-{os.getpid()}", folder, order)
    for line in outcome.complaints:
        print(f"WRONG {line}")
    for one in outcome.tallies:
        for line in one.pathless[: options.show]:
            print(f"without a field: {one.kind} {line}")
    for line in unbroken(outcome.tallies):
        print(f"never broken: {line}")
    print(f"{outcome.table()}\nseed {options.seed}: {outcome.figure()}")
    return 1 if outcome.complaints else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kind", action="append", choices=list(KINDS), help="may be repeated; all when left out")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--chain", type=int, action="append", help="a chain's number; may be repeated")
    parser.add_argument("--chains", type=int, default=50, help="how many of each kind")
    parser.add_argument("--lanes", type=int, default=LANES, help="chains at once")
    parser.add_argument("--patience", type=float, default=1, help="longer limits, on a machine that does other things")
    parser.add_argument("--show", type=int, default=5, help="refusals without a field to show, per kind")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
