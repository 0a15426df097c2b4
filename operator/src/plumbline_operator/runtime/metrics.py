"""What the operator tells Prometheus. Label sets are bounded by the number of objects, kinds and codes."""

from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from plumbline_operator.model.meta import Key, Manifest

VALUES = {"True": 1.0, "False": 0.0, "Unknown": -1.0}
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


@dataclass(slots=True)
class Metrics:
    """The operator's metrics in a registry of their own."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    reconciles: Histogram = field(init=False)
    queue: Gauge = field(init=False)
    calls: Counter = field(init=False)
    call_seconds: Histogram = field(init=False)
    conditions: Gauge = field(init=False)
    leader: Gauge = field(init=False)
    _shown: dict[Key, set[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Create the collectors."""
        self.reconciles = Histogram(
            "plumbline_reconcile_seconds", "Reconciles.", ["kind", "outcome"], registry=self.registry, buckets=SECONDS
        )
        self.queue = Gauge("plumbline_queue_depth", "Keys that are due and not in work.", registry=self.registry)
        self.calls = Counter(
            "plumbline_api_calls", "Calls to the API server.", ["verb", "resource", "code"], registry=self.registry
        )
        self.call_seconds = Histogram(
            "plumbline_api_call_seconds", "Calls to the API server.", ["verb"], registry=self.registry, buckets=SECONDS
        )
        self.conditions = Gauge(
            "plumbline_condition",
            "Conditions of our objects: 1 True, 0 False, -1 Unknown.",
            ["kind", "namespace", "name", "type"],
            registry=self.registry,
        )
        self.leader = Gauge("plumbline_leader", "1 while this process holds the Lease.", registry=self.registry)

    def called(self, verb: str, plural: str, code: int, seconds: float) -> None:
        """Count one call to the API server; code 0 is no answer."""
        self.calls.labels(verb, plural, str(code)).inc()
        self.call_seconds.labels(verb).observe(seconds)

    def show(self, key: Key, raw: Manifest) -> None:
        """Show an object's conditions, and no longer those it has no more."""
        held = {c["type"]: c["status"] for c in raw.get("status", {}).get("conditions", ())}
        for type_ in self._shown.get(key, set()) - set(held):
            self.conditions.remove(key.kind, key.namespace, key.name, type_)
        for type_, status in held.items():
            self.conditions.labels(key.kind, key.namespace, key.name, type_).set(VALUES.get(status, -1.0))
        self._shown[key] = set(held)

    def drop(self, key: Key) -> None:
        """Forget an object that is gone."""
        for type_ in self._shown.pop(key, set()):
            self.conditions.remove(key.kind, key.namespace, key.name, type_)
