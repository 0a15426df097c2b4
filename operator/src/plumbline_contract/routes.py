"""What the operator tells a router and a server: the routes of one deployment, and a server's settings."""

from pydantic import Field, model_validator

from plumbline_contract.base import Digest, Document

ROUTES_KEY = "routes.json"  # the key inside the routes ConfigMap
UNIT_HEADER = "x-plumbline-unit"  # the caller's sticky key
REQUEST_HEADER = "x-request-id"
PREDICTION_HEADER = "x-plumbline-prediction-id"
VARIANT_HEADER = "x-plumbline-variant"
ROLE_HEADER = "x-plumbline-role"  # set by the router alone: `shadow` on mirrored requests
SHADOW_ROLE = "shadow"
MEASURE_PORT = 9902  # the agent's own port: /measured, /metrics, /healthz
ROUTER_PORT = 8080
SERVING_PORT = 8080


class Backend(Document):
    """One variant behind the router."""

    variant: str = Field(description="name of the variant, which is also its Service's name")
    host: str
    port: int = SERVING_PORT
    weight: int = Field(ge=0, le=100, description="percent of the requests")


class Routes(Document):
    """Weights that sum to 100, and at most one shadow."""

    generation: int = Field(ge=0, description="grows with every change; an agent never goes backwards")
    deployment: str
    backends: tuple[Backend, ...] = Field(min_length=1)
    shadow: Backend | None = Field(default=None, description="its weight is the mirrored percent of the requests")

    @model_validator(mode="after")
    def _sums_to_one_hundred(self) -> "Routes":
        total = sum(b.weight for b in self.backends)
        if total != 100:
            raise ValueError(f"weights of {[b.variant for b in self.backends]} sum to {total}, not 100")
        return self


class Measured(Document):
    """What a router pod has counted since it started; counters only grow while the pod lives."""

    pod: str
    generation: int
    requests: dict[str, int] = Field(default_factory=dict, description="variant → answered requests, shadows excluded")
    failures: dict[str, int] = Field(default_factory=dict, description="variant → 5xx answers and resets")
    mirrored: dict[str, int] = Field(default_factory=dict, description="variant → mirrored requests sent")
    mirror_dropped: dict[str, int] = Field(
        default_factory=dict, description="variant → copies not sent: it did not keep up, or was put aside"
    )


class ServingSettings(Document):
    """What a serving pod is told, as JSON in PLUMBLINE_SERVING."""

    namespace: str
    deployment: str
    variant: str
    model_name: str
    manifest: Digest
    endpoint: str = ""
    region: str = "us-east-1"
    bucket: str
    prefix: str = ""
    path_style: bool = True
    redact: dict[str, str] = Field(default_factory=dict, description="input name → Drop or Hash, from the data's PII")
    log_flush_seconds: float = Field(default=5.0, gt=0)
    log_queue_rows: int = Field(default=100_000, gt=0)


SERVING_VARIABLE = "PLUMBLINE_SERVING"
