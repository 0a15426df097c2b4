"""`python -m plumbline_operator`: run the operator with the settings in the environment."""

import asyncio
import os
import sys

from plumbline_operator.app import run
from plumbline_operator.kube.auth import NoLogin
from plumbline_operator.kube.errors import KubeError
from plumbline_operator.runtime.logs import set_up
from plumbline_operator.settings import BadSettings, read_settings


def main() -> int:
    """Exit status: 0 stopped as told, 1 ended ill, 2 wrong settings, no way to log in, or no API server."""
    try:
        settings = read_settings(os.environ)
        set_up(settings.log_level)
        return asyncio.run(run(settings))
    except (BadSettings, NoLogin, KubeError) as error:
        print(f"plumbline: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
