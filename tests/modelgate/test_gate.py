"""What passes the gate for model files, and what never does."""

from __future__ import annotations

import builtins
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from plumbline_contract.base import digest_of
from plumbline_contract.manifest import FileEntry, ModelManifest, RunRecord, Tensor
from plumbline_contract.routes import ServingSettings
from plumbline_modelgate import Bounds, ModelRefused, Signature, check, check_file
from plumbline_serving.errors import StartFailure
from plumbline_serving.model import load
from tests.modelgate.models import branch, branching, linear, model_of, node, sparse, value
from tests.modelgate.poison import corpus
from tests.modelgate.watched import watch_runtime
from tests.proof.ledger import record

GOOD = linear().SerializeToString()
POISON = corpus()
RUN = RunRecord(
    namespace="team", name="run", uid="u", author="a", attempt=1, image="i", image_digest="", command=("train",)
)


@pytest.mark.parametrize(("name", "code", "data"), POISON, ids=[name for name, _, _ in POISON])
def test_a_poisoned_file_is_refused_for_the_right_reason(name: str, code: str, data: bytes) -> None:
    with pytest.raises(ModelRefused) as caught:
        check(data)
    assert caught.value.code == code, caught.value.message
    assert len(caught.value.message) > 20


SAID = {
    "weights in another file": "graph.initializer['weights'] keeps its data in another file; save the model as one",
    "a node of a vendor": "graph.node[0] (Mul) is of the domain 'com.microsoft', which the model does not import or",
    "an operator set of a vendor": "opset_import names the domain 'com.microsoft'; only ai.onnx and ai.onnx.ml are",
    "an operator that nobody defined": "graph.node[0] (Launch) is no operator of ai.onnx version 17; only standard",
    "a tensor of absurd size": "graph.initializer['extra'] has a dimension of 1099511627776; 0 to 2147483648",
    "an input of absurd width": "input 'x' has a dimension of 1099511627776",
    "a pickle of protocol 4": "is a Python pickle (scikit-learn and joblib write these), not an ONNX model; export the",
    "a zip, as PyTorch writes": "is a zip archive (a PyTorch checkpoint is one), not an ONNX model; export the model",
}


@pytest.mark.parametrize("name", SAID)
def test_a_refusal_says_what_was_found_and_where(name: str) -> None:
    (data,) = [data for known, _, data in POISON if known == name]
    with pytest.raises(ModelRefused) as caught:
        check(data)
    assert SAID[name] in caught.value.message


def test_the_corpus_is_as_large_as_it_claims_and_no_file_is_there_twice() -> None:
    assert len(POISON) >= 80
    assert len({data for _, _, data in POISON}) == len(POISON)


def test_no_poisoned_file_passes_and_no_pickle_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(builtins, "print", opened.append)
    passed = [name for name, _, data in POISON if not is_refused(data)]
    figure = f"{len(POISON)} files: {len(passed)} passed the gate, {len(opened)} pickles opened"
    record("poisoned-models", runs=len(POISON), bad=len(passed) + len(opened), figure=figure)
    assert (passed, opened) == ([], [])


