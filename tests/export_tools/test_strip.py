from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_runtime.manifest import Port
from edge_runtime.session import open_model
from export_tools.strip import forget, least_ir, opset_of, set_ports

SECRET = "/home/someone/secret.py"
INPUTS = (Port(name="x", dtype="float32", shape=("batch", 3)),)
OUTPUTS = {"y": ("batch", 3)}


def chatty(tmp_path: Path) -> Path:
    """Write a model whose every part tells where it was made, with inner shapes that are wrong."""
    branch = helper.make_graph(
        [helper.make_node("Neg", ["h"], ["b"])],
        "branch",
        [],
        [helper.make_tensor_value_info("b", TensorProto.FLOAT, None)],
    )
    other = helper.make_graph(
        [helper.make_node("Abs", ["h"], ["c"])],
        "other",
        [],
        [helper.make_tensor_value_info("c", TensorProto.FLOAT, None)],
    )
    nodes = [
        helper.make_node("Add", ["x", "w"], ["h"]),
        helper.make_node("If", ["yes"], ["y"], then_branch=branch, else_branch=other),
    ]
    weight = numpy_helper.from_array(np.ones(3, np.float32), "w")
    graph = helper.make_graph(
        nodes,
        SECRET,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["s0", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["s1", 3])],
        [weight, numpy_helper.from_array(np.array(True), "yes")],
        value_info=[helper.make_tensor_value_info("h", TensorProto.FLOAT, [1, 3])],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10, producer_name=SECRET, doc_string=SECRET
    )
    inner = graph.node[1].attribute[0].g
    for part in (
        model.graph,
        model.graph.node[0],
        model.graph.node[1].attribute[0].g.node[0],
        model.graph.input[0],
        model.graph.initializer[0],
        model.graph.node[1].attribute[0].g,
    ):
        part.doc_string = SECRET
        if hasattr(part, "metadata_props"):
            part.metadata_props.add(key="pkg.torch.onnx.stack_trace", value=SECRET)
    model.metadata_props.add(key="where", value=SECRET)
    assert inner is not None
    path = tmp_path / "chatty.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def strip(source: Path, target: Path) -> onnx.ModelProto:
    model = onnx.load(source)
    forget(model)
    set_ports(model, inputs=INPUTS, outputs=OUTPUTS)
    model.ir_version = least_ir(model)
    target.write_bytes(model.SerializeToString(deterministic=True))
    return model


def test_nothing_that_tells_where_it_was_made_survives(tmp_path: Path) -> None:
    source, target = chatty(tmp_path), tmp_path / "out.onnx"
    assert SECRET.encode() in source.read_bytes()
    strip(source, target)
    assert SECRET.encode() not in target.read_bytes()


def test_ports_are_named_as_the_manifest_says_and_inner_shapes_are_gone(tmp_path: Path) -> None:
    model = strip(chatty(tmp_path), tmp_path / "out.onnx")
    for value in (model.graph.input[0], model.graph.output[0]):
        assert [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim] == ["batch", 3]
    assert len(model.graph.value_info) == 0
    session = open_model(tmp_path / "out.onnx", threads=1, where="here")
    assert session.run(None, {"x": np.ones((2, 3), np.float32)})[0].tolist() == [[-2, -2, -2]] * 2


def test_what_computes_is_not_touched(tmp_path: Path) -> None:
    source = chatty(tmp_path)
    before, after = onnx.load(source), strip(source, tmp_path / "out.onnx")
    assert [node.op_type for node in after.graph.node] == [node.op_type for node in before.graph.node]
    assert [(tensor.name, tensor.raw_data) for tensor in after.graph.initializer] == [
        (tensor.name, tensor.raw_data) for tensor in before.graph.initializer
    ]
    assert opset_of(after) == 17


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    source = chatty(tmp_path)
    for name in ("one", "two"):
        strip(source, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize(
    ("opset", "kind", "wanted"),
    [(11, TensorProto.FLOAT, 6), (18, TensorProto.FLOAT, 8), (20, TensorProto.FLOAT, 9), (18, TensorProto.INT4, 10)],
)
def test_the_ir_is_the_least_that_opset_and_types_need(opset: int, kind: int, wanted: int) -> None:
    tensor = onnx.TensorProto(name="w", data_type=kind, dims=[2], raw_data=b"\0" * 8)
    graph = helper.make_graph([], "g", [], [], [tensor])
    assert least_ir(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=12)) == wanted


def test_local_functions_need_ir_8() -> None:
    function = helper.make_function(
        "own", "f", ["a"], ["b"], [helper.make_node("Neg", ["a"], ["b"])], [helper.make_opsetid("", 11)]
    )
    graph = helper.make_graph([], "g", [], [])
    model = helper.make_model(
        graph, functions=[function], opset_imports=[helper.make_opsetid("", 11), helper.make_opsetid("own", 1)]
    )
    assert least_ir(model) == 8
