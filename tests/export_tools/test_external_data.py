"""Weights in a file of their own, through everything that an artifact is for: as above 256 MiB, with a lower limit."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import ExternalDataInfo

from bench import bench
from edge_runtime import load
from edge_runtime.cli import main
from edge_runtime.errors import HashMismatch
from export_tools import ExportRequest, graph_file
from export_tools.pipeline import Exported, run
from export_tools.request import SourceSpec
from export_tools.reverify import reverify


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Return an artifact that is large by a limit of 100 bytes."""
    folder = tmp_path_factory.mktemp("large")
    random = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(random.standard_normal((64, 64)).astype(np.float32), name) for name in ("w", "v")
    ]
    nodes = [helper.make_node(*words) for words in (("MatMul", ["x", "w"], ["a"]), ("Relu", ["a"], ["b"]))]
    nodes.append(helper.make_node("MatMul", ["b", "v"], ["y"]))
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 64]) for name in "xy"]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "a.onnx")
    spec = SourceSpec(entry="a.onnx", cwd=str(folder))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
        patch.setattr(graph_file, "MAX_INLINE_BYTES", 100)
        return run(ExportRequest(source=spec, output=folder / "a.edge", name="a", origin="a.onnx", keep_opset=True))


def test_the_weights_lie_beside_the_model_inside_of_the_artifact(large: Exported) -> None:
    variant = large.artifact.variant()
    assert [file.path for file in variant.files] == ["fp32/model.onnx", "fp32/model.onnx.data"]
    assert variant.files[0].bytes < 1000 < 2 * 64 * 64 * 4 <= variant.files[1].bytes
    proto = onnx.load(large.artifact.model_path(variant), load_external_data=False)
    places = [ExternalDataInfo(tensor).location for tensor in proto.graph.initializer if tensor.external_data]
    assert places == ["model.onnx.data"] * 2


def test_it_loads_answers_and_is_checked(large: Exported, capsys: pytest.CaptureFixture[str]) -> None:
    x = np.random.default_rng(1).standard_normal((3, 64)).astype(np.float32)
    source = onnx.load(Path(large.artifact.path).with_name("a.onnx"))
    w, v = (numpy_helper.to_array(tensor) for tensor in source.graph.initializer)
    assert np.abs(load(large.artifact.path)(x=x)["y"] - np.maximum(x @ w, 0) @ v).max() < 1e-3
    assert main(["check", str(large.artifact.path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True


def test_it_is_verified_again_and_benchmarked(large: Exported) -> None:
    assert reverify(large.artifact.path).against == "the source a.onnx"
    record = bench(large.artifact.path, against=["onnxruntime"], rounds=1)
    assert sorted(contender.name for contender in record.contenders) == ["edge", "onnxruntime"]
    assert all(contender.answers is not None and contender.answers.agree for contender in record.contenders)


def test_a_changed_byte_of_the_weights_is_seen(large: Exported) -> None:
    path = large.artifact.path / large.artifact.variant().files[1].path
    content = path.read_bytes()
    try:
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(HashMismatch):
            large.artifact.verify()
    finally:
        path.write_bytes(content)
