"""`python -m tests.load JOB`: the generator's process; JOB is a job as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.load.generator import Job, generate

if __name__ == "__main__":
    told = json.loads(sys.argv[1])
    generate(Job(**told | {"requests": Path(told["requests"]), "output": Path(told["output"])}))
