"""`python -m plumbline_router`: route one ModelDeployment's traffic."""

import asyncio
import os
import sys

from plumbline_router.files import folder_from
from plumbline_router.supervisor import supervise

if __name__ == "__main__":
    sys.exit(asyncio.run(supervise(folder_from(os.environ))))
