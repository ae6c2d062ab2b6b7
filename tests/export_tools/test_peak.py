"""The estimate of peak memory: what is alive when, at which sizes, and what a target's RAM makes of it."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_runtime.capacity import OPTIMISED, process_peak_bytes
from edge_runtime.errors import UnsupportedSystem
from edge_runtime.manifest import Port
from export_tools.cases import Case
from export_tools.peak import ARENA, Peak, estimate, largest_sizes, refuse_too_large
from export_tools.request import parse_dynamic
from export_tools.target import parse

MIB = 2**20
KIB = 1024  # float32[256] is one


def graph(
    nodes: list[onnx.NodeProto],
    *,
    inputs: dict[str, list[int | str]],
    outputs: dict[str, list[int | str]],
    weights: dict[str, np.ndarray] | None = None,
) -> onnx.ModelProto:
    def ports(named: dict[str, list[int | str]]) -> list[onnx.ValueInfoProto]:
        return [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in named.items()]

    kept = [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()]
    made = helper.make_graph(nodes, "main", ports(inputs), ports(outputs), kept)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)])


def op(kind: str, taken: str, given: str, **attributes: object) -> onnx.NodeProto:
    outputs = given.split()
    return helper.make_node(kind, taken.split(), outputs, name=f"make_{outputs[0]}", **attributes)


ROW: list[int | str] = ["n", 256]


def test_a_value_lives_from_its_maker_to_its_last_taker() -> None:
    chain = [op("Add", "x x", "a"), op("Add", "a a", "b"), op("Add", "b b", "y")]
    found = estimate(graph(chain, inputs={"x": ROW}, outputs={"y": ROW}), {"n": 1})
    assert found.alive == 3 * KIB  # x, and two more at each node
    forked = [op("Add", "x x", "a"), op("Add", "a a", "b"), op("Add", "b b", "c"), op("Add", "a c", "y")]
    found = estimate(graph(forked, inputs={"x": ROW}, outputs={"y": ROW}), {"n": 1})
    assert (found.alive, found.node) == (4 * KIB, "make_c")  # a waits for the last node


def test_the_sizes_asked_for_count() -> None:
    model = graph([op("Add", "x x", "y")], inputs={"x": ROW}, outputs={"y": ROW})
    assert [estimate(model, {"n": n}).alive for n in (1, 64)] == [3 * KIB, 64 * 3 * KIB]  # y, and the caller's copy


def test_a_kernel_that_writes_over_its_input_takes_no_room() -> None:
    over = [op("Add", "x x", "a"), op("Relu", "a", "b"), op("ReduceSum", "b", "y", keepdims=0)]
    assert estimate(graph(over, inputs={"x": ROW}, outputs={"y": []}), {"n": 1}).alive == 2 * KIB + 4
    kept = [op("Add", "x x", "a"), op("Relu", "a", "b"), op("Add", "a b", "c"), op("ReduceSum", "c", "y", keepdims=0)]
    assert estimate(graph(kept, inputs={"x": ROW}, outputs={"y": []}), {"n": 1}).alive == 4 * KIB  # a is wanted later
    # the caller's own input and weights are nobody's to write over
    first = [op("Relu", "x", "a"), op("ReduceSum", "a", "y", keepdims=0)]
    assert estimate(graph(first, inputs={"x": ROW}, outputs={"y": []}), {"n": 1}).alive == 2 * KIB + 4


def test_a_recurrent_operator_keeps_its_gates() -> None:
    sizes = {"w": (1, 12, 5), "r": (1, 12, 4)}
    weights = {name: np.zeros(shape, "f4") for name, shape in sizes.items()}
    model = graph(
        [op("GRU", "x w r", "y h", hidden_size=4)],
        inputs={"x": ["steps", 1, 5]},
        outputs={"y": ["steps", 1, 1, 4], "h": [1, 1, 4]},
        weights=weights,
    )
    x, y, h = 100 * 5 * 4, 100 * 4 * 4, 4 * 4
    assert estimate(model, {"steps": 100}).alive == x + y + h + 3 * y


def test_what_is_inside_a_branch_lives_beside_what_is_around_it() -> None:
    def branch(name: str, width: int) -> onnx.GraphProto:
        wide = numpy_helper.from_array(np.array([width], "i8"), f"{name}_shape")
        nodes = [
            op("ConstantOfShape", f"{name}_shape", f"{name}_wide"),
            op("ReduceSum", f"{name}_wide", f"{name}_out", keepdims=0),
        ]
        out = helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, [])
        return helper.make_graph(nodes, name, [], [out], [wide])

    chosen = helper.make_node("If", ["which"], ["y"], then_branch=branch("one", 256), else_branch=branch("two", 1024))
    model = graph([chosen], inputs={"x": ROW}, outputs={"y": []})
    model.graph.input.append(helper.make_tensor_value_info("which", TensorProto.BOOL, []))
    assert 5 * KIB < estimate(model, {"n": 1}).alive < 5 * KIB + 20


def test_what_cannot_be_inferred_is_counted_as_the_largest_input() -> None:
    found = estimate(graph([op("NonZero", "x", "y")], inputs={"x": ROW}, outputs={"y": [2, "k"]}), {"n": 1})
    assert (found.unknown, found.alive) == (1, 2 * KIB)


def test_weights_count_as_loading_them_takes_even_where_they_lie_elsewhere() -> None:
    weights = {"w": np.zeros((256, 512), "f4")}
    model = graph([op("MatMul", "x w", "y")], inputs={"x": ROW}, outputs={"y": ["n", 512]}, weights=weights)
    found = estimate(model, {"n": 1})
    assert found.weights == 512 * KIB
    assert found.bytes == process_peak_bytes(0, 0) + 512 * KIB * OPTIMISED // 100 + found.alive * ARENA // 100
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="w.data")
    tensor.external_data.add(key="length", value=str(512 * KIB))
    assert estimate(model, {"n": 1}) == found


def test_the_largest_size_is_the_declared_one_or_the_largest_that_was_tried() -> None:
    ports = (Port(name="x", dtype="float32", shape=("batch", "width")),)
    cases = [Case("a", {"x": np.zeros((2, 5), "f4")}, {}), Case("b", {"x": np.zeros((130, 3), "f4")}, {})]
    dynamic = [parse_dynamic("x:0=batch"), parse_dynamic("x:1=width:1..512")]
    assert largest_sizes(dynamic, ports, cases) == {"batch": 130, "width": 512}


def test_what_does_not_fit_the_target_is_refused_with_the_figures_and_the_way_out() -> None:
    peak = Peak(weights=90 * MIB, alive=30 * MIB, node="conv_1", unknown=0)
    refuse_too_large(peak, parse("pi5"), {"batch": 8}, where="net.py:net")
    refuse_too_large(peak, parse("onnxruntime==1.20"), {}, where="net.py:net")  # nobody knows its memory
    refuse_too_large(peak, None, {}, where="net.py:net")
    with pytest.raises(UnsupportedSystem) as caught:
        refuse_too_large(peak, parse("zero2w"), {"batch": 8}, where="net.py:net")
    assert caught.value.exit_code == 5
    assert caught.value.what == (
        "the model takes about 421 MiB at its peak at batch=8 (90.0 MiB of weights, 30.0 MiB of values alive at "
        "conv_1); zero2w has 352 MiB for it (512 MiB, of which the system keeps 160 MiB)"
    )
    assert "--dynamic" in caught.value.hint
    assert "ram=4GiB" in caught.value.hint
