"""What the server counts, and how it looks in Prometheus."""

import time
from bisect import bisect_left
from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Upper bounds in seconds: a small model answers in 0.1 ms, a caller gives up in seconds."""


class Metrics:
    """Plain integers, changed only on the event loop's thread or only on the log's thread, never on both.

    A prometheus_client counter takes a lock per increment; three of them would cost a tenth of a small request.
    """

    def __init__(self, variant: str, manifest: str, digest: str) -> None:
        self.requests: dict[int, int] = {}
        self.rows = 0
        self.buckets = [0] * (len(BUCKETS) + 1)
        self.seconds = 0.0
        self.log_queued = 0
        self.log_written = 0
        self.log_dropped: dict[str, int] = {"queue_full": 0, "storage": 0, "shape": 0, "encoding": 0, "killed": 0}
        self.log_segments = 0
        self.log_complete_until = time.time()
        self._info = {"variant": variant, "manifest": manifest, "model": digest}
        self._registry = CollectorRegistry()
        self._registry.register(_Collected(self))

    def answered(self, status: int, seconds: float) -> None:
        """Count one answered inference request."""
        self.requests[status] = self.requests.get(status, 0) + 1
        self.buckets[bisect_left(BUCKETS, seconds)] += 1
        self.seconds += seconds

    def text(self) -> bytes:
        """The Prometheus text exposition."""
        return generate_latest(self._registry)

    def families(self) -> Iterator[Metric]:
        """All metrics, as the registry collects them."""
        info = GaugeMetricFamily("plumbline_serving_model_info", "The model served; always 1.", labels=[*self._info])
        info.add_metric([*self._info.values()], 1)
        yield info
        requests = CounterMetricFamily(
            "plumbline_serving_requests", "Inference requests answered, by HTTP status.", labels=["code"]
        )
        for status, count in list(self.requests.items()):
            requests.add_metric([str(status)], count)
        yield requests
        yield CounterMetricFamily("plumbline_serving_rows", "Rows predicted.", value=self.rows)
        yield self._latency()
        yield from self._log()

    def _latency(self) -> Metric:
        total, cumulative = 0, []
        for bound, count in zip((*map(str, BUCKETS), "+Inf"), list(self.buckets), strict=True):
            total += count
            cumulative.append((bound, total))
        return HistogramMetricFamily(
            "plumbline_serving_request_seconds",
            "Seconds from the first byte of a request handled to its answer handed over.",
            buckets=cumulative,
            sum_value=self.seconds,
        )

    def _log(self) -> Iterator[Metric]:
        queued = "Rows put into the prediction log's queue."
        yield CounterMetricFamily("plumbline_serving_log_rows_queued", queued, value=self.log_queued)
        written = "Rows of the prediction log that storage has taken."
        yield CounterMetricFamily("plumbline_serving_log_rows_written", written, value=self.log_written)
        dropped = CounterMetricFamily(
            "plumbline_serving_log_rows_dropped", "Rows that are not in the prediction log, by why.", labels=["reason"]
        )
        for reason, count in list(self.log_dropped.items()):
            dropped.add_metric([reason], count)
        yield dropped
        behind = "Seconds since the moment up to which every row has been written or counted as dropped."
        seconds = max(0.0, time.time() - self.log_complete_until)
        yield GaugeMetricFamily("plumbline_serving_log_behind_seconds", behind, value=seconds)
        segments = "Segments of the prediction log written."
        yield CounterMetricFamily("plumbline_serving_log_segments", segments, value=self.log_segments)


class _Collected(Collector):
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        return self._metrics.families()
