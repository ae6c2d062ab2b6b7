"""A tiny artifact made without torch, contenders with known faults, and plans short enough for tests."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from bench import bench
from edge_runtime import manifest, npz
from edge_runtime.record import Record
from edge_runtime.rounds import Plan
from edge_runtime.timing import BlockPlan
from tests import records

RIVALS = Path(__file__).parent / "rivals"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an artifact: float32[batch, 13] times weights plus a bias, with two golden cases."""
    folder = tmp_path_factory.mktemp("artifacts") / "tiny.edge"
    (folder / "fp32").mkdir(parents=True)
    (folder / "golden").mkdir()
    random = np.random.default_rng(0)
    weights = random.normal(size=(13, 1)).astype(np.float32)
    bias = random.normal(size=(1,)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["input", "w"], ["y"]), helper.make_node("Add", ["y", "b"], ["output"])],
        "tiny",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 13])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", 1])],
        [onnx.numpy_helper.from_array(weights, "w"), onnx.numpy_helper.from_array(bias, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    onnx.save(model, folder / "fp32/model.onnx")
    for name, batch in (("example", 8), ("one", 1)):
        x = random.normal(size=(batch, 13)).astype(np.float32)
        npz.write(folder / f"golden/{name}.npz", {"input/input": x, "output/output": x @ weights + bias})
    (folder / manifest.FILE_NAME).write_text(_described(folder).to_json(), encoding="utf-8")
    return folder


def _described(folder: Path) -> manifest.Manifest:
    model = folder / "fp32/model.onnx"
    return manifest.Manifest(
        name="tiny",
        version="1",
        created="2026-01-01T00:00:00Z",
        producer=(("edge", "0"), ("torch", None), ("onnx", None), ("onnxruntime", None)),
        source_entry="made by hand",
        source_weights_sha256=None,
        source_framework="onnx",
        requires_onnxruntime="1.13",
        requires_opset=13,
        requires_ir=7,
        inputs=(manifest.Port(name="input", dtype="float32", shape=("batch", 13)),),
        outputs=(manifest.Port(name="output", dtype="float32", shape=("batch", 1)),),
        variants=(
            manifest.Variant(
                name="fp32",
                files=(manifest.File(path="fp32/model.onnx", sha256=_sha256(model), bytes=model.stat().st_size),),
                precision="float32",
                opset_asked=13,
                opset_written=13,
                exporter="none",
                operators=(("Add", 1), ("MatMul", 1)),
            ),
        ),
        golden=tuple(
            manifest.GoldenCase(
                path=f"golden/{name}.npz",
                sha256=_sha256(folder / f"golden/{name}.npz"),
                variant="fp32",
                tolerance=(("output", 1e-5, 1e-5),),
            )
            for name in ("example", "one")
        ),
    )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="session")
def rival() -> Callable[[str], str]:
    """Return what turns the name of a file of tests/bench/rivals into what ``--against`` takes."""
    return lambda name: f"{RIVALS / name}.py:open_contender"


@pytest.fixture(scope="session")
def quick() -> Callable[[int], Plan]:
    """Return what makes a plan of so many rounds with very short blocks: for the machinery, not for a verdict."""
    block = BlockPlan(warmup_s=0.01, block_s=0.05, min_samples=20, max_samples=200)
    return lambda rounds: Plan(rounds=rounds, block=block)


@pytest.fixture(scope="session")
def raced(tiny: Path, rival: Callable[[str], str], quick: Callable[[int], Plan]) -> Record:
    """Return the record of one run that several tests look at: three contenders, one of them always wrong."""
    rivals = [rival(name) for name in ("waits_300us", "waits_600us", "adds_one")]
    return bench(tiny, against=rivals, plan=quick(4))


@pytest.fixture
def private_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Let temporary files of this process and its children be made in a folder of their own, to see what is left."""
    folder = tmp_path / "temporary files"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    yield folder
    monkeypatch.undo()


@pytest.fixture(scope="session")
def make_record() -> Callable[..., Record]:
    """Return what makes up a record without measuring: ``make_record({"edge": 100.0, "torch": 400.0}, rounds=6)``."""
    return records.make_record
