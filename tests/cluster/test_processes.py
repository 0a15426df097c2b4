"""Long-lived processes and their pid files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.cluster import ClusterError, processes
from tests.support.cluster.progress import wait_until

SLEEPER = ["/bin/sleep", "600"]


def test_a_started_process_is_known_by_its_pid_file_until_it_is_stopped(tmp_path: Path) -> None:
    pid_file = tmp_path / "pids" / "sleeper"

    known = processes.start(pid_file, tmp_path / "sleeper.log", SLEEPER)

    # The file is there before the program: the process first is the shell that writes it.
    command_line = Path(f"/proc/{known.pid}/cmdline")
    wait_until("the program runs", lambda: command_line.read_text().split("\0")[:-1] == SLEEPER, seconds=10)
    assert processes.is_running(pid_file)
    processes.stop(pid_file)
    assert processes.identity_of(known.pid) is None
    assert not pid_file.exists()


def test_a_process_lives_in_its_own_session_so_that_its_starter_may_be_killed(tmp_path: Path) -> None:
    pid_file = tmp_path / "sleeper"
    script = (
        "import pathlib, sys, time\n"
        "from tests.support.cluster import processes\n"
        f"processes.start(pathlib.Path({str(pid_file)!r}), pathlib.Path({str(tmp_path / 'log')!r}), {SLEEPER!r})\n"
        "print('started', flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, start_new_session=True) as starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == b"started\n"
        os.killpg(starter.pid, signal.SIGKILL)
        starter.wait()

    assert processes.is_running(pid_file)
    processes.stop(pid_file)
    assert not processes.is_running(pid_file)


def test_a_pid_file_of_an_earlier_process_with_the_same_number_kills_nobody(tmp_path: Path) -> None:
    pid_file = tmp_path / "sleeper"
    known = processes.start(pid_file, tmp_path / "log", SLEEPER)
    boot, line = pid_file.read_text().split("\n", 1)
    fields = line.rpartition(")")[2].split()
    earlier = int(fields[processes.START_TIME_FIELD]) - 1
    forged = tmp_path / "forged"
    forged.write_text(f"{boot}\n{line.replace(f' {known.started} ', f' {earlier} ')}")
    other_boot = tmp_path / "other-boot"
    other_boot.write_text(f"00000000-0000-0000-0000-000000000000\n{line}")

    for stale in (forged, other_boot):
        assert not processes.is_running(stale)
        processes.stop(stale)
        assert not stale.exists()

    assert not processes.send(replace(known, started=known.started - 1), signal.SIGKILL)
    assert processes.is_running(pid_file)
    processes.stop(pid_file)


def test_a_process_that_ignores_the_request_to_end_is_killed(tmp_path: Path) -> None:
    pid_file = tmp_path / "stubborn"
    ready = tmp_path / "ready"
    stubborn = f"trap '' TERM; touch {ready}; while :; do sleep 1; done"
    known = processes.start(pid_file, tmp_path / "log", ["/bin/sh", "-c", stubborn])
    wait_until("the trap is set", ready.exists, seconds=10)

    processes.stop(pid_file, grace_seconds=0.2)

    assert processes.identity_of(known.pid) is None


def test_a_dead_process_counts_as_gone_even_before_anyone_collects_it(tmp_path: Path) -> None:
    with subprocess.Popen(SLEEPER) as child:
        known = processes.identity_of(child.pid)
        assert known is not None
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

        assert processes.identity_of(child.pid) is None
        assert not processes.send(known, signal.SIGTERM)


def test_a_program_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="cannot start /no/such/program"):
        processes.start(tmp_path / "pid", tmp_path / "log", ["/no/such/program"])
