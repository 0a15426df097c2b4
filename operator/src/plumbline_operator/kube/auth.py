"""Logs in to the API server: as a pod by its ServiceAccount, elsewhere by a kubeconfig file."""

import os

from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

KUBECONFIG = "~/.kube/config"


def kubeconfig_path() -> str:
    """The kubeconfig file that is used outside a cluster."""
    return os.path.expanduser(os.environ.get("KUBECONFIG") or KUBECONFIG)


class NoLogin(Exception):
    """Neither a ServiceAccount nor a kubeconfig could be used."""


async def login() -> Configuration:
    """A configuration of the API client, whose token is read again every minute (projected tokens rotate).

    Raises NoLogin, which says what was tried.
    """
    configuration = Configuration()
    configuration.retries = None  # the work queue tries again, with backoff and without hiding it
    path = kubeconfig_path()
    try:
        if os.environ.get("KUBERNETES_SERVICE_HOST") and not os.environ.get("KUBECONFIG"):
            load_incluster_config(configuration)
        else:
            await load_kube_config(config_file=path, client_configuration=configuration)
    except (ConfigException, OSError) as exc:
        raise NoLogin(
            f"no way to log in to the API server: {exc}. Run in a pod with a ServiceAccount token, "
            f"or point KUBECONFIG at a kubeconfig file (tried {path})."
        ) from exc
    return configuration
