"""PyTorch as a contender: the very module the artifact came from, found by flags or remembered, or refused."""

import hashlib
import sys
import warnings
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from bench import bench
from bench.contenders import executorch, torch_compile, torch_int8, torchscript
from bench.contenders.peer import absent, kept_folder
from bench.errors import SourceDiffers, SourceUnknown
from edge_runtime import manifest, npz
from edge_runtime.artifact import open_artifact
from edge_runtime.contender import Job
from edge_runtime.errors import UnsupportedModel, UnsupportedSystem
from edge_runtime.launch import own_command, run_worker
from edge_runtime.rounds import Plan
from edge_runtime.timing import BlockPlan
from export_tools.remembered import remember
from export_tools.request import SourceSpec
from export_tools.source import weights_sha256

Quick = Callable[[int], Plan]

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


def test_a_remembered_module_is_timed_and_gives_the_same_answers(
    two_in: Path, source: Path, quick: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    spec = SourceSpec(entry=f"{source.name}:build", cwd=str(source.parent))
    remember(open_artifact(two_in).variant().files[0].sha256, spec)
    record = bench(two_in, plan=quick(1))
    assert [(one.name, one.answers.agree) for one in record.contenders] == [("edge", True), ("torch", True)]
    assert record.contenders[1].engine.startswith("torch 2.")
    assert len(record.launches_of("torch")) == 1
    phases = record.launches_of("torch")[0].phases_ns
    assert phases["import"] > record.launches_of("edge")[0].phases_ns["import"], "torch is the larger library by far"


def test_another_module_than_the_artifacts_is_refused(two_in: Path, source: Path, quick: Quick) -> None:
    spec = SourceSpec(entry=f"{source}:another")
    with pytest.raises(SourceDiffers, match="the artifact was exported from") as caught:
        bench(two_in, source=spec, plan=replace(quick(1), budget_s=60))
    assert caught.value.exit_code == 3


def test_an_artifact_this_host_did_not_export_needs_a_source(
    two_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(SourceUnknown, match="has not exported this artifact"):
        bench(two_in)


def job(two_in: Path, source: Path, **options: str) -> Job:
    spec = SourceSpec(entry=f"{source}:build")
    return Job(artifact=two_in, variant="auto", threads=1, options={"source": spec.to_json(), **options})


def test_a_frozen_trace_gives_the_modules_answers_and_says_what_it_is(two_in: Path, source: Path) -> None:
    contender = torchscript.TorchScript(job(two_in, source))
    contender._mode = cast("Any", object())  # inference mode is for a process of its own, not for other tests
    contender.load()
    left, right = np.random.default_rng(1).normal(size=(2, 2, 4)).astype(np.float32)
    step = contender.prepare({"left": left, "right": right})
    answers = contender.answers(step())
    assert np.array_equal(answers["output"], left - right)
    assert list(answers) == ["output", "output_1"]
    assert contender.configuration()["mode"] == "traced, frozen, optimised for inference"


def test_a_module_that_can_not_be_traced_is_unsupported_in_torchs_words(two_in: Path, source: Path) -> None:
    contender = torchscript.TorchScript(job(two_in, source))
    contender._mode = cast("Any", object())
    contender.load()
    with pytest.raises(UnsupportedModel, match="TorchScript can't trace this model: RuntimeError"):
        contender.prepare({"left": np.ones((2, 5), np.float32), "right": np.ones((2, 4), np.float32)})


def test_compiled_kernels_are_kept_in_the_folder_that_the_record_names(
    two_in: Path, source: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "kernels"
    asked = job(two_in, source, cache=str(cache))
    told = run_worker(
        own_command(),
        {
            "kind": "time",
            "contender": "bench.contenders.torch_compile:open_contender",
            "artifact": str(two_in),
            "variant": "auto",
            "threads": 1,
            "cpus": [],
            "options": asked.options,
            "inputs": None,
            "block": asdict(BlockPlan(warmup_s=0.01, block_s=0.05, min_samples=20, max_samples=200)),
        },
        threads=1,
        timeout_s=240,
    )
    assert told["answers"]["agree"] is True
    assert told["loaded"]["configuration"]["cache"] == str(cache)
    assert told["loaded"]["configuration"]["threads"] == "1"
    assert list(cache.rglob("*.so")), "the C++ compiler's work is there for the next start"


def test_without_a_compiler_torch_compile_is_unsupported_here(
    two_in: Path, source: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CXX", "/nowhere/g++")
    contender = torch_compile.TorchCompiled(job(two_in, source, cache=str(tmp_path / "kernels")))
    with pytest.raises(UnsupportedSystem, match=r"no C\+\+ compiler \(/nowhere/g\+\+\)") as caught:
        contender.import_engine()
    assert "apt-get install g++" in caught.value.hint


def test_a_cache_with_a_space_in_its_path_is_refused_before_the_compiler_trips_over_it(
    two_in: Path, source: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CXX", sys.executable)  # any program that is there
    contender = torch_compile.TorchCompiled(job(two_in, source, cache=str(tmp_path / "a folder")))
    with pytest.raises(UnsupportedSystem, match="a space in its path"):
        contender.import_engine()


def test_a_folder_that_others_can_write_to_is_not_loaded_from(two_in: Path, source: Path, tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(UnsupportedSystem, match="can be written by others"):
        kept_folder(job(two_in, source, cache=str(tmp_path / "open")))


def test_torch_that_is_not_installed_is_told_with_the_extra_that_brings_it() -> None:
    error = absent("PyTorch", "export", ModuleNotFoundError("No module named 'torch'"))
    assert (error.what, error.hint) == ("PyTorch is not installed", 'install it: pip install "edge-runtime[export]"')


def test_executorch_lowers_once_and_runs_what_it_kept(
    two_in: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a stand-in for ExecuTorch whose programs call the exported module."""
    exported: list[Any] = []
    threads: list[int] = []

    def lower(program: Any, partitioner: list[Any]) -> Any:
        exported.append(program)
        return SimpleNamespace(to_executorch=lambda: SimpleNamespace(buffer=b"a program"))

    def load(path: str) -> Any:
        assert Path(path).read_bytes() == b"a program"
        run = exported[0].module()
        return SimpleNamespace(forward=lambda given, clone_outputs=True: [leaf.detach() for leaf in run(*given)])

    partition = "executorch.backends.xnnpack.partition.xnnpack_partitioner"
    for name in ("executorch", *(partition.rsplit(".", depth)[0] for depth in (3, 2, 1)), partition, "executorch.exir"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setattr(sys.modules[partition], "XnnpackPartitioner", object, raising=False)
    monkeypatch.setattr(sys.modules["executorch.exir"], "to_edge_transform_and_lower", lower, raising=False)
    monkeypatch.setattr(executorch, "version", lambda _: "1.5.1")
    library = SimpleNamespace(
        _unsafe_reset_threadpool=threads.append,
        _threadpool_get_thread_count=lambda: 1,
        _load_for_executorch=load,
    )
    left, right = np.random.default_rng(1).normal(size=(2, 2, 4)).astype(np.float32)
    for _ in range(2):
        contender = executorch.ExecuTorch(job(two_in, source, cache=str(tmp_path / "kept")))
        contender._mode, contender._library = cast("Any", object()), library
        contender.load()
        answers = contender.answers(contender.prepare({"left": left, "right": right})())
        assert np.allclose(answers["output"], left - right)
    assert len(exported) == 1, "the second start finds what the first has kept"
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["1.5.1-2x4_2x4.pte"]
    assert contender.configuration()["threads"] == "1"


def test_int8_quantises_what_torch_can_and_says_how_much_and_how_it_is_judged(two_in: Path, source: Path) -> None:
    contender = torch_int8.TorchInt8(job(two_in, source))
    contender._mode = cast("Any", object())
    contender.load()
    left, right = np.random.default_rng(1).normal(size=(2, 2, 4)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of its quantised tensors
        answers = contender.answers(contender.prepare({"left": left, "right": right})())
    assert np.array_equal(answers["output"], left - right)
    told = contender.configuration()
    assert told["layers quantised"] == "1"
    assert told["answers"] == "signal-to-noise of 20 dB at least"


def test_a_module_without_a_layer_that_int8_knows_is_skipped(two_in: Path, tmp_path: Path) -> None:
    file = tmp_path / "bare.py"
    file.write_text(SOURCE.replace("torch.nn.Linear(4, 4, bias=False)", "torch.nn.Bilinear(4, 4, 4)"))
    spec = SourceSpec(entry=f"{file}:build")
    contender = torch_int8.TorchInt8(
        Job(artifact=two_in, variant="auto", threads=1, options={"source": spec.to_json()})
    )
    contender._checked = True  # of another module than the artifact's, on purpose
    with pytest.raises(UnsupportedModel, match="nothing to quantise"):
        contender.load()
