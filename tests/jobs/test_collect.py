"""What is kept of a training run, and what a run may not leave."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from plumbline_contract import layout
from plumbline_contract.base import digest_of
from plumbline_contract.manifest import CodeRef, SnapshotRef, Tensor
from plumbline_contract.report import Outcome
from plumbline_contract.runspec import Collect, Owner
from plumbline_jobs import collect
from plumbline_jobs.answer import Answer, keep
from plumbline_jobs.errors import Refused
from plumbline_jobs.io.store import Store
from tests.jobs.lake import PREFIX, Lake, manifest_of, unresolved
from tests.modelgate.models import linear

OWNER = Owner(namespace="team", kind="TrainingRun", name="run", uid="uid-3", job="run-train-1")
IMAGE = "registry.example.com/train@sha256:" + "1" * 64
ONNX = linear().SerializeToString()


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that training writes to."""
    monkeypatch.setenv("PLUMBLINE_ROOT", str(tmp_path))
    (tmp_path / "code").mkdir()
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def order(lake: Lake, **changes: Any) -> Collect:
    """The order to collect."""
    given: dict[str, Any] = {"author": "alice", "attempt": 2, "image": IMAGE, "command": ("train", "--fast")} | changes
    return Collect(owner=OWNER, storage=lake.storage, **given)


def collected(lake: Lake, **changes: Any) -> Answer:
    """The answer of a collect."""
    return collect.run(order(lake, **changes))


def refusal(lake: Lake, reason: str = "UserCode") -> str:
    """What a collect is refused with; no manifest may have reached the bucket."""
    with pytest.raises(Refused) as caught:
        collected(lake)
    assert caught.value.reason == reason
    assert not any(data[:1] == b"{" for data in lake.objects().values())
    return caught.value.message


def model(out: Path) -> None:
    """A run that leaves a good model and metrics."""
    (out / "model.onnx").write_bytes(ONNX)
    (out / "metrics.json").write_text('{"metrics": {"auc": 0.75}}')


def test_a_run_is_kept_with_its_model_signature_metrics_and_origin(lake: Lake, out: Path) -> None:
    model(out)
    snapshot = SnapshotRef(input="d", dataset="d", snapshot="d-1", digest="sha256:" + "2" * 64)
    given: dict[str, Any] = {
        "code": CodeRef(url="git://x/y", commit="c" * 40),
        "parameters": {"rate": "0.1"},
        "seeds": {"numpy": 7},
        "snapshots": (snapshot,),
        "split": {"strategy": "Time"},
    }
    answer = collected(lake, **given)
    manifest = lake.model(manifest_of(answer))
    assert (answer.report.outcome, answer.report.numbers) == (Outcome.DONE, {"auc": 0.75})
    assert answer.report.digests["model"] == manifest.model == digest_of(ONNX)
    assert lake.blob(manifest.model) == ONNX
    assert manifest.inputs == (Tensor(name="x", datatype="FP32", shape=(-1, 1)),)
    assert manifest.outputs == (Tensor(name="y", datatype="FP32", shape=(-1, 1)),)
    assert manifest.metrics == {"auc": 0.75}
    run = manifest.run
    assert (run.namespace, run.name, run.uid, run.author, run.attempt) == ("team", "run", "uid-3", "alice", 2)
    assert (run.image, run.image_digest, run.command) == (IMAGE, "sha256:" + "1" * 64, ("train", "--fast"))
    assert (run.code, run.parameters, run.seeds) == (given["code"], given["parameters"], given["seeds"])
    assert (run.snapshots, run.split) == (given["snapshots"], given["split"])


def test_every_file_is_kept_by_its_path_and_digest_but_our_own_notes_are_not(lake: Lake, out: Path) -> None:
    for name, data in {
        "b.txt": "b",
        "plots/z/roc.svg": "<svg/>",
        "a.txt": "",
        ".plumbline/packages.json": "{}",
    }.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(data)
    (out / "plots" / ".plumbline").mkdir()
    (out / "plots" / ".plumbline" / "mine").write_text("not at the top, so the user's")
    manifest = lake.model(manifest_of(collected(lake)))
    assert sorted(file.path for file in manifest.files) == [
        "a.txt",
        "b.txt",
        "plots/.plumbline/mine",
        "plots/z/roc.svg",
    ]
    for file in manifest.files:
        assert (digest_of(lake.blob(file.digest)), len(lake.blob(file.digest))) == (file.digest, file.size)
    assert (manifest.model, manifest.inputs) == (None, ())


