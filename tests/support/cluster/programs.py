"""The cluster's programs, built from the Go module proxy and kept by the hash of what they are built from."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.cluster import host
from tests.support.cluster.paths import HERE, cache_root, digest_of, locked, replaced
from tests.support.cluster.progress import run, timed

KUBERNETES_VERSION = "v1.35.4"  # the same as in go/kubernetes/go.mod; a test compares the two
VERSION_VARIABLES = "k8s.io/component-base/version"
BUILD_SECONDS = 3600  # a cold build of all six Kubernetes programs takes 5 minutes on two cores


@dataclass(frozen=True, slots=True)
class Part:
    """Programs built together from one folder under ``go/``: their import paths and linker flags."""

    name: str
    packages: Sequence[str]
    linker: str = "-s -w"

    def key(self) -> str:
        """The hash of everything that decides what the build gives, save the compiler's patch level."""
        sources = sorted(path for path in (HERE / "go" / self.name).iterdir() if path.is_file())
        named = [item for path in sources for item in (path.name, path)]
        return digest_of([platform.machine(), self.linker, *self.packages, *named])

    @property
    def folder(self) -> Path:
        """Where the built programs lie, or will."""
        return cache_root() / "programs" / f"{self.name}-{self.key()}"


def _kubernetes_linker() -> str:
    major, minor, _ = KUBERNETES_VERSION.removeprefix("v").split(".")
    values = {"gitVersion": KUBERNETES_VERSION, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    return "-s -w " + " ".join(f"-X {VERSION_VARIABLES}.{name}={value}" for name, value in values.items())


KUBERNETES = Part(
    "kubernetes",
    [
        f"k8s.io/kubernetes/cmd/{program}"
        for program in (
            *("kube-apiserver", "kube-controller-manager", "kubectl"),
            *("kube-scheduler", "kubelet", "kube-proxy"),
        )
    ],
    _kubernetes_linker(),
)
ETCD = Part("etcd", ["go.etcd.io/etcd/server/v3"])
COREDNS = Part("coredns", ["."])
S3 = Part("s3", ["github.com/versity/versitygw/cmd/versitygw"])
PAUSE = Part("pause", ["."])

PARTS_OF_BED = {"A": (KUBERNETES, ETCD), "B": (KUBERNETES, ETCD, COREDNS, S3, PAUSE)}

# `go build` names a program after its module's last path element, which is not always its name.
FILE_NAMES = {"etcd": "etcd", "coredns": "coredns", "s3": "versitygw", "pause": "pause", "argocd": "argocd"}


def built(part: Part) -> Path:
    """The folder of the part's programs, built now if they are not there yet."""
    if part.folder.exists():
        return part.folder
    with locked(cache_root() / "programs" / f"{part.name}.lock"):
        # Another process may have built it while this one waited for the lock.
        if not part.folder.exists():
            with timed(f"building {part.name} ({len(part.packages)} programs, once)"):
                _build(part)
            _forget_older(part)
    return part.folder


def program(part: Part, name: str) -> Path:
    """The path of one built program."""
    return built(part) / name


def _build(part: Part) -> None:
    source = HERE / "go" / part.name
    go = host.go_program()
    with replaced(part.folder) as work:
        target = work / FILE_NAMES[part.name] if part.name in FILE_NAMES else f"{work}/"
        run(
            [
                *host.NICE,
                go,
                "build",
                "-mod=readonly",
                "-trimpath",
                "-ldflags",
                part.linker,
                "-o",
                target,
                *part.packages,
            ],
            cwd=source,
            # A module may ask for a newer compiler than the one here; it comes from the proxy like every module.
            env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOTOOLCHAIN": "auto"},
            seconds=BUILD_SECONDS,
        )


def _forget_older(part: Part) -> None:
    for folder in part.folder.parent.glob(f"{part.name}-*"):
        if folder.is_dir() and folder != part.folder and ".part-" not in folder.name:
            shutil.rmtree(folder, ignore_errors=True)
