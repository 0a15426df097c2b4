"""`python -m plumbline_jobs`: does what PLUMBLINE_RUNSPEC asks, and answers."""

import sys

from plumbline_jobs.main import main

if __name__ == "__main__":
    sys.exit(main())
