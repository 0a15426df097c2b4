"""What a Job is told fits, and says the same as the whole document."""

import subprocess
from datetime import UTC, datetime

import pytest
from pydantic import TypeAdapter

from plumbline_contract import runspec
from plumbline_contract.manifest import CodeRef, SnapshotRef
from plumbline_operator.build.job import VARIABLE_LIMIT, text_of, variable
from plumbline_operator.model.plan import Impossible

OWNER = runspec.Owner(namespace="team", kind="Dataset", name="flights", uid="u", job="j")
STORAGE = runspec.Bucket(bucket="team", env="SOURCE")
DIGEST = "sha256:" + "a" * 64
SNAPSHOT = SnapshotRef(input="flights", dataset="flights", snapshot="flights-1", digest=DIGEST)
DOCUMENTS: list[runspec.RunSpec] = [
    runspec.VerifyConnection(owner=OWNER, git_url="https://git.example.com/x"),
    runspec.Ingest(
        owner=OWNER,
        storage=STORAGE,
        source=STORAGE,
        key="k",
        format="CSV",
        null_values=(),
        columns=(runspec.ColumnRule(name="a", type="Int64", nullable=True, minimum=0),),
        tests=(runspec.RowCount(name="n", minimum=0), runspec.NullShare(name="s", column="a", maximum=0)),
    ),
    runspec.Fetch(
        owner=OWNER,
        storage=STORAGE,
        code=CodeRef(url="u", commit="0" * 40),
        snapshots=(SNAPSHOT,),
        split=runspec.Split(
            input="flights",
            windows={"train": runspec.Window(since=datetime(2013, 1, 1, tzinfo=UTC)), "rest": runspec.Window()},
        ),
        seeds={"model": 0},
        parameters={"empty": ""},
    ),
    runspec.Evaluate(
        owner=OWNER,
        storage=STORAGE,
        manifest=DIGEST,
        golden=DIGEST,
        label="late",
        prediction_output="probability",
        gates=(runspec.MetricGate(name="g", metric="auc", minimum=0),),
    ),
]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda one: one.verb)
def test_the_short_form_reads_back_as_the_same_document(document: runspec.RunSpec) -> None:
    adapter: TypeAdapter[runspec.RunSpec] = TypeAdapter(runspec.RunSpec)
    assert adapter.validate_json(text_of(document)) == document


def test_defaults_are_left_out() -> None:
    column = runspec.ColumnRule(name="a", type="Float64")
    assert text_of(column) == '{"name":"a","type":"Float64"}'


def test_a_variable_is_as_long_as_linux_takes_and_no_longer() -> None:
    size = VARIABLE_LIMIT - len('NAME={"name":"","type":"Int64"}') - 1
    one = variable("NAME", runspec.ColumnRule(name="ä" * (size // 2) + "a" * (size % 2), type="Int64"), "")
    done = subprocess.run(["true"], env={one["name"]: one["value"]}, check=False)
    assert done.returncode == 0
    with pytest.raises(Impossible, match=r"NAME would take 131,\d+ bytes, and at most 131,066 fit. Shorten it\."):
        variable("NAME", runspec.ColumnRule(name="a" * (size + 1), type="Int64"), "Shorten it.")
    with pytest.raises(OSError, match="Argument list too long"):
        subprocess.run(["true"], env={"NAME": one["value"] + "a"}, check=False)
