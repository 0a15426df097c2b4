"""OCI images written by hand: deterministic layers, and archives that hold them.

The same inputs give the same bytes: entries in order of their names, one owner, one time, no compression
(whose output depends on the library's version, and which a load into the same machine does not need).
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EPOCH = 1767225600  # 2026-01-01T00:00:00Z; the time of every file in an image
CREATED = "2026-01-01T00:00:00Z"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"


@dataclass(frozen=True, slots=True)
class Layer:
    """An uncompressed tar file and its digest, which is both the blob's and the content's."""

    path: Path
    digest: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, link or folder of a layer. name: path in the image without leading slash."""

    name: str
    source: Path


def file_digest(path: Path) -> str:
    """``sha256:`` and the digest of a file's content."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def bytes_digest(content: bytes) -> str:
    """``sha256:`` and the digest of some bytes."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def tree(source: Path, prefix: str, *, compiled: bool = False) -> list[Entry]:
    """A folder's (or a file's) entries, to lie under ``prefix`` in the image.

    compiled: whether folders of Python's bytecode are wanted too.
    """
    if not source.is_dir():
        return [Entry(prefix, source)]
    inside = (path for path in source.rglob("*") if compiled or "__pycache__" not in path.parts)
    return [Entry(prefix, source), *(Entry(f"{prefix}/{path.relative_to(source)}", path) for path in inside)]


def write_layer(target: Path, entries: Iterable[Entry]) -> Layer:
    """Writes the entries, and the folders above them, as a layer; of two with one name the later stays."""
    chosen: dict[str, Path | None] = {}
    for entry in entries:
        name = entry.name.strip("/")
        for parent in list(Path(name).parents)[:-1]:
            chosen.setdefault(str(parent), None)
        chosen[name] = entry.source
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
        for name in sorted(chosen):
            _add(tar, name, chosen[name])
    return Layer(target, file_digest(target))


def _add(tar: tarfile.TarFile, name: str, source: Path | None) -> None:
    info = tarfile.TarInfo(name)
    info.mtime = EPOCH
    if source is None or (source.is_dir() and not source.is_symlink()):
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(info)
    elif source.is_symlink():
        info.type, info.linkname = tarfile.SYMTYPE, str(source.readlink())
        tar.addfile(info)
    else:
        status = source.stat()
        # Who may write is the building machine's affair; who may run the file is the file's.
        info.mode = 0o755 if status.st_mode & 0o100 else 0o644
        info.size = status.st_size
        with source.open("rb") as content:
            tar.addfile(info, content)


def write_archive(target: Path, name: str, layers: Sequence[Layer], settings: dict[str, Any]) -> str:
    """Writes an OCI archive of one image and returns its manifest's digest.

    name: the full name with host and tag. settings: the ``config`` part (User, Env, Entrypoint, …).
    """
    config = _json(
        {
            "architecture": ARCHITECTURES[platform.machine()],
            "os": "linux",
            "created": CREATED,
            "config": settings,
            "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": {"mediaType": CONFIG_TYPE, "digest": bytes_digest(config), "size": len(config)},
            "layers": [
                {"mediaType": LAYER_TYPE, "digest": layer.digest, "size": layer.path.stat().st_size} for layer in layers
            ],
        }
    )
    digest = bytes_digest(manifest)
    described = {"mediaType": MANIFEST_TYPE, "digest": digest, "size": len(manifest)}
    annotations = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name.rpartition(":")[2]}
    index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [{**described, "annotations": annotations}]}
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
        _add_bytes(tar, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        _add_bytes(tar, "index.json", _json(index))
        for blob in (config, manifest):
            _add_bytes(tar, _blob_name(bytes_digest(blob)), blob)
        for layer in {layer.digest: layer for layer in layers}.values():
            _add(tar, _blob_name(layer.digest), layer.path)
    return digest


def archive_facts(archive: Path) -> tuple[str, str]:
    """The full name and the manifest digest of an OCI archive's image."""
    with tarfile.open(archive) as tar:
        member = tar.extractfile("index.json")
        assert member is not None, "a regular file has content"
        first = json.load(member)["manifests"][0]
    return first["annotations"]["io.containerd.image.name"], first["digest"]


def _blob_name(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _add_bytes(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.mtime, info.size, info.mode = EPOCH, len(content), 0o644
    tar.addfile(info, io.BytesIO(content))
