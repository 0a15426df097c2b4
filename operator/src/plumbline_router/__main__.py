"""`python -m plumbline_router`: route one ModelDeployment's traffic."""

import asyncio
import logging
import os
import sys

from plumbline_router.agent import run
from plumbline_router.errors import RouterError
from plumbline_router.settings import settings_from


def main() -> int:
    """Exit code 0 after an orderly end, 1 when the router cannot run."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        asyncio.run(run(settings_from(os.environ)))
    except RouterError as exc:
        print(f"plumbline-router: {exc}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
