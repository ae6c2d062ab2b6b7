"""What ends an export from outside: memory, time, signals, full disks. Each has its own words, and leaves nothing."""

import errno
import json
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_runtime import files
from edge_runtime.errors import Unwritable
from export_tools import ExportRequest, attempts, convert
from export_tools.errors import OutOfMemory, SourceLost
from export_tools.pipeline import run
from export_tools.request import SourceSpec
from export_tools.stages import Stage
from export_tools.torch_process import TorchProcess, oom_kills

Requested = Callable[..., ExportRequest]


@contextmanager
def opened(spec: SourceSpec, tmp_path: Path, kills: Callable[[], int | None] = oom_kills) -> Iterator[TorchProcess]:
    """Yield a child that was asked to open a source."""
    with TorchProcess(spec.origin, cwd=spec.cwd, timeout_s=60, oom_kills=kills) as child:
        command: dict[str, object] = {"do": "open", "example": None, "input_names": [], "precise": False}
        child.ask({**command, "spec": json.loads(spec.to_json()), "example_out": str(tmp_path / "example.npz")})
        yield child


def test_a_source_that_needs_more_memory_than_there_is_says_so(spec: Callable[..., SourceSpec], tmp_path: Path) -> None:
    with opened(spec("failing.py:huge"), tmp_path) as child, pytest.raises(OutOfMemory) as caught:
        child.answer()
    assert "needs more memory than there is: " in caught.value.what
    assert "you tried to allocate 4398046511104 bytes" in caught.value.what
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("kills", "kind", "what"),
    [
        ((3, 4), OutOfMemory, "the kernel ended its process, since memory ran out"),
        ((3, 3), SourceLost, "its process was ended by SIGKILL"),
        ((None, None), SourceLost, "its process was ended by SIGKILL"),
    ],
)
def test_a_process_that_the_kernel_ends_for_memory_is_told_apart_from_one_that_someone_kills(
    spec: Callable[..., SourceSpec],
    tmp_path: Path,
    kills: tuple[int | None, int | None],
    kind: type[SourceLost],
    what: str,
) -> None:
    counted = iter(kills)
    with opened(spec("failing.py:killed"), tmp_path, lambda: next(counted)) as child, pytest.raises(kind) as caught:
        child.answer()
    assert (type(caught.value), caught.value.what) == (kind, what)


def test_an_abort_after_a_failed_allocation_is_want_of_memory(spec: Callable[..., SourceSpec], tmp_path: Path) -> None:
    with opened(spec("failing.py:aborts"), tmp_path) as child, pytest.raises(OutOfMemory) as caught:
        child.answer()
    assert caught.value.what == "its process was ended by SIGABRT, since memory ran out"


def test_the_kernel_counts_what_it_ends(tmp_path: Path) -> None:
    assert oom_kills(tmp_path) is None
    for place, text in (
        ("proc/vmstat", "nr_free 7\noom_kill 2\n"),
        ("sys/fs/cgroup/memory.events", "oom 9\noom_kill 3\n"),
    ):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).write_text(text, encoding="ascii")
    assert oom_kills(tmp_path) == 5
    (tmp_path / "proc/vmstat").write_text("oom_kill many\n", encoding="ascii")
    assert oom_kills(tmp_path) == 3


def test_an_export_past_its_limit_is_ended_and_told_with_the_limit(
    spec: Callable[..., SourceSpec], tmp_path: Path, quiet_tmp: Path
) -> None:
    with opened(spec("failing.py:hangs"), tmp_path) as child:
        assert child.answer()["inputs"] == ["x"]
        convert.ask_for_export(
            child, "dynamo", opset=18, dynamic=(), output_names=["output"], path=tmp_path / "model.onnx"
        )
        child._timeout_s = 2.0
        with pytest.raises(SourceLost, match="it was not done within 2 s") as caught:
            child.answer()
    assert (caught.value.exit_code, "--timeout" in caught.value.hint) == (3, True)
    assert list(quiet_tmp.iterdir()) == []


def test_exporters_that_all_crash_are_named_with_their_signals(requested: Requested, tmp_path: Path) -> None:
    request = requested("failing.py:hangs", tmp_path / "a.edge")
    lost = SourceLost("its process was ended by SIGSEGV", "here", "its last words: none")
    error = attempts.combined(request, [("dynamo", lost), ("torchscript", SourceLost("not done", "here", "a hint"))])
    assert (type(error), error.exit_code) == (SourceLost, 3)
    assert error.what == "dynamo: its process was ended by SIGSEGV; torchscript: not done"
    error = attempts.combined(request, [("dynamo", OutOfMemory("short", "here", "a hint"))])
    assert (type(error), error.what, error.hint) == (OutOfMemory, "short", "a hint")


def test_where_one_exporter_crashes_the_other_is_taken(requested: Requested, tmp_path: Path) -> None:
    exported = run(requested("failing.py:crashes_under_dynamo", tmp_path / "a.edge", exporter="auto"))
    assert exported.conversion.exporter == "torchscript"
    assert "dynamo failed: its process was ended by SIGSEGV" in exported.conversion.why


def test_a_disk_that_is_full_while_an_exporter_writes_is_no_fault_of_the_exporter(
    requested: Requested, tmp_path: Path
) -> None:
    with pytest.raises(Unwritable, match="can't write: file too large") as caught:
        run(requested("failing.py:fills", tmp_path / "a.edge"))
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("stage", ["check", "goldens", "package"])
def test_a_disk_that_is_full_at_any_stage_leaves_nothing_behind(tmp_path: Path, quiet_tmp: Path, stage: str) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    weight = numpy_helper.from_array(np.ones((4, 4), np.float32), "w")
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 4]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", ports[:1], ports[1:], [weight])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "a.onnx")
    spec = SourceSpec(entry="a.onnx", cwd=str(folder))
    request = ExportRequest(source=spec, output=folder / "a.edge", name="a", origin="a.onnx", keep_opset=True)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(told: Stage) -> None:
        if told.name == stage and told.seconds is None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))

    try:
        with pytest.raises(Unwritable, match="can't write: file too large") as caught:
            run(request, progress=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.exit_code == 3
    assert [path.name for path in folder.iterdir()] == ["a.onnx"]
    assert list(quiet_tmp.iterdir()) == []


@pytest.mark.parametrize(("code", "full"), [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EIO, False)])
def test_only_want_of_room_is_a_full_disk(tmp_path: Path, code: int, full: bool) -> None:
    with pytest.raises(Unwritable if full else OSError) as caught, files.telling_of_full_disks(tmp_path):
        raise OSError(code, os.strerror(code), "some/file")
    assert isinstance(caught.value, Unwritable) is full
    assert not full or caught.value.where == "some/file"  # type: ignore[attr-defined]
