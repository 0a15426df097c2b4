"""The fenced blocks of a Markdown file, for tests that run what the documentation shows."""

from __future__ import annotations

import re
from pathlib import Path

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

PAGES = (Path("README.md"), Path("docs/quickstart.md"))


def blocks(page: Path, language: str) -> list[str]:
    """The text of every block in this language, in order."""
    return [text for found, text in _FENCE.findall(page.read_text()) if found == language]


def commands(page: Path) -> list[str]:
    """Every line of every bash block."""
    return [line for block in blocks(page, "bash") for line in block.splitlines() if line.strip()]
