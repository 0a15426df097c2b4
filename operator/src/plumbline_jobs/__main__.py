"""`python -m plumbline_jobs`: does what PLUMBLINE_RUNSPEC asks, and answers."""

from plumbline_jobs.ending import leave
from plumbline_jobs.main import main

if __name__ == "__main__":
    leave(main())
