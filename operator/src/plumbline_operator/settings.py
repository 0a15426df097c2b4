"""The operator's settings, from PLUMBLINE_* environment variables."""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from plumbline_operator.runtime.room import Images

PREFIX = "PLUMBLINE_"


class BadSettings(Exception):
    """A setting is missing or not usable; the text names the variable."""


class Settings(BaseModel):
    """How one operator runs. Each field is read from PLUMBLINE_<NAME>."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    jobs_image: str = Field(min_length=1, description="Image of Jobs.")
    serving_image: str = Field(min_length=1, description="Image of inference servers.")
    router_image: str = Field(min_length=1, description="Image of routers.")
    pull_policy: str = Field(default="IfNotPresent", pattern="^(Always|IfNotPresent|Never)$")
    namespaces: str = Field(default="", description="Namespaces to watch, separated by commas; empty: all.")
    lease_namespace: str = Field(default="plumbline-system", min_length=1, description="Where the Lease lies.")
    lease_name: str = Field(default="plumbline-operator", min_length=1)
    resync_seconds: float = Field(default=600.0, gt=0, description="How often everything is looked at once more.")
    workers: int = Field(default=8, ge=1, le=64, description="Reconciles at once.")
    health_port: int = Field(default=8080, ge=0, le=65535, description="Port of /healthz, /readyz and /metrics.")
    health_host: str = Field(default="0.0.0.0")
    drain_seconds: float = Field(default=20.0, ge=0, description="How long a shutdown waits for work in progress.")
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$")

    @property
    def images(self) -> Images:
        """The images of the pods that the operator makes."""
        return Images(self.jobs_image, self.serving_image, self.router_image, self.pull_policy)

    @property
    def watched(self) -> tuple[str, ...]:
        """The namespaces to watch; empty means the whole cluster."""
        return tuple(name.strip() for name in self.namespaces.split(",") if name.strip())


@dataclass(frozen=True, slots=True)
class _Wrong:
    variable: str
    complaint: str


def read_settings(environment: Mapping[str, str]) -> Settings:
    """The settings in an environment. Raises BadSettings, which names every variable that is wrong."""
    given = {
        name: environment[f"{PREFIX}{name.upper()}"]
        for name in Settings.model_fields
        if f"{PREFIX}{name.upper()}" in environment
    }
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        wrong = [_Wrong(f"{PREFIX}{str(one['loc'][0]).upper()}", one["msg"]) for one in error.errors()]
        raise BadSettings("; ".join(f"{one.variable}: {one.complaint}" for one in wrong)) from error
