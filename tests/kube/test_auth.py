"""Logging in: as a pod, by a kubeconfig, or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import kopf
import pytest

from plumbline_operator.kube.auth import NoLogin, login
from plumbline_operator.runtime import ears


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The environment of a pod; returns its token file."""
    token, authority = tmp_path / "token", tmp_path / "ca.crt"
    token.write_text("first\n")
    authority.write_text("a certificate")
    monkeypatch.setenv("PLUMBLINE_SERVICE_ACCOUNT", str(tmp_path))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.delenv("KUBECONFIG", raising=False)
    return token


def rotate(token: Path, text: str) -> None:
    """What the kubelet does with a projected token, every hour or so."""
    token.write_text(text)


async def test_a_pod_uses_its_service_account(pod: Path) -> None:
    configuration = await login()
    assert configuration.host == "https://10.0.0.1:443"
    assert configuration.ssl_ca_cert == str(pod.with_name("ca.crt"))
    assert await configuration.get_api_key_with_prefix("BearerToken") == "Bearer first"


async def test_a_token_that_was_rotated_is_used_at_once(pod: Path) -> None:
    configuration = await login()
    rotate(pod, "second")
    assert await configuration.get_api_key_with_prefix("BearerToken") == "Bearer second"


async def test_the_watches_log_in_the_same_way(pod: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    rotate(pod, "second")
    found = await ears.login(settings=kopf.OperatorSettings())
    assert found is not None
    assert (found.server, found.token) == ("https://[fd00::1]:443", "second")
    assert found.ca_path == str(pod.with_name("ca.crt"))


async def test_a_second_login_means_that_the_token_was_refused(pod: Path) -> None:
    told: list[bool] = []
    once = ears.login_once(lambda: told.append(True))
    found = await once(kopf.OperatorSettings())
    assert found is not None
    assert (found.token, told) == ("first", [])
    with pytest.raises(kopf.PermanentError):
        await once(kopf.OperatorSettings())
    assert told == [True]


async def test_a_pod_without_a_token_says_so(pod: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLUMBLINE_SERVICE_ACCOUNT", str(pod.parent / "elsewhere"))
    with pytest.raises(NoLogin, match="token"):
        await login()


async def test_elsewhere_the_kubeconfig_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"token": "of-a-person"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(json.dumps(content))
    monkeypatch.setenv("KUBECONFIG", str(path))
    configuration = await login()
    assert configuration.host == "http://127.0.0.1:1"
    assert await configuration.get_api_key_with_prefix("BearerToken") == "Bearer of-a-person"


async def test_no_way_in_says_what_was_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "absent"))
    with pytest.raises(NoLogin, match=r"absent.*"):
        await login()
