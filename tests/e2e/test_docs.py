"""Every shell and YAML block of README and quickstart is run against the demo's cluster."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import Told
from tests.support.blocks import PAGES, blocks, commands
from tests.support.cluster import programs
from tests.support.demo.people import plugin_environment

pytestmark = [pytest.mark.bed_b, pytest.mark.timeout(3600)]

# Run by the fixture that told the story, by whoever runs this test, and by that fixture's end.
RUN_ELSEWHERE = {"make demo", "make test", "make demo-down"}


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_command_works(told: Told, page: Path) -> None:
    kubectl = programs.program(programs.KUBERNETES, "kubectl")
    environment = plugin_environment()
    environment |= {
        "KUBECONFIG": str(told.cluster.kubeconfig),
        "PATH": f"{kubectl.parent}{os.pathsep}{environment['PATH']}",
    }
    for command in commands(page):
        if command not in RUN_ELSEWHERE:
            done = subprocess.run(command, shell=True, capture_output=True, text=True, env=environment, timeout=120)
            assert done.returncode == 0, f"{page}: {command}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_object_is_accepted(told: Told, page: Path) -> None:
    for block in blocks(page, "yaml"):
        told.admin.kubectl(
            "apply",
            "--server-side",
            "--dry-run=server",
            "--validate=strict",
            "--field-manager=docs",
            "--force-conflicts",
            "-f",
            "-",
            stdin=block,
        )
