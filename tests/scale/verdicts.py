"""Hears when the operator has judged an Approval.

By one watch: to ask for each one again and again would load the API server more than what is measured, and the more
the slower that is.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiohttp
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration

from plumbline_operator.kube.http import path_of
from plumbline_operator.rooms.approval.api import KIND as APPROVAL

Verdicts = dict[tuple[str, str], float]
"""Namespace and name of each judged Approval → the moment (monotonic seconds) at which that was heard."""


@asynccontextmanager
async def verdicts(configuration: Configuration) -> AsyncIterator[Verdicts]:
    """What is heard from now on, of Approvals that are there already too."""
    seen: Verdicts = {}
    async with ApiClient(configuration) as client:
        method, url, headers, *_ = await client.param_serialize(
            "GET", path_of(APPROVAL.ref), query_params=[("watch", "1")], auth_settings=["BearerToken"]
        )
        answer = await client.call_api(
            method, url, headers, _request_timeout=aiohttp.ClientTimeout(total=None, sock_connect=10)
        )
        response: aiohttp.ClientResponse = answer.response
        response.raise_for_status()
        listening = asyncio.create_task(_listen(response.content, seen))
        try:
            yield seen
        finally:
            listening.cancel()
            with suppress(asyncio.CancelledError):
                await listening
            response.close()


async def _listen(lines: aiohttp.StreamReader, seen: Verdicts) -> None:
    async for line in lines:
        one = json.loads(line)["object"]
        if one.get("status", {}).get("observedGeneration"):
            seen.setdefault((one["metadata"]["namespace"], one["metadata"]["name"]), time.monotonic())