class Shelf:
    """A bucket that holds one model file, past every gate before the server's, and its manifest."""

    def __init__(self, data: bytes) -> None:
        file = FileEntry(path="model.onnx", digest=digest_of(data), size=len(data))
        manifest = ModelManifest(files=(file,), model=file.digest, run=RUN).canonical()
        self.blobs = {digest_of(one): one for one in (data, manifest)}
        self.settings = ServingSettings(
            manifest=digest_of(manifest), bucket="b", variant="v", deployment="d", namespace="n", model_name="m"
        )

    def blob(self, digest: str, what: str) -> bytes:
        """As a server's storage gives it."""
        return self.blobs[digest]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Every file that ONNX Runtime was asked to open."""
    return watch_runtime(monkeypatch)


def objection(data: bytes) -> str:
    """Why a server does not start with this model; empty when it would."""
    shelf = Shelf(data)
    try:
        load(shelf.settings, shelf)  # type: ignore[arg-type]  # all that a server asks of its storage here
    except StartFailure as error:
        return str(error)
    return ""


def test_no_server_opens_a_poisoned_file(opened: list[bytes]) -> None:
    said = {name: (code, objection(data)) for name, code, data in POISON}
    odd = {name: one for name, one in said.items() if f"is refused by the model file gate: {one[0]}: " not in one[1]}
    figure = f"{len(POISON)} in a server's bucket: {len(opened)} opened by the runtime"
    record("poisoned-models", runs=len(POISON), bad=len(odd) + len(opened), figure=figure)
    assert (odd, opened) == ({}, [])


def test_a_server_opens_a_good_file(opened: list[bytes]) -> None:
    assert objection(GOOD) == ""
    assert opened == [GOOD]


def is_refused(data: bytes) -> bool:
    """Whether the gate refuses a file."""
    try:
        check(data)
    except ModelRefused:
        return True
    return False


def test_a_good_model_passes_with_its_signature_and_runs() -> None:
    assert check(GOOD) == Signature(
        inputs=(Tensor(name="x", datatype="FP32", shape=(-1, 1)),),
        outputs=(Tensor(name="y", datatype="FP32", shape=(-1, 1)),),
    )
    session = onnxruntime.InferenceSession(GOOD, providers=["CPUExecutionProvider"])
    (answer,) = session.run(["y"], {"x": np.array([[3.0]], dtype=np.float32)})
    assert answer.tolist() == [[7.0]]


def test_inputs_that_weights_fill_are_not_asked_of_the_caller() -> None:
    model = linear()
    model.graph.input.append(value("two", shape=[1, 1]))
    assert [tensor.name for tensor in check(model.SerializeToString()).inputs] == ["x"]


@pytest.mark.parametrize(
    ("kind", "datatype"),
    [
        (TensorProto.BOOL, "BOOL"),
        (TensorProto.INT32, "INT32"),
        (TensorProto.INT64, "INT64"),
        (TensorProto.DOUBLE, "FP64"),
        (TensorProto.FLOAT16, "FP16"),
        (TensorProto.STRING, "BYTES"),
    ],
)
def test_types_are_told_in_the_words_of_the_open_inference_protocol(kind: int, datatype: str) -> None:
    graph = helper.make_graph(
        [node("Identity", ["x"], ["y"])],
        "same",
        [value("x", kind, ["rows"])],
        [value("y", kind, ["rows"])],
    )
    found = check(model_of(graph).SerializeToString())
    assert found.inputs == (Tensor(name="x", datatype=datatype, shape=(-1,)),)  # type: ignore[arg-type]  # by table


def test_branches_sparse_weights_and_classic_models_are_welcome() -> None:
    inner = branching(branch(node("Neg", ["x"], ["unused"])))
    assert check(inner.SerializeToString()).outputs[0].name == "y"
    model = linear()
    model.graph.sparse_initializer.append(
        sparse(
            numpy_helper.from_array(np.ones(1, dtype=np.float32), "rare"),
            numpy_helper.from_array(np.zeros(1, dtype=np.int64)),
            [8],
        )
    )
    assert check(model.SerializeToString()).inputs[0].name == "x"
    scaler = node("Scaler", ["x"], ["y"], domain="ai.onnx.ml", offset=[1.0], scale=[2.0])
    graph = helper.make_graph([scaler], "classic", [value("x")], [value("y")])
    assert check(model_of(graph).SerializeToString()).outputs[0].shape == (-1, 1)


@pytest.mark.parametrize("alias", ["", "ai.onnx"])
def test_a_domain_named_twice_with_one_version_says_nothing_new(alias: str) -> None:
    model = linear()
    model.opset_import.append(helper.make_opsetid(alias, 17))
    assert check(model.SerializeToString()).inputs[0].name == "x"


@pytest.mark.parametrize("version", [7, 13, 28])
def test_the_whole_span_of_operator_sets_loads_in_the_runtime(version: int) -> None:
    graph = helper.make_graph([node("Identity", ["x"], ["y"])], "same", [value("x")], [value("y")])
    data = model_of(graph, (("", version),)).SerializeToString()
    check(data)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    assert [one.name for one in session.get_inputs()] == ["x"]


def test_a_refusal_names_the_place_and_the_way_out() -> None:
    message = next(data for name, _, data in POISON if name == "weights elsewhere inside a branch")
    with pytest.raises(ModelRefused, match=r"graph\.node\[2\] \(If\)\.then_branch\.initializer\['weights'\].*one file"):
        check(message)


@pytest.mark.parametrize(
    ("bounds", "code"),
    [
        (Bounds(file_bytes=10), "TooLarge"),
        (Bounds(nodes=1), "TooManyNodes"),
        (Bounds(inputs=0), "Signature"),
        (Bounds(outputs=0), "Signature"),
        (Bounds(dimension=0), "Dimension"),
    ],
)
def test_every_bound_holds(bounds: Bounds, code: str) -> None:
    with pytest.raises(ModelRefused) as caught:
        check(GOOD, bounds)
    assert caught.value.code == code


def test_a_file_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with path.open("wb") as file:
        file.truncate(3 << 30)  # sparse: it takes no room, and would take 3 GiB of memory
    with pytest.raises(ModelRefused, match="3221225472 bytes, more than"):
        check_file(path)
    path.write_bytes(GOOD)
    assert check_file(path) == check(GOOD)


def passes_or_is_refused(data: bytes) -> bool:
    """Whether the gate ended in one of its two ways: a whole signature, or a refusal that says why."""
    try:
        found = check(data)
    except ModelRefused as error:
        return bool(error.code and error.message)
    return bool(found.inputs and found.outputs)


@given(st.data())
def test_whatever_is_changed_in_a_model_it_passes_or_is_refused(data: st.DataObject) -> None:
    base = data.draw(st.sampled_from([GOOD, branching(branch()).SerializeToString()]))
    spoilt = bytearray(base)
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, len(spoilt) - 1))
        spoilt[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(spoilt)))
    for candidate in (bytes(spoilt), bytes(spoilt[:cut])):
        assert passes_or_is_refused(candidate)


@given(st.binary(max_size=400))
def test_bytes_of_any_kind_are_refused_and_crash_nothing(data: bytes) -> None:
    with pytest.raises(ModelRefused):
        check(data)
