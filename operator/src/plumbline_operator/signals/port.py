"""The port through which a rollout sees what its router has measured."""

from typing import Protocol

from plumbline_contract.routes import Measured


class Signals(Protocol):
    """Measurements, read when asked."""

    async def measured(self, host: str) -> tuple[Measured, ...] | None:
        """What each router pod behind `host` (pod IPs joined by commas) counted; None when one does not answer."""
