"""The hand-written ONNX file, read back by onnx itself."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from edge_runtime import one_node


@pytest.mark.parametrize("size", [1, 127, 128, 1024, 2**31])
def test_onnx_reads_the_model_that_its_own_helper_makes(size: int) -> None:
    written = one_node.model(
        "MatMulInteger",
        {"a": ("uint8", (size, 3)), "b": ("int8", (3, size))},
        {"y": ("int32", (size, size))},
    )
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["a", "b"], ["y"])],
        "MatMulInteger",
        [
            helper.make_tensor_value_info("a", TensorProto.UINT8, [size, 3]),
            helper.make_tensor_value_info("b", TensorProto.INT8, [3, size]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [size, size])],
    )
    wanted = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    for operator_set in wanted.opset_import:
        operator_set.ClearField("domain")  # the helper writes the default, which need not be written
    found = onnx.load_from_string(written)
    onnx.checker.check_model(found)
    assert found == wanted


def test_onnxruntime_runs_the_model() -> None:
    content = one_node.model("MatMul", {"a": ("float32", (2, 3)), "b": ("float32", (3, 4))}, {"y": ("float32", (2, 4))})
    a, b = np.arange(6, dtype="f4").reshape(2, 3), np.arange(12, dtype="f4").reshape(3, 4)
    (answer,) = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]).run(None, {"a": a, "b": b})
    np.testing.assert_array_equal(answer, a @ b)
