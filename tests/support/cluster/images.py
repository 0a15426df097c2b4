"""Container images without a registry: Debian base, locked Python packages, and source, each its own layer.

The layers are kept by the hash of what they are made of, so an unchanged image costs a few hashes, and a
change of source costs one small layer. Docker users build the same images with the Dockerfiles.
"""

from __future__ import annotations

import shutil
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.cluster import layers, oci
from tests.support.cluster.containers import full_name, short_name
from tests.support.cluster.paths import REPOSITORY, ClusterError, cache_root, digest_of, locked
from tests.support.cluster.progress import run, timed

USER = "65532:65532"  # the customary number of "nonroot" in minimal images
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "PYTHONUNBUFFERED": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
}
# Wheels bring their libraries, save the C++ one, which they expect of every Linux.
BASE_PACKAGES = ("ca-certificates", "libstdc++6", "python3")
SOURCE_FOLDERS = (REPOSITORY / "operator" / "src", REPOSITORY / "serving-image" / "src")


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """One image. files: pairs of a path here and a path in the image; packages: import packages to put in."""

    name: str
    entrypoint: tuple[str, ...]
    base_packages: tuple[str, ...] = BASE_PACKAGES
    requirements: str = ""
    packages: tuple[Path, ...] = ()
    files: tuple[tuple[Path, str], ...] = ()
    user: str = USER
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OwnImage:
    """One of the product's own images: its extra of the lock, its import packages, its further Debian packages."""

    extra: str
    packages: tuple[str, ...]
    debian: tuple[str, ...] = ()


OWN_IMAGES = {
    "operator": OwnImage("operator", ("plumbline_contract", "plumbline_operator")),
    "jobs": OwnImage("jobs", ("plumbline_contract", "plumbline_modelgate", "plumbline_jobs"), ("git",)),
    "serving": OwnImage("serving", ("plumbline_contract", "plumbline_modelgate", "plumbline_serving")),
    "router": OwnImage("router", ("plumbline_contract", "plumbline_router")),
}


def own_spec(short: str) -> ImageSpec:
    """The specification of ``plumbline/<short>:dev``; raises ClusterError for a name that is none of ours."""
    if short not in OWN_IMAGES:
        raise ClusterError(f"no image {short!r}: there are {', '.join(OWN_IMAGES)}, and folders with an image.toml")
    own = OWN_IMAGES[short]
    return ImageSpec(
        name=f"plumbline/{short}:dev",
        entrypoint=("python3", "-m", own.packages[-1]),
        base_packages=(*BASE_PACKAGES, *own.debian),
        requirements=_locked_requirements(own.extra),
        packages=tuple(_source_of(package) for package in own.packages),
        environment={"ORT_DISABLE_TELEMETRY": "1"},  # ONNX Runtime would else write and send usage data
    )


def folder_spec(folder: Path) -> ImageSpec:
    """The specification that a folder's ``image.toml`` gives.

    Fields: name (with tag), entrypoint; and if wanted base_packages (Debian), requirements (a locked file),
    files (from/to pairs, ``from`` relative to the folder), user, environment.
    """
    path = folder / "image.toml"
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text())
    except FileNotFoundError as error:
        raise ClusterError(f"{folder} has no image.toml") from error
    known = {"name", "entrypoint", "base_packages", "requirements", "files", "user", "environment"}
    if unknown := sorted(set(values) - known):
        raise ClusterError(f"{path}: unknown field {unknown[0]}; known are {', '.join(sorted(known))}")
    if missing := sorted({"name", "entrypoint"} - set(values)):
        raise ClusterError(f"{path}: {missing[0]} is missing")
    requirements = (folder / values["requirements"]).read_text() if "requirements" in values else ""
    return ImageSpec(
        name=values["name"],
        entrypoint=tuple(values["entrypoint"]),
        base_packages=tuple(values.get("base_packages", BASE_PACKAGES)),
        requirements=requirements,
        files=tuple((folder / pair["from"], pair["to"]) for pair in values.get("files", [])),
        user=values.get("user", USER),
        environment=values.get("environment", {}),
    )


def build_image(spec: ImageSpec) -> Path:
    """The OCI archive of the image, built now if what it is made of changed. Needs root, mmdebstrap and uv."""
    parts = [layers.base_layer(spec.base_packages)]
    if spec.requirements:
        parts.append(layers.python_layer(spec.name, spec.requirements))
    if spec.packages or spec.files:
        parts.append(layers.source_layer(spec.name, spec.packages, spec.files))
    settings = {
        "User": spec.user,
        "Env": [f"{name}={value}" for name, value in sorted({**ENVIRONMENT, **spec.environment}.items())],
        "Entrypoint": list(spec.entrypoint),
        "WorkingDir": "/",
    }
    return _archive(spec.name, parts, settings)


def _archive(name: str, parts: Sequence[oci.Layer], settings: dict[str, Any]) -> Path:
    slot = layers.slot_name(name)
    key = digest_of([full_name(name), repr(sorted(settings.items())), *(part.digest for part in parts)])
    archive = cache_root() / "images" / f"{slot}-{key}.tar"
    if archive.exists():
        return archive
    archive.parent.mkdir(parents=True, exist_ok=True)
    with locked(archive.parent / f"{slot}.lock"), timed(f"writing the archive of {name}"):
        oci.write_archive(archive.with_suffix(".part"), full_name(name), parts, settings)
        archive.with_suffix(".part").rename(archive)
        layers.forget_others(archive, slot)
    return archive


def image_digest(archive: Path) -> str:
    """The manifest digest of an archive's image, ``sha256:…``: what a pod's status will call it."""
    return oci.archive_facts(archive)[1]


def image_reference(archive: Path) -> str:
    """The image by digest, ``name@sha256:…``, as a pod may ask for it once it is loaded."""
    name, digest = oci.archive_facts(archive)
    return short_name(f"{name.rpartition(':')[0]}@{digest}")


def _source_of(package: str) -> Path:
    for folder in SOURCE_FOLDERS:
        if (folder / package).is_dir():
            return folder / package
    raise ClusterError(f"the package {package} is in none of {', '.join(str(folder) for folder in SOURCE_FOLDERS)}")


def _locked_requirements(extra: str) -> str:
    """The extra's packages with versions and hashes, from the lock file as it is."""
    if shutil.which("uv") is None:
        raise ClusterError("uv is not on the PATH; it reads the lock file and installs from it")
    with tempfile.TemporaryDirectory() as folder:
        options = ["--frozen", "--no-dev", "--no-emit-project", "--no-header", "--no-annotate", "--quiet"]
        target = Path(folder) / "requirements.txt"
        run(["uv", "export", *options, "--extra", extra, "--output-file", target], cwd=REPOSITORY)
        return target.read_text()
