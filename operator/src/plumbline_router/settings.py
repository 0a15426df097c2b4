"""What a router pod is told, by environment variables."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from plumbline_contract.routes import MEASURE_PORT, ROUTER_PORT
from plumbline_router.errors import RouterError
from plumbline_router.files import ORDERS, folder_from

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of one router pod; every field has an environment variable named in `settings_from`."""

    namespace: str
    name: str
    api: str
    token_file: Path
    ca_file: Path | None
    folder: Path
    pod: str
    host: str = "0.0.0.0"
    port: int = ROUTER_PORT
    measure_port: int = MEASURE_PORT
    concurrency: int = 1
    drain_seconds: float = 5.0
    linger_seconds: float = 30.0
    resolver: str = ""

    @property
    def admin(self) -> Path:
        """Envoy's admin interface: a socket file, which nobody outside the container can reach."""
        return self.folder / "admin.sock"

    @property
    def bootstrap(self) -> Path:
        """What Envoy reads once, at its start."""
        return self.folder / "bootstrap.json"

    @property
    def orders(self) -> Path:
        """How the first process starts Envoy; there once everything that Envoy reads is."""
        return self.folder / ORDERS

    @property
    def clusters(self) -> Path:
        return self.folder / "xds" / "clusters.json"

    @property
    def routes(self) -> Path:
        return self.folder / "xds" / "routes.json"

    @property
    def state(self) -> Path:
        """The routes document in force, for a start without the API server."""
        return self.folder / "state.json"


def settings_from(environment: Mapping[str, str]) -> Settings:
    """The settings in an environment. Raises RouterError naming the variable that is missing or wrong."""
    ca_file = Path(environment.get("PLUMBLINE_API_CA", SERVICE_ACCOUNT / "ca.crt"))
    return Settings(
        namespace=_required(environment, "PLUMBLINE_ROUTES_NAMESPACE"),
        name=_required(environment, "PLUMBLINE_ROUTES_NAME"),
        api=environment.get("PLUMBLINE_API_SERVER") or _in_cluster(environment),
        token_file=Path(environment.get("PLUMBLINE_API_TOKEN", SERVICE_ACCOUNT / "token")),
        ca_file=ca_file if ca_file.exists() else None,
        folder=folder_from(environment),
        pod=environment.get("HOSTNAME", "router"),
        host=environment.get("PLUMBLINE_ROUTER_HOST", "0.0.0.0"),
        port=int(_number(environment, "PLUMBLINE_ROUTER_PORT", ROUTER_PORT)),
        measure_port=int(_number(environment, "PLUMBLINE_MEASURE_PORT", MEASURE_PORT)),
        concurrency=int(_number(environment, "PLUMBLINE_ROUTER_CONCURRENCY", 1)),
        drain_seconds=_number(environment, "PLUMBLINE_DRAIN_SECONDS", 5.0),
        linger_seconds=_number(environment, "PLUMBLINE_LINGER_SECONDS", 30.0),
        resolver=environment.get("PLUMBLINE_DNS_RESOLVER", ""),
    )


def _required(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name)
    if not value:
        raise RouterError(f"the environment variable {name} is missing; it names the routes ConfigMap")
    return value


def _in_cluster(environment: Mapping[str, str]) -> str:
    host = _required(environment, "KUBERNETES_SERVICE_HOST")
    port = environment.get("KUBERNETES_SERVICE_PORT", "443")
    return f"https://{f'[{host}]' if ':' in host else host}:{port}"


def _number(environment: Mapping[str, str], name: str, default: float) -> float:
    text = environment.get(name, "")
    if not text:
        return default
    try:
        return float(text)
    except ValueError as exc:
        raise RouterError(f"{name} is {text!r}; expected a number") from exc
