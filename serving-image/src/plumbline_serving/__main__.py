"""`python -m plumbline_serving`: serve the model named in PLUMBLINE_SERVING."""

import argparse
import os
import sys

from plumbline_contract.routes import SERVING_PORT
from plumbline_serving.errors import StartFailure
from plumbline_serving.logs import set_up
from plumbline_serving.server import run, settings_from

DRAIN_SECONDS = 8.0  # the router looks at readiness every second, DNS forgets a pod within 5 s


def main() -> int:
    """Exit code 0 after an orderly end, 1 when the server could not start or rows of its log are lost at the end."""
    parser = argparse.ArgumentParser(prog="plumbline_serving", description=__doc__)
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--port", type=int, default=SERVING_PORT)
    parser.add_argument("--drain-seconds", type=float, default=DRAIN_SECONDS)
    options = parser.parse_args()
    set_up()
    try:
        lost = run(settings_from(os.environ), options.host, options.port, options.drain_seconds)
    except StartFailure as exc:
        print(f"plumbline-serving cannot start: {exc}", file=sys.stderr)
        return 1
    if lost:
        print(f"plumbline-serving ended without the last {lost} rows of its prediction log", file=sys.stderr)
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
