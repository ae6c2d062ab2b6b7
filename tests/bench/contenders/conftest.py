"""The artifact of a small torch module, with that module: what PyTorch and those that take its module are tested on."""

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edge_runtime import manifest, npz
from export_tools.source import weights_sha256

SOURCE = """
import torch

class TwoIn(torch.nn.Module):
    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.linear = torch.nn.Linear(4, 4, bias=False)

    def forward(self, left, right):
        return {"difference": left - right, "rest": (self.linear(left),)}

def build():
    return TwoIn(0), (torch.ones(2, 4), torch.zeros(2, 4))

def another():
    return TwoIn(1), (torch.ones(2, 4), torch.zeros(2, 4))
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("a source") / "two_in.py"
    file.write_text(SOURCE)
    return file


@pytest.fixture(scope="module")
def two_in(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the artifact of `build`, written by hand: inputs left and right, outputs a difference and a product."""
    import torch  # noqa: PLC0415 - takes seconds, which other tests need not wait for

    torch.manual_seed(0)
    linear = torch.nn.Linear(4, 4, bias=False)
    weights = linear.weight.detach().numpy()
    folder = tmp_path_factory.mktemp("artifacts") / "two_in.edge"
    for name in ("fp32", "golden"):
        (folder / name).mkdir(parents=True)
    outputs = ("output", "output_1")
    graph = helper.make_graph(
        [
            helper.make_node("Sub", ["left", "right"], ["output"]),
            helper.make_node("MatMul", ["left", "w"], ["output_1"]),
        ],
        "two_in",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 4]) for name in ("left", "right")],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 4]) for name in outputs],
        [onnx.numpy_helper.from_array(np.ascontiguousarray(weights.T), "w")],
    )
    model, case = folder / "fp32/model.onnx", folder / "golden/example.npz"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7), model)
    left, right = np.random.default_rng(0).normal(size=(2, 2, 4)).astype(np.float32)
    answers = {"output/output": left - right, "output/output_1": left @ weights.T}
    npz.write(case, {"input/left": left, "input/right": right, **answers})
    module = torch.nn.ModuleDict({"linear": linear})
    described = manifest.Manifest(
        name="two_in",
        version="1",
        created="2026-01-01T00:00:00Z",
        producer=(("edge", "0"), ("torch", None), ("onnx", None), ("onnxruntime", None)),
        source_entry="two_in.py:build",
        source_weights_sha256=weights_sha256(module),
        source_framework="torch",
        requires_onnxruntime="1.13",
        requires_opset=13,
        requires_ir=7,
        inputs=tuple(manifest.Port(name=name, dtype="float32", shape=(2, 4)) for name in ("left", "right")),
        outputs=tuple(manifest.Port(name=name, dtype="float32", shape=(2, 4)) for name in outputs),
        variants=(
            manifest.Variant(
                name="fp32",
                files=(manifest.File(path="fp32/model.onnx", sha256=_sha256(model), bytes=model.stat().st_size),),
                precision="float32",
                opset_asked=13,
                opset_written=13,
                exporter="none",
                operators=(("MatMul", 1), ("Sub", 1)),
            ),
        ),
        golden=(
            manifest.GoldenCase(
                path="golden/example.npz",
                sha256=_sha256(case),
                variant="fp32",
                tolerance=tuple((name, 1e-6, 1e-6) for name in outputs),
            ),
        ),
    )
    (folder / manifest.FILE_NAME).write_text(described.to_json(), encoding="utf-8")
    return folder


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
