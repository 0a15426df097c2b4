"""What a killed process has left behind, and what its successor makes of it."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from plumbline_serving.tally import Ended, Tally, open_tally


def arrived(_: Ended) -> bool:
    return True


def absent(_: Ended) -> bool:
    return False


def never_asked(_: Ended) -> bool:
    raise AssertionError("there is nothing to ask the bucket for")


def successor(tally: Tally, path: Path) -> Tally:
    """The next process, which finds the file that the kernel kept; this process's lock goes with it."""
    copy = path.with_suffix(".next")
    copy.write_bytes(path.read_bytes())
    return open_tally(copy)


def test_the_first_process_of_a_pod_finds_nothing(tmp_path: Path) -> None:
    tally = open_tally(tmp_path / "tally")
    assert tally.ended() is None
    tally.begin(started=7, lost=0)
    assert tally.lost == 0


def test_what_was_queued_and_not_settled_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "tally"
    tally = open_tally(path)
    tally.begin(started=7, lost=0)
    tally.queued(100)
    tally.settles(60)
    ended = successor(tally, path).ended()
    assert ended is not None
    assert ended.started == 7
    assert ended.lost(never_asked) == 40


@pytest.mark.parametrize(("where", "lost"), [(arrived, 20), (absent, 40)])
def test_the_bucket_knows_whether_the_segment_on_its_way_has_arrived(
    tmp_path: Path, where: Callable[[Ended], bool], lost: int
) -> None:
    path = tmp_path / "tally"
    tally = open_tally(path)
    tally.begin(started=7, lost=0)
    tally.queued(100)
    tally.settles(60)
    tally.sends(hour=3, sequence=4, rows=20)
    ended = successor(tally, path).ended()
    assert ended == Ended(started=7, queued=100, settled=60, hour=3, sequence=4, base=60, rows=20)
    assert ended.lost(where) == lost


def test_a_segment_that_is_settled_is_not_counted_twice(tmp_path: Path) -> None:
    path = tmp_path / "tally"
    tally = open_tally(path)
    tally.begin(started=7, lost=0)
    tally.queued(100)
    tally.sends(hour=3, sequence=4, rows=70)
    tally.settles(70)
    ended = successor(tally, path).ended()
    assert ended is not None
    assert ended.lost(never_asked) == 30


def test_losses_of_many_kills_add_up_and_each_process_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "tally"
    tally = open_tally(path)
    tally.begin(started=7, lost=5)
    tally.queued(3)
    tally.begin(started=8, lost=3)
    assert tally.lost == 8
    assert successor(tally, path).ended() == Ended(8, 0, 0, 0, 0, 0, 0)


def test_a_file_in_use_or_none_at_all_leaves_the_log_without_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "tally"
    first = open_tally(path)
    first.begin(started=7, lost=0)
    with caplog.at_level(logging.WARNING):
        for other in (path, tmp_path / "no" / "folder"):
            second = open_tally(other)
            second.begin(started=9, lost=0)
            second.queued(1)
    assert len(caplog.records) == 2
    ended = first.ended()
    assert ended is not None
    assert (ended.started, ended.queued) == (7, 0)
