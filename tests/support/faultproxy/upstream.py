"""The connection to the real API server, as the administrator of a cluster's kubeconfig."""

from __future__ import annotations

import base64
import json
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path

import aiohttp

BUFFER = 1 << 22  # bytes; a watch event is one line, and an object may have 1.5 MiB


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where the API server is, and how to be let in."""

    server: str
    trust: ssl.SSLContext

    def session(self) -> aiohttp.ClientSession:
        """A client of the API server; requests have no time limit, as watches have none."""
        return aiohttp.ClientSession(
            self.server,
            connector=aiohttp.TCPConnector(ssl=self.trust, limit=0),
            timeout=aiohttp.ClientTimeout(total=None),
            read_bufsize=BUFFER,
        )


def upstream(kubeconfig: Path) -> Upstream:
    """The API server of a kubeconfig that was written by tests.support.cluster."""
    config = json.loads(kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    trust = ssl.create_default_context(cadata=_text(cluster["certificate-authority-data"]))
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as pair:
        pair.write(_text(user["client-certificate-data"]) + "\n" + _text(user["client-key-data"]))
        pair.flush()
        trust.load_cert_chain(pair.name)
    return Upstream(cluster["server"], trust)


def _text(data: str) -> str:
    return base64.b64decode(data).decode()
