"""The example's own modules, importable as they are when its scripts run."""

import sys
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "flights"
sys.path.insert(0, str(EXAMPLE))
