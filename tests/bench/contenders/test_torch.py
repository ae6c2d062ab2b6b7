"""PyTorch as a contender: the very module the artifact came from, found by flags or remembered, or refused."""

import sys
import warnings
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from bench import bench
from bench.contenders import executorch, torch_compile, torch_int8, torchscript
from bench.contenders.peer import absent, kept_folder
from bench.errors import SourceDiffers, SourceUnknown
from edge_runtime.artifact import open_artifact
from edge_runtime.contender import Job
from edge_runtime.errors import UnsupportedModel, UnsupportedSystem
from edge_runtime.launch import own_command, run_worker
from edge_runtime.rounds import Plan
from edge_runtime.timing import BlockPlan
from export_tools.remembered import remember
from export_tools.request import SourceSpec

Quick = Callable[[int], Plan]


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


def test_a_module_without_a_layer_that_int8_knows_is_skipped(two_in: Path, source: Path, tmp_path: Path) -> None:
    file = tmp_path / "bare.py"
    file.write_text(source.read_text().replace("torch.nn.Linear(4, 4, bias=False)", "torch.nn.Bilinear(4, 4, 4)"))
    spec = SourceSpec(entry=f"{file}:build")
    contender = torch_int8.TorchInt8(
        Job(artifact=two_in, variant="auto", threads=1, options={"source": spec.to_json()})
    )
    contender._checked = True  # of another module than the artifact's, on purpose
    with pytest.raises(UnsupportedModel, match="nothing to quantise"):
        contender.load()
