"""`edge doctor` as people and scripts meet it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge_runtime.cli import main

ROOT = Path(__file__).resolve().parents[3]
BOARDS = ROOT / "tests" / "data" / "boards"
Captured = pytest.CaptureFixture[str]


def of(name: str) -> list[str]:
    return ["doctor", "--root", str(BOARDS / f"{name}-synthetic")]


def with_modules(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `edge` where the modules in `folder` come before the installed ones."""
    environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
    argv = [sys.executable, "-P", "-m", "edge_runtime", *words]
    return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_a_fit_machine_exits_0(capsys: Captured) -> None:
    assert main(of("raspberry-pi-5")) == 0
    told = capsys.readouterr().out
    assert "Raspberry Pi 5 Model B Rev 1.0, 4 cores" in told
    assert "4 × Cortex-A76 (0, 1, 2, 3) at 2400 MHz of 1500 to 2400 by performance" in told
    assert told.endswith("verdict: fit to measure\n")


def test_an_unfit_machine_exits_1_with_the_commands_that_mend_it(capsys: Captured) -> None:
    assert main(of("jetson-orin-nano")) == 1
    told = capsys.readouterr().out
    assert "mend: echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor" in told
    assert told.index("spoils measurements:") < told.index("worth knowing:")
    assert told.endswith("verdict: not fit to measure\n")


def test_the_firmwares_bits_are_told_in_words(capsys: Captured) -> None:
    assert main(of("raspberry-pi-4")) == 1
    assert "now: calm; since start: under-voltage, throttled" in capsys.readouterr().out


def test_json_is_one_document_with_the_same_exit_code(capsys: Captured) -> None:
    assert main([*of("big-little-phone"), "--json"]) == 1
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert (document["kind"], document["schema"], document["verdict"]) == ("edge-doctor", 1, "unfit")
    assert captured.err == ""


def test_where_onnxruntime_crashes_the_doctor_survives_and_exits_5(tmp_path: Path) -> None:
    (tmp_path / "onnxruntime.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGILL)\n")
    done = with_modules(tmp_path, "doctor")
    assert done.returncode == 5
    assert "importing onnxruntime fails: ended by SIGILL" in done.stdout
    assert "instructions this CPU lacks" in done.stdout
    assert done.stdout.endswith("verdict: it can't run here\n")


def test_where_numpy_is_missing_it_exits_5_with_the_command_that_installs_it(tmp_path: Path) -> None:
    (tmp_path / "numpy.py").write_text("raise ModuleNotFoundError(\"No module named 'numpy'\")\n")
    done = with_modules(tmp_path, "doctor", "--json")
    assert done.returncode == 5
    document = json.loads(done.stdout)
    assert document["verdict"] == "blocked"
    assert document["software"]["numpy"] is None
    assert "pip install" in document["findings"][0]["mend"]


def test_a_recorded_machine_can_be_examined_elsewhere(tmp_path: Path, capsys: Captured) -> None:
    folder = tmp_path / "a board"
    assert main([*of("raspberry-pi-4"), "--record", str(folder), "--json"]) == 1
    first = capsys.readouterr()
    assert f"files recorded: {folder}" in first.err
    assert main(["doctor", "--root", str(folder), "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == json.loads(first.out)


def test_a_place_that_is_taken_is_refused_before_any_work(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "mine").write_text("")
    assert main(["doctor", "--record", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "something is there already" in captured.err
    assert main(["doctor", "--root", str(tmp_path / "nowhere")]) == 2


def test_a_folder_that_shows_no_machine_is_refused_and_not_called_fit(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "notes.txt").write_text("nothing of /proc")
    assert main(["doctor", "--root", str(tmp_path)]) == 3
    assert "neither proc/stat nor proc/cpuinfo" in capsys.readouterr().err


def test_a_replayed_machine_is_told_nothing_of_this_one(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "stat").write_text("cpu  1 1 1 1 1 1 1 1\n")
    main(["doctor", "--root", str(tmp_path), "--json"])
    machine = json.loads(capsys.readouterr().out)["machine"]
    assert (machine["model"], machine["kernel"], machine["libc"]) == ("unknown", "unknown", None)
