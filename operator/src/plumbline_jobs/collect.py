"""Last step of a training run: hashes and stores what training left, and writes the model's manifest.

Order: files → manifest → (answer). A crash in between leaves blobs that nothing names, which the next attempt finds.
"""

import json
import math
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from plumbline_contract.base import digest_of
from plumbline_contract.manifest import FileEntry, ModelManifest, RunRecord
from plumbline_contract.report import Outcome, Report
from plumbline_contract.runspec import Collect
from plumbline_jobs import places
from plumbline_jobs.answer import Answer
from plumbline_jobs.errors import Refused
from plumbline_jobs.io.store import Store
from plumbline_jobs.launch import HARDWARE, PACKAGES
from plumbline_jobs.log import log
from plumbline_modelgate import ModelRefused, Signature, check_file

MODEL, METRICS = "model.onnx", "metrics.json"
MAX_FILES = 10_000  # more are a forgotten cache or checkout, not artifacts
MAX_BYTES = 100 << 30  # the size of the volume that training writes to
MAX_NOTE = 1 << 20  # bytes of a file that training code may have written where our own notes belong
MAX_NAME = 128  # characters of a metric's name; it becomes a key of a status, and YAML has none above 1024
LOCKS = ("uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "conda-lock.yml", "requirements.txt")


def run(spec: Collect) -> Answer:
    """Store everything. Report: digests manifest, model, lock; numbers: the metrics that the code claims."""
    out = places.outputs()
    metrics = _metrics(out / METRICS)
    signature = _signature(out / MODEL)
    paths = list(_artifacts(out))
    if not paths:
        raise Refused("UserCode", f"the training command ended well but left nothing in {out}; write model.onnx there")
    store = Store.connect(spec.storage)
    files = tuple(_stored(store, out, path) for path in paths)
    lock = _lock(spec)
    manifest = ModelManifest(
        files=files,
        model=next((f.digest for f in files if f.path == MODEL), None),
        inputs=signature.inputs if signature else (),
        outputs=signature.outputs if signature else (),
        metrics=metrics,
        run=_record(spec, lock),
    )
    digests = {"manifest": store.put_blob(manifest.canonical())}
    digests |= {name: value for name, value in (("model", manifest.model), ("lock", lock)) if value}
    log("run collected", files=len(files), manifest=digests["manifest"])
    return Answer(Report(outcome=Outcome.DONE, digests=digests, numbers=metrics))


def _artifacts(out: Path) -> Iterator[Path]:
    """Every regular file that training left, sorted. Links are refused: they could lead out of the folder."""
    count = size = 0
    for folder, names, files in os.walk(out):
        names[:] = sorted(name for name in names if Path(folder) != out or name != places.RECORDS)
        for name in (*names, *sorted(files)):
            path = Path(folder, name)
            status = path.lstat()
            if stat.S_ISDIR(status.st_mode):
                continue
            if not stat.S_ISREG(status.st_mode):
                raise _special(path)
            if not _is_text(name):
                raise Refused("UserCode", f"{path}: its name is not UTF-8; rename it")
            count, size = count + 1, size + status.st_size
            if count > MAX_FILES or size > MAX_BYTES:
                raise Refused("UserCode", f"{out} holds more than {MAX_FILES} files or {MAX_BYTES >> 30} GiB")
            yield path


def _stored(store: Store, out: Path, path: Path) -> FileEntry:
    name = path.relative_to(out).as_posix()
    return FileEntry(path=name, digest=store.put_blob(path), size=path.stat().st_size)


def _signature(path: Path) -> Signature | None:
    """The model's inputs and outputs; None when the run left no model. Raises Refused when it may not be served."""
    if not _lies(path):
        return None
    try:
        return check_file(path)
    except ModelRefused as error:
        raise Refused("ModelFileRefused", f"{MODEL}: {error}") from error


def _metrics(path: Path) -> dict[str, float]:
    """What metrics.json claims. Raises Refused for what is no finite number."""
    if not _lies(path):
        return {}
    try:
        found = json.loads(_note(path))["metrics"]
        numbers = {name: float(value) for name, value in found.items()}
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        example = '{"metrics": {"auc": 0.71}}'
        raise Refused("UserCode", f"{METRICS} cannot be read as {example}: {str(error)[:200]}") from error
    if not all(_is_text(name) for name in numbers):
        raise Refused("UserCode", f"{METRICS}: the name of a metric is not UTF-8; rename it")
    long = next((name for name in numbers if len(name) > MAX_NAME), "")
    if long:
        text = f"{METRICS}: metric {long[:40]!r}… has a name of {len(long)} characters; at most {MAX_NAME} are kept"
        raise Refused("UserCode", f"{text}. Shorten it")
    bad = [name for name, value in numbers.items() if not math.isfinite(value)]
    if bad:
        raise Refused(
            "UserCode", f"{METRICS}: metric {bad[0]!r} is not a finite number; find out why training diverged"
        )
    return numbers


def _record(spec: Collect, lock: str | None) -> RunRecord:
    """How the model came to be. Raises Refused, reason UserCode, when a note cannot be recorded."""
    notes = places.outputs() / places.RECORDS
    _, pinned, digest = spec.image.rpartition("@")
    try:
        return RunRecord(
            namespace=spec.owner.namespace,
            name=spec.owner.name,
            uid=spec.owner.uid,
            author=spec.author,
            attempt=spec.attempt,
            code=spec.code,
            image=spec.image,
            image_digest=digest if pinned else "",
            command=spec.command,
            parameters=spec.parameters,
            seeds=spec.seeds,
            snapshots=spec.snapshots,
            split=spec.split,
            lock_digest=lock,
            packages=_packages(notes / PACKAGES),
            hardware=_hardware(notes / HARDWARE),
        )
    except ValidationError as error:
        raise Refused("UserCode", f"the run cannot be recorded: {error.errors(include_url=False)[0]['msg']}") from error


def _packages(path: Path) -> dict[str, str]:
    """Name → version of the training image's Python packages; empty where there is no Python."""
    if not _lies(path):
        return {}
    try:
        found: Any = json.loads(_note(path))
    except (ValueError, RecursionError):
        log("package note unreadable")
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: version for name, version in found.items() if _is_text(name) and _is_text(version)}


