"""Kubeconfigs, and plain HTTPS questions to the API server."""

from __future__ import annotations

import base64
import json
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.support.cluster.paths import write_private
from tests.support.cluster.pki import Pair


def inline(path: Path) -> str:
    """A file's content in base64, as kubeconfigs carry it."""
    return base64.b64encode(path.read_bytes()).decode()


def write_kubeconfig(
    path: Path, *, server: str, ca_data: str | None, user: dict[str, Any], namespace: str = "default"
) -> Path:
    """A self-contained kubeconfig (JSON, which is YAML too) with one context named ``plumbline``.

    ca_data: the authority's certificate in base64; None where the system's own authorities vouch.
    """
    authority = {"certificate-authority-data": ca_data} if ca_data else {}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "plumbline", "cluster": {"server": server, **authority}}],
        "users": [{"name": "plumbline", "user": user}],
        "contexts": [
            {"name": "plumbline", "context": {"cluster": "plumbline", "user": "plumbline", "namespace": namespace}}
        ],
        "current-context": "plumbline",
    }
    return write_private(path, json.dumps(content, indent=2) + "\n")


def certificate_user(pair: Pair) -> dict[str, Any]:
    """The user part of a kubeconfig for a client certificate."""
    return {"client-certificate-data": inline(pair.certificate), "client-key-data": inline(pair.key)}


class Prober:
    """Asks the API server paths as a client certificate's user; never raises for a refusal."""

    def __init__(self, server: str, ca: Path, pair: Pair) -> None:
        self.server = server
        context = ssl.create_default_context(cafile=str(ca))
        context.load_cert_chain(pair.certificate, pair.key)
        # No proxy of the environment: the server is on this machine.
        self.opener = urllib.request.build_opener(
            urllib.request.HTTPSHandler(context=context), urllib.request.ProxyHandler({})
        )

    def answers(self, path: str) -> bool:
        """Whether a GET of the path gives 200 within two seconds."""
        try:
            with self.opener.open(self.server + path, timeout=2) as reply:
                return bool(reply.status == 200)
        except (urllib.error.URLError, OSError):
            return False
