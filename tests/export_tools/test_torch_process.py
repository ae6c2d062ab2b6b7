import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from edge_runtime import npz
from edge_runtime.errors import UsageError
from export_tools.errors import SourceError, SourceLost
from export_tools.request import SourceSpec
from export_tools.torch_process import TorchProcess

Spec = Callable[..., SourceSpec]
ROOT = Path(__file__).resolve().parents[2]


def opening(spec: SourceSpec, folder: Path, **changes: Any) -> dict[str, Any]:
    command: dict[str, Any] = {
        "do": "open",
        "spec": asdict(spec),
        "example": None,
        "input_names": [],
        "precise": True,
        "example_out": str(folder / "example.npz"),
    }
    return {**command, **changes}


def child(spec: SourceSpec, timeout_s: float = 60) -> TorchProcess:
    return TorchProcess(spec.entry, cwd=spec.cwd, timeout_s=timeout_s)


def gone(pid: int, within_s: float = 10) -> bool:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


def test_a_source_that_prints_does_not_disturb_the_answers(spec: Spec, tmp_path: Path) -> None:
    with child(spec("prints")) as process:
        process.ask(opening(spec("prints"), tmp_path))
        opened = process.answer()
        assert (opened["inputs"], opened["precise"]) == (["x"], True)
        assert npz.read(tmp_path / "example.npz")["x"].shape == (4, 13)
        inputs, outputs, precise, shaken = (tmp_path / f"{name}.npz" for name in ("in", "out", "precise", "shaken"))
        npz.write(inputs, npz.read(tmp_path / "example.npz"))
        process.ask({"do": "probe"})
        files = {"inputs": str(inputs), "outputs": str(outputs), "precise": str(precise), "shaken": str(shaken)}
        process.ask({"do": "answer", "compare": "none", **files})
        probed = {"outputs": 1, "names": [], "notes": [], "finished": None, "classes": None}
        assert process.answer() == probed
        assert process.answer()["precise"] is True
        assert npz.read(outputs)["0"].dtype == "float32"
        assert npz.read(precise)["0"].dtype == "float64"
        assert abs(npz.read(outputs)["0"] - npz.read(precise)["0"]).max() < 1e-6


def test_an_error_of_the_worker_arrives_as_its_own_class(spec: Spec, tmp_path: Path) -> None:
    with child(spec("linear")) as process:
        process.ask(opening(spec("linear"), tmp_path, input_names=["a", "b"]))
        with pytest.raises(UsageError, match=r"2 input names for 1 inputs \(x\)"):
            process.answer()
        process.ask(opening(spec("raises"), tmp_path))
        with pytest.raises(SourceError, match="LookupError"):
            process.answer()


def test_a_source_that_dies_is_told_with_the_signal(spec: Spec, tmp_path: Path) -> None:
    with child(spec("kills_itself")) as process:
        process.ask(opening(spec("kills_itself"), tmp_path))
        with pytest.raises(SourceLost, match="its process was ended by SIGSEGV") as caught:
            process.answer()
    assert caught.value.exit_code == 3


def test_a_source_that_hangs_is_ended_with_all_that_it_started(
    spec: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = tmp_path / "trace"
    monkeypatch.setenv("EDGE_TEST_TRACE", str(trace))
    with child(spec("starts_another_and_sleeps"), timeout_s=12) as process:
        process.ask(opening(spec("starts_another_and_sleeps"), tmp_path))
        with pytest.raises(SourceLost, match="not done within 12 s") as caught:
            process.answer()
        assert "--timeout" in caught.value.hint
    pids = [int(pid) for pid in trace.read_text().split()]
    assert len(pids) == 2
    assert all(gone(pid) for pid in pids)


def test_a_child_whose_parent_is_gone_leaves_even_while_it_works(
    spec: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = tmp_path / "trace"
    monkeypatch.setenv("EDGE_TEST_TRACE", str(trace))
    given = spec("starts_another_and_sleeps")
    environment = {"PYTHONPATH": str(ROOT), "EDGE_TEST_TRACE": str(trace), "PATH": "/usr/bin:/bin"}
    worker = subprocess.Popen(
        [sys.executable, "-P", "-m", "export_tools.torch_worker"],
        stdin=subprocess.PIPE,
        env=environment,
        cwd=given.cwd,
        start_new_session=True,
    )
    assert worker.stdin is not None
    worker.stdin.write((json.dumps(opening(given, tmp_path)) + "\n").encode())
    worker.stdin.flush()
    while not trace.exists() or len(trace.read_text().split()) < 2:
        assert worker.poll() is None
        time.sleep(0.05)
    worker.stdin.close()
    worker.wait(timeout=20)
    assert all(gone(int(pid)) for pid in trace.read_text().split())


def test_a_folder_that_is_gone_is_told_before_anything_is_started() -> None:
    with pytest.raises(SourceError, match="no such folder to start from"):
        TorchProcess("x", cwd="/no/such/folder", timeout_s=1)
