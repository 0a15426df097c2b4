"""Asks router pods for their counters over HTTP."""

import asyncio
import logging
from dataclasses import dataclass, field

import httpx2
from pydantic import ValidationError

from plumbline_contract.routes import MEASURE_PORT, Measured

TIMEOUT_SECONDS = 2.0  # a router on the same network answers in milliseconds; a reconcile must not wait for a dead one

log = logging.getLogger(__name__)


def _client() -> httpx2.AsyncClient:
    # No proxy from the environment: pod addresses are reached directly or not at all.
    return httpx2.AsyncClient(timeout=TIMEOUT_SECONDS, trust_env=False)


@dataclass(slots=True)
class HttpSignals:
    """Implements signals.port.Signals with GET http://<pod IP>:<port>/measured."""

    port: int = MEASURE_PORT
    client: httpx2.AsyncClient = field(default_factory=_client)

    async def measured(self, host: str) -> tuple[Measured, ...] | None:
        """What each router pod counted. `host`: pod IPs joined by commas.

        None when there is no pod or one of them does not answer with its counters: a part would look like less
        traffic, or fewer failures, than there was.
        """
        addresses = [one for one in host.split(",") if one]
        answers = await asyncio.gather(*(self._ask(one) for one in addresses))
        known = tuple(one for one in answers if one is not None)
        return known if known and len(known) == len(addresses) else None

    async def close(self) -> None:
        """Close the connections."""
        await self.client.aclose()

    async def _ask(self, address: str) -> Measured | None:
        bracketed = f"[{address}]" if ":" in address else address
        try:
            answer = await self.client.get(f"http://{bracketed}:{self.port}/measured")
            return Measured.model_validate_json(answer.raise_for_status().content)
        except (httpx2.HTTPError, ValidationError) as exc:
            log.info("router pod %s did not say what it measured: %s", address, exc)
            return None
