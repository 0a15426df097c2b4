"""Announces changes as Events, with repetitions counted instead of listed."""

import logging
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from plumbline_contract.base import short_hash
from plumbline_operator.kube.errors import KubeError
from plumbline_operator.kube.protocol import Kube
from plumbline_operator.model.meta import GROUP, Manifest
from plumbline_operator.model.plan import Note

NOTE_LIMIT = 1024  # bytes; the API server refuses a longer `note`
SERIES_ENDS = timedelta(minutes=6)  # as in client-go's recorder: a later repetition starts a new Event
SERIES_MAX = 2_000  # remembered series; the oldest is forgotten first

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Series:
    """One Event and how often it has been seen."""

    first: datetime
    last: datetime
    count: int


@dataclass(slots=True)
class Recorder:
    """Publishes Events under events.k8s.io/v1; a failure to announce never fails a reconcile."""

    kube: Kube
    instance: str = "plumbline-operator"
    _series: dict[str, Series] = field(default_factory=dict)

    async def publish(self, raw: Manifest, note: Note, now: datetime) -> None:
        """Announce `note` about one of our objects."""
        identity = short_hash([raw["metadata"]["uid"], note.reason, note.message, note.warning])
        seen = self._series.pop(identity, None)
        fresh = seen is None or now - seen.last > SERIES_ENDS
        series = Series(now, now, 1) if seen is None or fresh else replace(seen, last=now, count=seen.count + 1)
        self._series[identity] = series
        if len(self._series) > SERIES_MAX:
            del self._series[next(iter(self._series))]
        try:
            await self.kube.event(self._manifest(raw, note, identity, series))
        except KubeError as exc:
            log.warning("an Event could not be published: %s", exc)

    def _manifest(self, raw: Manifest, note: Note, identity: str, series: Series) -> Manifest:
        meta = raw["metadata"]
        name = f"{meta['name'][:200]}.{identity}{int(series.first.timestamp()):x}"
        manifest: Manifest = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": meta["namespace"]},
            "eventTime": _micro(series.first),
            "reportingController": f"{GROUP}/operator",
            "reportingInstance": self.instance[:128],
            "action": "Reconcile",
            "reason": note.reason,
            "type": "Warning" if note.warning else "Normal",
            "note": _cut(note.message, NOTE_LIMIT),
            "regarding": {
                "apiVersion": raw["apiVersion"],
                "kind": raw["kind"],
                "namespace": meta["namespace"],
                "name": meta["name"],
                "uid": meta["uid"],
            },
        }
        if series.count > 1:
            manifest["series"] = {"count": series.count, "lastObservedTime": _micro(series.last)}
        return manifest


def _micro(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _cut(text: str, limit: int) -> str:
    """At most `limit` bytes of UTF-8, whole characters only."""
    return text.encode()[:limit].decode(errors="ignore")
