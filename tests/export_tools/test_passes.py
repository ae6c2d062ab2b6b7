from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export_tools import ExportRequest, graph_file
from export_tools.cases import Case
from export_tools.graph_file import size_of
from export_tools.noise import Answers
from export_tools.passes import FOLD, SHAPES, Pass, apply
from export_tools.pipeline import run

Requested = Callable[..., ExportRequest]
X = np.linspace(-2, 2, 6, dtype=np.float32).reshape(2, 3)
W = np.arange(900, dtype=np.float32).reshape(3, 300)
CASES = [Case("real", {"x": X}, {}), Case("ones", {"x": np.ones((5, 3), np.float32)}, {"n": 5})]


def graph(folder: Path) -> onnx.ModelProto:
    """Return y = -(-(x @ (w + 0))), with two nodes too many and weights that are stored twice."""
    nodes = [
        helper.make_node("Add", ["w", "zero"], ["v"]),
        helper.make_node("MatMul", ["x", "v"], ["a"]),
        helper.make_node("MatMul", ["x", "w2"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["c"]),
        helper.make_node("Identity", ["c"], ["y"]),
    ]
    tensors = [
        numpy_helper.from_array(a, n) for n, a in (("w", W), ("w2", W.copy()), ("zero", np.zeros(1, np.float32)))
    ]
    made = helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 300])],
            tensors,
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.save(made, folder / "model.onnx")
    return graph_file.read(folder / "model.onnx")


def applied(folder: Path, *passes: Pass) -> tuple[onnx.ModelProto, tuple[str, ...], tuple[str, ...]]:
    answers = [Answers({"y": np.asarray(2 * case.inputs["x"] @ W)}, None) for case in CASES]
    found = apply(
        graph(folder), folder, passes, cases=CASES, answers=answers, tied=lambda *_: False, threads=1, where="here"
    )
    return found.graph, found.kept, found.dropped


def changing(change: Callable[[onnx.ModelProto], object]) -> Pass:
    def changed(given: onnx.ModelProto, _folder: Path) -> onnx.ModelProto:
        change(given)
        return given

    return Pass("own", "spoils it", changed)


def negate(given: onnx.ModelProto) -> None:
    given.graph.node[4].op_type = "Neg"


def grow(given: onnx.ModelProto) -> None:
    given.graph.node[4].output[0] = "z"
    given.graph.node.append(helper.make_node("Identity", ["z"], ["y"]))


def rename(given: onnx.ModelProto) -> None:
    given.graph.node[4].output[0] = given.graph.output[0].name = "z"


def disconnect(given: onnx.ModelProto) -> None:
    del given.graph.node[0]


def fail(_given: onnx.ModelProto) -> None:
    raise AssertionError


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (negate, "it changes the answers: y of the case real is off by "),
        (grow, "it makes 6 nodes of 5"),
        (rename, "it changes the inputs or outputs"),
        (disconnect, "onnxruntime refuses what it makes: "),
        (fail, "it fails with AssertionError"),
    ],
)
def test_a_pass_that_is_wrong_is_dropped_by_name_and_the_others_stay(
    tmp_path: Path, change: Callable[[onnx.ModelProto], object], reason: str
) -> None:
    folded, kept, dropped = applied(tmp_path, changing(change), FOLD[0])
    assert kept == ("onnxscript",)
    assert len(dropped) == 1
    assert dropped[0].startswith(f"the graph pass own is dropped: {reason}")
    assert size_of(folded).nodes == 2


def test_a_pass_that_changes_nothing_is_not_said_to_be_kept(tmp_path: Path) -> None:
    assert applied(tmp_path, changing(lambda _: None))[1:] == ((), ())


def test_equal_weights_are_stored_once(tmp_path: Path) -> None:
    folded, kept, dropped = applied(tmp_path, FOLD[1])
    assert (kept, dropped) == (("share-weights",), ())
    assert size_of(graph(tmp_path)).bytes - size_of(folded).bytes > W.nbytes


def test_shapes_follow_from_the_ports_and_made_up_names_are_left_out(tmp_path: Path) -> None:
    inferred, kept, _ = applied(tmp_path, SHAPES)
    assert kept == ("shapes",)
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in inferred.graph.value_info
    }
    assert shapes == {"v": [3, 300], "a": ["n", 300], "b": ["n", 300], "c": ["n", 300]}


def test_a_broken_pass_is_dropped_from_a_whole_export_with_a_warning(requested: Requested, tmp_path: Path) -> None:
    wrong = Pass("sign", "turns the sign", lambda given, _: _negated(given))
    made = run(requested("linear", tmp_path / "a.edge", dynamic=("x:0=batch",)), passes=(wrong, *FOLD))
    assert "sign" not in made.conversion.passes
    variant, manifest = made.artifact.variant(), made.artifact.manifest
    assert (variant.passes, variant.why) == (made.conversion.passes, made.conversion.why)
    assert manifest.frozen == ()  # looked for, and not there
    warning = next(text for text in made.warnings if "sign" in text)
    assert warning.startswith("the graph pass sign is dropped: it changes the answers: output of the case real")


def _negated(given: onnx.ModelProto) -> onnx.ModelProto:
    for node in given.graph.node:
        if node.op_type == "Relu":
            node.op_type = "Neg"
    return given


def _clipped(given: onnx.ModelProto) -> onnx.ModelProto:
    for node in given.graph.node:
        if node.op_type == "Relu":
            node.op_type = "Clip"
            node.input.extend(["least", "most"])
    given.graph.initializer.extend(
        numpy_helper.from_array(np.array(value, np.float32), name) for name, value in (("least", 0), ("most", 10))
    )
    return given


def test_a_pass_that_spoils_a_case_it_was_not_tried_with_costs_the_passes_and_not_the_export(
    requested: Requested, tmp_path: Path
) -> None:
    wrong = Pass("clip", "is right below 10, as all cases but one are", lambda given, _: _clipped(given))
    made = run(requested("linear", tmp_path / "a.edge", dynamic=("x:0=batch",), skip=("shapes",)), passes=(wrong,))
    assert made.conversion.passes == ()
    assert any(text.startswith("the graph passes clip are dropped: together they spoil") for text in made.warnings)
    assert dict(made.conversion.operators)["Relu"] == 1
