"""The layers that images are stacked from, each kept by the hash of its inputs."""

from __future__ import annotations

import os
import platform
import re
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.support.cluster import host, oci
from tests.support.cluster.paths import ClusterError, cache_root, digest_of, locked
from tests.support.cluster.progress import run, timed

SUITE = "bookworm"  # Debian 12
PYTHON = "3.11"  # the suite's python3
GLIBC = "2_36"  # the suite's C library, which decides what wheels fit
PACKAGE_FOLDER = f"usr/local/lib/python{PYTHON}/dist-packages"  # on the path of Debian's python3 by itself
RECIPE = "1"  # part of every key: raise it when a layer is made in another way from the same inputs

UNWANTED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
# Logs and caches hold the time of the build.
HOOKS = (
    'rm -rf "$1"/var/log/* "$1"/var/cache/* "$1"/etc/machine-id "$1"/etc/resolv.conf "$1"/etc/hostname',
    'echo "plumbline:x:65532:65532:Plumbline:/tmp:/usr/sbin/nologin" >> "$1"/etc/passwd',
    'echo "plumbline:x:65532:" >> "$1"/etc/group',
)


def base_layer(packages: Sequence[str]) -> oci.Layer:
    """A small Debian with these packages and a user 65532; takes half a minute when it is not there yet."""
    slot = slot_name(f"base-{'-'.join(sorted(packages))}")
    return _kept(slot, [SUITE, *UNWANTED, *HOOKS, *sorted(packages)], lambda target: _debian(target, packages))


def python_layer(owner: str, requirements: str) -> oci.Layer:
    """Python packages by a locked requirements file, wheels only, with compiled bytecode."""
    slot = slot_name(f"python-{owner}")
    return _kept(slot, [SUITE, PYTHON, GLIBC, requirements], lambda target: _python_packages(target, requirements))


def source_layer(owner: str, packages: Sequence[Path], files: Sequence[tuple[Path, str]]) -> oci.Layer:
    """Our own import packages, with compiled bytecode, and single files or folders as they are."""
    entries = [entry for source, target in files for entry in oci.tree(source, target.strip("/"))]
    parts: list[str | Path] = []
    for entry in sorted([*entries, *(e for p in packages for e in oci.tree(p, p.name))], key=lambda e: e.name):
        parts += [entry.name, entry.source] if entry.source.is_file() else [entry.name]
        parts.append(str(os.access(entry.source, os.X_OK)))
    return _kept(slot_name(f"source-{owner}"), parts, lambda target: _sources(target, packages, entries))


def slot_name(text: str) -> str:
    """A file name's part that says whose layer or archive it is."""
    return re.sub(r"[^a-z0-9.-]+", "_", text.lower())


def forget_others(kept: Path, slot: str) -> None:
    """Removes what earlier inputs of the same slot gave, which else fills the disk."""
    for path in kept.parent.glob(f"{slot}-*"):
        if re.fullmatch(re.escape(slot) + r"-[0-9a-f]{16}\.(tar|digest)", path.name) and path.stem != kept.stem:
            path.unlink()


def _kept(slot: str, inputs: Sequence[str | Path], make: Callable[[Path], oci.Layer]) -> oci.Layer:
    folder = cache_root() / "layers"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{slot}-{digest_of([RECIPE, platform.machine(), *inputs])}.tar"
    known = path.with_suffix(".digest")
    with locked(folder / f"{slot}.lock"):
        if not known.exists():
            with timed(f"building the layer {slot}"):
                made = make(path.with_suffix(".part"))
            made.path.rename(path)
            # Written last: where it is, the layer is whole.
            known.write_text(made.digest)
            forget_others(path, slot)
    return oci.Layer(path, known.read_text())


def _debian(target: Path, packages: Sequence[str]) -> oci.Layer:
    host.require_root()
    host.install_packages(host.IMAGE_PACKAGE_FILES)
    exclude = [f"--dpkgopt=path-exclude={pattern}" for pattern in UNWANTED]
    hooks = [f"--customize-hook={hook}" for hook in HOOKS]
    # "essential" is Debian without apt: nothing is installed later.
    options = ["--mode=root", "--variant=essential", "--format=tar", "--skip=output/dev", "--quiet"]
    run(
        [
            *host.NICE,
            "mmdebstrap",
            *options,
            *exclude,
            *hooks,
            f"--include={','.join(sorted(packages))}",
            SUITE,
            target,
        ],
        env={**os.environ, "SOURCE_DATE_EPOCH": str(oci.EPOCH)},
        seconds=1800,
    )
    if "python3" in packages:
        with tarfile.open(target) as tar:
            if f"./usr/bin/python{PYTHON}" not in tar.getnames():
                raise ClusterError(f"{SUITE} has no python{PYTHON}; set PYTHON in {Path(__file__).name} to what it has")
    return oci.Layer(target, oci.file_digest(target))


def _python_packages(target: Path, requirements: str) -> oci.Layer:
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        staged = Path(folder) / "packages"
        listed = Path(folder) / "requirements.txt"
        listed.write_text(requirements)
        hashes = ["--require-hashes"] if "--hash=" in requirements else []
        run(
            [
                *(*host.NICE, "uv", "pip", "install", "--quiet", "--no-deps", "--no-build", *hashes),
                *("--python", _interpreter(), "--python-version", PYTHON),
                *("--python-platform", f"{platform.machine()}-manylinux_{GLIBC}"),
                *("--target", staged, "--requirement", listed),
            ],
            seconds=1800,
        )
        # Its scripts name the building machine's interpreter; `python3 -m` starts the same programs.
        shutil.rmtree(staged / "bin", ignore_errors=True)
        (staged / ".lock").unlink(missing_ok=True)
        _compile(staged)
        return oci.write_layer(target, oci.tree(staged, PACKAGE_FOLDER, compiled=True))


def _sources(target: Path, packages: Sequence[Path], entries: Sequence[oci.Entry]) -> oci.Layer:
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        staged = Path(folder) / "packages"
        staged.mkdir()
        for package in packages:
            shutil.copytree(package, staged / package.name, ignore=shutil.ignore_patterns("__pycache__"))
        _compile(staged)
        return oci.write_layer(target, [*oci.tree(staged, PACKAGE_FOLDER, compiled=True), *entries])


def _compile(folder: Path) -> None:
    """Compiles to bytecode that Python takes without a look at the source's time, which is the same for all."""
    options: list[str | Path] = [
        "--invalidation-mode",
        "unchecked-hash",
        "-q",
        "-q",
        "-s",
        folder,
        "-p",
        f"/{PACKAGE_FOLDER}",
    ]
    # Some packages bring files that do not compile, for other Pythons or for their own tests; compileall
    # skips those and ends with 1.
    run([*host.NICE, _interpreter(), "-m", "compileall", *options, folder], seconds=1800, accepted=(0, 1))


def _interpreter() -> str:
    """A Python here of the images' minor version: its bytecode is theirs."""
    return run(["uv", "python", "find", PYTHON]).strip()
