"""Every Python example of docs/runtime.md runs, in the order in which people read them."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_runtime.manifest import State
from tests import fakes

DOC = Path(__file__).parents[2] / "docs" / "runtime.md"


def digits() -> fakes.Sample:
    """float32[batch, 1, 8, 8] → Flatten, MatMul → float32[batch, 10], as the page says."""
    random = np.random.default_rng(0)
    weights = numpy_helper.from_array(random.normal(size=(64, 10)).astype("f4"), "w")
    nodes = [helper.make_node("Flatten", ["image"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["scores"])]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 8, 8])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 10])
    graph = helper.make_graph(nodes, "digits", [image], [scores], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return fakes.Sample(model, ())


def test_every_example_runs(
    make_artifact: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    state = (State(input="h_in", output="h_out"), State(input="n_in", output="n_out"))
    make_artifact(fakes.recurrent(), folder="cell.edge", state=state)
    monkeypatch.chdir(make_artifact(digits(), folder="digits.edge").parent)
    examples = re.findall(r"^```python\n(.*?)^```$", DOC.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert len(examples) >= 5
    names: dict[str, object] = {}
    for example in examples:
        exec(compile(example, str(DOC), "exec"), names)
    quoted = re.search(r"print\(error\)  # (.*?) – …", "".join(examples))
    assert quoted is not None
    assert capsys.readouterr().out.startswith(quoted[1])
