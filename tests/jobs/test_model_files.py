"""No file that the gate refuses gets past a Job, neither into the bucket's manifests nor into ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import pytest

from plumbline_contract.base import digest_of
from plumbline_contract.manifest import FileEntry, ModelManifest, RunRecord
from plumbline_contract.runspec import Collect, Owner
from plumbline_jobs import collect, scoring
from plumbline_jobs.errors import Refused
from tests.jobs.lake import Lake
from tests.modelgate.models import linear
from tests.modelgate.poison import corpus
from tests.modelgate.watched import watch_runtime
from tests.proof.ledger import record

OWNER = Owner(namespace="team", kind="TrainingRun", name="run", uid="uid-3", job="run-train-1")
POISON = [pytest.param(data, id=name) for name, _, data in corpus()]
GOOD = linear().SerializeToString()
RUN = RunRecord(
    namespace="team", name="run", uid="u", author="a", attempt=1, image="i", image_digest="", command=("train",)
)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Every file that ONNX Runtime was asked to open."""
    return watch_runtime(monkeypatch)


@pytest.mark.parametrize("data", POISON)
def test_a_run_that_leaves_a_poisoned_model_is_refused_before_anything_is_stored(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: list[bytes], data: bytes
) -> None:
    monkeypatch.setenv("PLUMBLINE_ROOT", str(tmp_path))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "model.onnx").write_bytes(data)
    (tmp_path / "out" / "metrics.json").write_text('{"metrics": {"auc": 0.9}}')
    with pytest.raises(Refused) as caught:
        collect.run(Collect(owner=OWNER, storage=lake.storage, author="a", attempt=1, image="i", command=("train",)))
    assert caught.value.reason == "ModelFileRefused"
    assert caught.value.message.startswith("model.onnx: ")
    assert len(caught.value.message) < 1000
    assert lake.objects() == {}
    assert opened == []


def stored(lake: Lake, data: bytes) -> str:
    """A model in the bucket, past every gate: what an attacker with the storage's keys could leave there."""
    digest = lake.store.put_blob(data)
    files = (FileEntry(path="model.onnx", digest=digest, size=len(data)),)
    return lake.store.put_blob(ModelManifest(files=files, model=digest, run=RUN).canonical())


def test_a_poisoned_model_in_the_bucket_is_refused_before_it_is_opened(lake: Lake, opened: list[bytes]) -> None:
    for _, _, data in corpus():
        with pytest.raises(Refused) as caught:
            scoring.load(lake.store, stored(lake, data), "y")
        assert caught.value.reason == "ModelFileRefused"
        assert digest_of(data) in caught.value.message
    figure = f"{len(corpus())} in the bucket: {len(opened)} opened by the runtime"
    record("poisoned-models", runs=len(corpus()), bad=len(opened), figure=figure)
    assert opened == []


def test_a_good_model_is_opened(lake: Lake, opened: list[bytes]) -> None:
    assert scoring.load(lake.store, stored(lake, GOOD), "y").columns == ("x",)
    assert opened == [GOOD]
