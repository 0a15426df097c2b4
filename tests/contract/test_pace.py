"""A body may take its time, and may not come by the byte."""

import pytest

from plumbline_contract.pace import CHUNK, PATIENCE_SECONDS, SLOWEST, TooSlow, paced


def every(seconds: float) -> list[float]:
    """What a clock shows when a chunk needs so long."""
    return [number * seconds for number in range(100)]


def test_a_body_that_comes_in_time_comes_whole() -> None:
    clock = iter(every(CHUNK / SLOWEST))
    assert list(paced([bytes(CHUNK)] * 50, lambda: next(clock))) == [bytes(CHUNK)] * 50


def test_a_body_that_is_slower_is_given_up_once_patience_is_over() -> None:
    clock, taken = iter(every(10.0)), []
    with pytest.raises(TooSlow, match=f"it gave {3 * CHUNK} bytes of an object in 30 s"):
        taken.extend(paced([bytes(CHUNK)] * 50, lambda: next(clock)))
    assert len(taken) == PATIENCE_SECONDS / 10


def test_a_small_body_may_take_as_long_as_patience_lasts() -> None:
    clock = iter((0.0, PATIENCE_SECONDS))
    assert list(paced([b"a"], lambda: next(clock))) == [b"a"]
