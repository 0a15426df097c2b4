"""The golden path on an API server in trouble."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path
from typing import Any

import pytest

from tests.faults.cases import reference, troubled_case
from tests.faults.ground import ground
from tests.faults.lane import soon
from tests.support.faultproxy import Answer, Call, Delay, FaultProxy, Reset

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(600)]  # builds the API server the first time

SEED = 20130101
TROUBLE_SECONDS = 15.0
SHARE = 0.3
CI_SECONDS = 180.0  # to the reference state; a minute on a machine that has nothing else to do
FAULTS = (Answer(429, retry_after=1), Answer(500), Answer(503), Reset("before"), Reset("after"), Delay(2))


async def failing_calls(proxy: FaultProxy) -> None:
    """Let a share of all calls fail for a while, from the operator's first change on, and then none."""
    dice = random.Random(SEED)

    def trouble(call: Call) -> Any:
        del call
        return dice.choice(FAULTS) if dice.random() < SHARE else None

    async def begun() -> bool:
        return bool(proxy.journal.entries)

    await soon("the operator's first change", begun, CI_SECONDS)
    calm, proxy.trouble = proxy.trouble, trouble
    await asyncio.sleep(TROUBLE_SECONDS)  # the length of the trouble, not a wait for something
    proxy.trouble = calm


async def test_troubled_it_ends_where_it_would_have(tmp_path: Path) -> None:
    with ground(f"trouble-{os.getpid()}", tmp_path, limit=CI_SECONDS, quiet=5.0) as place:
        wanted = await reference(place)
        assert await troubled_case(place, wanted, "trouble", failing_calls) == []
