"""How a Job's process ends."""

import os
import sys
from typing import NoReturn


def leave(code: int) -> NoReturn:
    """End the process with this exit status, now; everything it has to say is said.

    Not sys.exit(): after a refusal a reading thread of Arrow may still be letting go of our stream. It waits for an
    interpreter that is being taken down, and the process is aborted, exit status 134, with its answer given.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
