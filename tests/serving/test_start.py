"""A server that must not serve ends at once, with one line that says why."""

import pickle
from pathlib import Path
from typing import Any

from plumbline_contract.layout import blob
from plumbline_contract.manifest import Tensor
from plumbline_contract.routes import SERVING_VARIABLE, ServingSettings
from tests.serving import models
from tests.serving.bucket import NAME, PREFIX, Bucket
from tests.serving.processes import answers, serving, start_serving


def refused(settings: ServingSettings, folder: Path, environment: dict[str, str] | None = None) -> str:
    """The line of a server that ended instead of serving."""
    served = start_serving(settings, folder, environment=environment)
    assert served.process.wait(60) == 1, served.process.text()
    assert not answers(served.port, "/v2/health/live")
    (line,) = [line for line in served.process.text().splitlines() if line.startswith("plumbline-serving cannot start")]
    return line


def test_a_changed_model_file_is_never_opened(bucket: Bucket, tmp_path: Path) -> None:
    good = models.logistic(bias=0.125)
    manifest = bucket.put_model(good)
    digest = bucket.put(good)
    bucket.s3.put_object(Bucket=NAME, Key=blob(PREFIX, digest), Body=models.logistic(bias=9.0))
    line = refused(bucket.settings(manifest), tmp_path)
    assert f"expected {digest}" in line
    assert "model file" in line


def test_a_changed_manifest_is_refused(bucket: Bucket, tmp_path: Path) -> None:
    manifest = bucket.put_model(models.logistic(bias=0.25))
    bucket.s3.put_object(Bucket=NAME, Key=blob(PREFIX, manifest), Body=b"{}")
    line = refused(bucket.settings(manifest), tmp_path)
    assert "model manifest" in line
    assert f"expected {manifest}" in line


def test_a_missing_manifest_says_where_it_was_looked_for(bucket: Bucket, tmp_path: Path) -> None:
    line = refused(bucket.settings("sha256:" + "0" * 64), tmp_path)
    assert f"s3://{NAME}/{PREFIX}/blobs/sha256/00/" in line


def test_a_manifest_that_is_none_is_refused(bucket: Bucket, tmp_path: Path) -> None:
    line = refused(bucket.settings(bucket.put(b'{"kind": "Snapshot"}')), tmp_path)
    assert "is not a model manifest" in line


def test_a_pickle_is_refused_by_the_gate_and_never_loaded(bucket: Bucket, tmp_path: Path) -> None:
    marker = tmp_path / "loaded"

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (marker,))

    trap = bucket.put(pickle.dumps(Trap()))
    manifest = bucket.put_model(models.logistic(bias=0.375), model=trap)
    line = refused(bucket.settings(manifest), tmp_path)
    assert "model file gate" in line
    assert "pickle" in line
    assert not marker.exists()


def test_a_manifest_whose_signature_is_not_the_models_is_refused(bucket: Bucket, tmp_path: Path) -> None:
    other = (Tensor(name="Z", datatype="FP32", shape=(-1, 3)),)
    line = refused(bucket.settings(bucket.put_model(models.logistic(), inputs=other)), tmp_path)
    assert "the manifest's inputs [('Z', 'FP32')] are not the model file's [('X', 'FP32')]" in line


def test_a_run_without_a_model_cannot_be_served(bucket: Bucket, tmp_path: Path) -> None:
    line = refused(bucket.settings(bucket.put_model(models.logistic(), model=None)), tmp_path)
    assert "has no model file" in line


def test_a_redaction_that_cannot_be_kept_is_refused(bucket: Bucket, tmp_path: Path) -> None:
    line = refused(bucket.settings(bucket.put_model(models.logistic()), redact={"X": "Mask"}), tmp_path)
    assert "redact.X is 'Mask'; expected 'Drop' or 'Hash'" in line


def test_a_rule_for_a_column_that_is_no_input_keeps_no_model_from_serving(bucket: Bucket, tmp_path: Path) -> None:
    settings = bucket.settings(bucket.put_model(models.logistic()), redact={"passport": "Hash", "X": "Drop"})
    with serving(settings, tmp_path) as served:
        assert answers(served.port, "/v2/health/ready")
        assert "redacted inputs: 1; rules that name no input: 1" in served.process.text()
        assert "passport" not in served.process.text()


def test_wrong_settings_are_named(bucket: Bucket, tmp_path: Path) -> None:
    good = bucket.settings("sha256:" + "0" * 64)
    line = refused(good, tmp_path, {SERVING_VARIABLE: '{"namespace": "demo"}'})
    assert SERVING_VARIABLE in line
