"""Logs in to the API server: as a pod by its ServiceAccount, elsewhere by a kubeconfig file."""

import os
from dataclasses import dataclass
from pathlib import Path

from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import ConfigException, load_kube_config

KUBECONFIG = "~/.kube/config"
SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


def kubeconfig_path() -> str:
    """The kubeconfig file that is used outside a cluster."""
    return os.path.expanduser(os.environ.get("KUBECONFIG") or KUBECONFIG)


class NoLogin(Exception):
    """Neither a ServiceAccount nor a kubeconfig could be used."""


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """A pod's way in: the server, and a folder with `token` and `ca.crt` that the kubelet keeps fresh."""

    server: str
    folder: Path

    @property
    def authority(self) -> str:
        """The file of the authority that signs for the server."""
        return str(self.folder / "ca.crt")

    def token(self) -> str:
        """The token as it is now; the kubelet renews it in place, long before it expires. Raises OSError."""
        return (self.folder / "token").read_text().strip()


def service_account() -> ServiceAccount | None:
    """The pod's ServiceAccount; None outside a pod, or where KUBECONFIG names another way.

    PLUMBLINE_SERVICE_ACCOUNT names its folder where a projected token lies elsewhere than usual.
    """
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host or os.environ.get("KUBECONFIG"):
        return None
    place = f"[{host}]" if ":" in host else host
    return ServiceAccount(
        f"https://{place}:{port}", Path(os.environ.get("PLUMBLINE_SERVICE_ACCOUNT") or SERVICE_ACCOUNT)
    )


async def login() -> Configuration:
    """A configuration of the API client; a ServiceAccount's token is read again for every call.

    Raises NoLogin, which says what was tried.
    """
    configuration = Configuration()
    configuration.retries = None  # the work queue tries again, with backoff and without hiding it
    # kopf does not ask the environment for a proxy either; to ask takes a thread and a file for each request.
    configuration.client_session_kwargs = {"trust_env": False}
    path, account = kubeconfig_path(), service_account()
    try:
        if account is None:
            await load_kube_config(config_file=path, client_configuration=configuration)
        else:
            _as_pod(configuration, account)
    except (ConfigException, OSError) as exc:
        raise NoLogin(
            f"no way to log in to the API server: {exc}. Run in a pod with a ServiceAccount token, "
            f"or point KUBECONFIG at a kubeconfig file (tried {path})."
        ) from exc
    return configuration


def _as_pod(configuration: Configuration, account: ServiceAccount) -> None:
    def refresh(configuration: Configuration) -> None:
        configuration.api_key["BearerToken"] = f"Bearer {account.token()}"

    refresh(configuration)
    configuration.host = account.server
    configuration.ssl_ca_cert = account.authority
    configuration.refresh_api_key_hook = refresh
