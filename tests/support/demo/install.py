"""Puts Plumbline on a cluster: images built and loaded, then the chart."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.support.cluster import Cluster, images
from tests.support.cluster.images import ImageSpec
from tests.support.cluster.paths import cache_root
from tests.support.demo import repository
from tests.support.demo.data import EXAMPLE
from tests.support.demo.narrate import say
from tests.support.helm import helm

SYSTEM = "plumbline-system"
CHART = Path("charts/plumbline")
GIT_DAEMON = (
    *("git", "-c", "safe.directory=*", "daemon", "--reuseaddr", "--export-all", "--base-path=/srv/git"),
    *("--informative-errors", "--port=9418", "--log-destination=stderr"),
)


def load_images(cluster: Cluster) -> dict[str, str]:
    """Load our four images, the example's training image and its git server; returns the digests of ours by name."""
    ours = {name: _loaded(cluster, images.own_spec(name)) for name in images.OWN_IMAGES}
    for spec in (images.folder_spec(EXAMPLE / "training"), git_server()):
        _loaded(cluster, spec)
    return ours


def _loaded(cluster: Cluster, spec: ImageSpec) -> str:
    reference = cluster.load_image(images.build_image(spec))
    say(f"    {reference}")
    return reference.rpartition("@")[2]


def git_server() -> ImageSpec:
    """An image that serves the example's training code; made here, because its content is a repository."""
    folder = cache_root() / "flights" / "repository"
    say(f"    training code at commit {repository.make(folder)}")
    return ImageSpec(
        name="plumbline/flights-git:dev",
        entrypoint=GIT_DAEMON,
        base_packages=("ca-certificates", "git"),
        files=((folder, "/srv/git"),),
        environment={"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"},
    )


def install(cluster: Cluster, digests: Mapping[str, str]) -> None:
    """Install or upgrade the chart with these images, and wait until the operator is available."""
    pinned = [f"--set=images.{name}.digest={digest}" for name, digest in digests.items()]
    helm(cluster, "upgrade", "--install", "plumbline", str(CHART), "-n", SYSTEM, "--create-namespace", *pinned)
    cluster.kubectl("-n", SYSTEM, "rollout", "status", "deployment/plumbline", "--timeout=180s", seconds=200)
