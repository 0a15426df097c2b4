"""Where the segments of one server's prediction log lie."""

from dataclasses import dataclass
from datetime import UTC, datetime

from plumbline_contract.layout import join, prediction_hour
from plumbline_contract.routes import ServingSettings
from plumbline_serving.record import MILLISECONDS_PER_HOUR


@dataclass(frozen=True, slots=True)
class Place:
    """Where the segments of this server lie, and what keeps their names apart from those of other servers."""

    prefix: str
    namespace: str
    deployment: str
    variant: str
    writer: str

    def key(self, hour: int, sequence: int) -> str:
        """The object key of one segment; `hour` in hours since the epoch."""
        when = datetime.fromtimestamp(hour * MILLISECONDS_PER_HOUR / 1000, tz=UTC)
        folder = prediction_hour(self.prefix, self.namespace, self.deployment, self.variant, when)
        return join(folder, f"{self.writer}-{sequence:06d}.parquet")


def place_of(settings: ServingSettings, pod: str, started_milliseconds: int) -> Place:
    """The place of a server's log. The start time is in the name: a restarted container keeps its pod's name."""
    return Place(
        prefix=settings.prefix,
        namespace=settings.namespace,
        deployment=settings.deployment,
        variant=settings.variant,
        writer=f"{pod}-{started_milliseconds:012x}",
    )