def test_the_same_files_give_the_same_manifest_whatever_order_they_were_written_in(lake: Lake, out: Path) -> None:
    for name in ("b", "a", "c"):
        (out / name).write_text(name)
    first = collected(lake)
    for name in ("c", "a", "b"):
        (out / name).unlink()
        (out / name).write_text(name)
    assert collected(lake) == first


def test_a_run_that_leaves_nothing_is_told_where_to_write(lake: Lake, out: Path) -> None:
    (out / "empty").mkdir()
    (out / ".plumbline").mkdir()
    (out / ".plumbline" / "hardware.tsv").write_text("cpus\t2\n")
    assert "left nothing" in refusal(lake)
    assert "model.onnx" in refusal(lake)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999", '"nan"'])
def test_a_metric_that_is_no_finite_number_is_refused_by_name(lake: Lake, out: Path, value: str) -> None:
    model(out)
    (out / "metrics.json").write_text(f'{{"metrics": {{"auc": 0.5, "loss": {value}}}}}')
    assert "metric 'loss' is not a finite number" in refusal(lake)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"auc": 0.5}',
        '{"metrics": [0.5]}',
        '{"metrics": {"auc": "high"}}',
        '{"metrics": {"auc": null}}',
        '{"metrics": {"auc": [1]}}',
        '{"metrics": {"auc": 1' + "0" * 400 + "}}",
        '{"metrics": {"auc": 1' + "0" * 5000 + "}}",
        '{"metrics": {"\\ud800": 1}}',
        '{"metrics": {"": 1}}',
        '{"metrics": {"' + "m" * 129 + '": 1}}',
        "[" * 200_000,
        " " * ((1 << 20) + 1),
    ],
    ids=range(16),
)
def test_metrics_that_cannot_be_read_are_refused(lake: Lake, out: Path, text: str) -> None:
    model(out)
    (out / "metrics.json").write_text(text)
    message = refusal(lake)
    assert "metrics.json" in message
    assert len(message) < 600


def test_links_and_special_files_are_refused_wherever_they_lie(lake: Lake, out: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    for name in ("data.txt", "model.onnx", "metrics.json", "sub/data.txt"):
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).symlink_to(tmp_path / "secret")
        assert str(out / name) in refusal(lake)
        (out / name).unlink()
    (out / "folder").symlink_to(tmp_path)
    assert "is a link, folder or special file" in refusal(lake)
    (out / "folder").unlink()
    for name in ("pipe", "model.onnx", "metrics.json"):
        os.mkfifo(out / name)
        assert str(out / name) in refusal(lake)
        (out / name).unlink()
    (out / "dangling").symlink_to(tmp_path / "nowhere")
    assert "is a link, folder or special file" in refusal(lake)


@pytest.mark.parametrize("name", ["model.onnx", "metrics.json"])
def test_a_folder_where_a_file_belongs_is_refused(lake: Lake, out: Path, name: str) -> None:
    (out / name).mkdir()
    (out / name / "x").write_text("x")
    assert str(out / name) in refusal(lake)


def test_a_file_name_that_is_no_text_is_refused(lake: Lake, out: Path) -> None:
    Path(os.fsdecode(os.fsencode(out) + b"/\xff.txt")).write_text("x")
    assert "name is not UTF-8" in refusal(lake)


def test_more_files_than_a_run_may_leave_are_refused(lake: Lake, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect, "MAX_FILES", 3)
    for number in range(4):
        (out / str(number)).write_text("x")
    assert "more than 3 files" in refusal(lake)


def test_a_pickle_called_a_model_is_refused_and_never_stored(lake: Lake, out: Path) -> None:
    (out / "model.onnx").write_bytes(pickle.dumps({"coefficients": [1, 2]}))
    message = refusal(lake, "ModelFileRefused")
    assert "model.onnx: the model file is a Python pickle" in message
    assert "export the model to ONNX" in message
    assert lake.objects() == {}


