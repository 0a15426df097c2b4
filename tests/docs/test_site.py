"""The site builds without a warning, and the pages that are run say what they run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.blocks import PAGES, blocks, commands


def test_the_site_builds_without_warnings(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "docs", str(tmp_path)]
    environment = os.environ | {"PYTHONWARNINGS": "default"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=170)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "quickstart.html").exists()


def test_the_readme_sets_everything_up_with_two_commands() -> None:
    assert commands(Path("README.md")) == ["make demo", "make test"]


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_yaml_block_is_an_object_of_ours(page: Path) -> None:
    for block in blocks(page, "yaml"):
        for document in yaml.safe_load_all(block):
            assert document["apiVersion"] == "plumbline.dev/v1alpha1"
            assert {"kind", "metadata", "spec"} <= set(document)


def test_every_kind_has_a_reference_page_that_explains_its_reasons() -> None:
    from plumbline_operator.rooms import ROOMS

    for room in ROOMS:
        page = Path(f"docs/reference/{room.kind.kind.lower()}.md").read_text()
        for reason in room.kind.reasons:
            assert str(reason) in page
