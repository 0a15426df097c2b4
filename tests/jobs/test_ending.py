"""A process that has answered ends with its own exit status, whatever threads of libraries still do."""

import subprocess
import sys

SPEAKER = """
import atexit
from plumbline_jobs.ending import leave
atexit.register(print, "taken down")
print("said", end="")
leave(3)
"""


def test_what_was_said_arrives_and_the_interpreter_is_not_taken_down() -> None:
    done = subprocess.run([sys.executable, "-c", SPEAKER], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, "said", "")