def test_what_the_launcher_noted_is_kept(lake: Lake, out: Path) -> None:
    model(out)
    notes = out / ".plumbline"
    notes.mkdir()
    (notes / "packages.json").write_text('{"python": "3.12.1", "numpy": "2.4.0"}')
    (notes / "hardware.tsv").write_text("machine\tx86_64\ncpu\tA  B\ngpu\t\nodd\n")
    run = lake.model(manifest_of(collected(lake))).run
    assert run.packages == {"python": "3.12.1", "numpy": "2.4.0"}
    assert run.hardware == {"machine": "x86_64", "cpu": "A  B"}


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 200_000, "\x00", '{"a": {"b": 1}}', '{"\\ud800": "\\ud800"}'])
def test_notes_that_training_spoilt_cost_nothing_but_themselves(lake: Lake, out: Path, text: str) -> None:
    model(out)
    (out / ".plumbline").mkdir()
    (out / ".plumbline" / "packages.json").write_text(text)
    (out / ".plumbline" / "hardware.tsv").write_bytes(b"\xff\t\xfe\n" + text.encode())
    assert lake.model(manifest_of(collected(lake))).model == digest_of(ONNX)


def test_the_most_exact_lock_beside_the_code_is_recorded(lake: Lake, out: Path, tmp_path: Path) -> None:
    model(out)
    code = CodeRef(url="git://x/y", commit="c" * 40, path="train")
    (tmp_path / "code" / "train").mkdir()
    assert collected(lake, code=code).report.digests.keys() == {"manifest", "model"}
    (tmp_path / "code" / "poetry.lock").write_text("outer")
    assert collected(lake, code=code).report.digests["lock"] == digest_of(b"outer")
    (tmp_path / "code" / "train" / "requirements.txt").write_text("r")
    (tmp_path / "code" / "train" / "uv.lock").write_text("uv")
    answer = collected(lake, code=code)
    assert answer.report.digests["lock"] == digest_of(b"uv")
    assert lake.model(manifest_of(answer)).run.lock_digest == digest_of(b"uv")


def test_an_image_without_digest_has_none_recorded(lake: Lake, out: Path) -> None:
    model(out)
    assert lake.model(manifest_of(collected(lake, image="train:1"))).run.image_digest == ""


class Crash(BaseException):
    """The node's end: nothing in a Job may catch it."""


def test_a_crash_at_any_write_leaves_nothing_that_names_something_missing(
    lake: Lake, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model(out)
    (out / "plot.svg").write_text("<svg/>")
    really = Store._put
    written: list[str] = []
    limit = 0

    def put(self: Store, key: str, *given: Any, **named: Any) -> bool:
        if len(written) == limit:
            raise Crash
        written.append(key)
        return really(self, key, *given, **named)

    monkeypatch.setattr(Store, "_put", put)
    while limit < 20:
        written.clear()
        lake.clear()
        try:
            answer = collected(lake, image="train:1")
            keep(lake.store, OWNER, "collect", answer)
        except Crash:
            assert unresolved(lake.objects()) == []
            limit += 1
            continue
        break
    assert limit == 6  # three files, manifest, result, index
    assert written[3] == layout.blob(PREFIX, manifest_of(answer))
    assert written[5] == layout.report(PREFIX, "team", "TrainingRun", "run", OWNER.job)
    assert unresolved(lake.objects()) == []


def test_finite_metrics_of_any_size_and_name_are_kept_as_they_are(lake: Lake, out: Path) -> None:
    sizes = [0.0, 5e-324, 1 / 3, -1.5, 2.0**53 + 2, 1.7976931348623157e308]
    metrics = {
        f"{name}{place}": size for place, size in enumerate(sizes) for name in ("auc", "größe", "a b", '"', "\n")
    }
    (out / "metrics.json").write_text(json.dumps({"metrics": metrics}))
    answer = collected(lake)
    assert answer.report.numbers == lake.model(manifest_of(answer)).metrics == metrics