def _hardware(path: Path) -> dict[str, str]:
    """What the launcher noted of the machine."""
    if not _lies(path):
        return {}
    pairs = (line.partition("\t") for line in _note(path).splitlines())
    return {name: value.strip() for name, _, value in pairs if value.strip()}


def _note(path: Path) -> str:
    """A small text file, which training code may have written where our own notes belong."""
    size = path.lstat().st_size
    if size > MAX_NOTE:
        raise Refused("UserCode", f"{path} has {size} bytes; at most {MAX_NOTE} are read")
    return path.read_text(errors="replace")


def _lies(path: Path) -> bool:
    """Whether a file lies there. Training code owns the folder, so a link, folder or pipe is Refused."""
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    if not stat.S_ISREG(mode):
        raise _special(path)
    return True


def _special(path: Path) -> Refused:
    return Refused("UserCode", f"{path} is a link, folder or special file; write an ordinary file there instead")


def _is_text(value: object) -> bool:
    """Whether it can be written into a document. File names and JSON escapes can hold halves of characters."""
    try:
        return isinstance(value, str) and bool(value.encode())
    except UnicodeEncodeError:
        return False


def _lock(spec: Collect) -> str | None:
    """Digest of the lock file beside the code, the most exact kind first; None when there is none."""
    if spec.code is None:
        return None
    for folder in (places.code() / spec.code.path, places.code()):
        for name in LOCKS:
            path = folder / name
            if path.is_file() and not path.is_symlink():
                return digest_of(path.read_bytes())
    return None
