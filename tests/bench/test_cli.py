"""The verbs `edge bench` and `edge compare`, mostly in this process; signals and streams in one of their own."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from edge_runtime.cli import main
from edge_runtime.record import Record, load_record

ROOT = Path(__file__).parents[2]
Rival = Callable[[str], str]
FAST = ("--no-operators", "--rounds", "1", "--against")


@pytest.fixture(autouse=True)
def no_torch_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_a_run_prints_the_table_and_keeps_the_record(
    tiny: Path, rival: Rival, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "a record.json"
    assert main(["bench", str(tiny), *FAST, f"onnxruntime,{rival('adds_one')}", "-o", str(output)]) == 0
    out, err = capsys.readouterr()
    assert "edge and adds_one are not compared: adds_one answers wrongly" in out
    assert f"record: {output}" in out
    assert err == ""
    assert [one.name for one in load_record(output).contenders] == ["edge", "onnxruntime", "adds_one"]
    again = ["bench", str(tiny), "--rounds", "2", "--against", f"onnxruntime,{rival('adds_one')}"]
    assert main([*again, "--resume", str(output)]) == 0
    resumed = load_record(output)
    assert (resumed.sittings, len(resumed.launches), resumed.stop_reason) == (2, 4, "rounds")
    assert main([*again[:5], "onnxruntime", "--resume", str(output)]) == 2
    assert "the record is of another run" in capsys.readouterr().err


def test_json_is_the_record_with_its_summary_and_nothing_else(tiny: Path) -> None:
    argv = [sys.executable, "-m", "edge_runtime", "bench", str(tiny), *FAST, "onnxruntime", "--json"]
    argv += ["--starts", "1", "--operators"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, check=True, timeout=120)
    document = json.loads(done.stdout)
    assert document["kind"] == "edge-record"
    assert [one["baseline"] for one in document["summary"]["comparisons"]] == ["onnxruntime"]
    assert document["summary"]["comparisons"][0]["verdict"] == "inconclusive", "one round gives no interval"
    assert document["summary"]["starts"]["contenders"].keys() == {"edge", "onnxruntime"}
    assert {(one["contender"], one["cache"]) for one in document["starts"]} >= {
        ("edge", "warm"),
        ("onnxruntime", "warm"),
    }
    assert document["summary"]["operators"].keys() == {"edge"}
    assert document["peaks"]["threads"] == 1
    assert done.stderr == b""


def test_a_record_file_is_not_overwritten_unless_told(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = tmp_path / "taken.json"
    taken.write_text("mine")
    assert main(["bench", str(tiny), *FAST, "onnxruntime", "-o", str(taken)]) == 2
    assert "replace it with --force" in capsys.readouterr().err
    assert taken.read_text() == "mine"


def test_an_output_folder_that_is_not_there_is_told_before_anything_runs(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", str(tiny), *FAST, "onnxruntime", "-o", str(tmp_path / "no/such/r.json")]) == 3
    assert "can't write to that folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--against", "tensorflow"), "no contender 'tensorflow'"),
        (("--on", "pi5", "--against", "onnxruntime"), "no board 'pi5'"),
        (("--budget", "5 parsecs"), "no time such as 5m, 90s or 300"),
        (("--budget", "nan"), "no time such as"),
        (("--rounds", "many"), "neither a number nor auto"),
        (("--rounds", "0", "--against", "onnxruntime"), "0 rounds"),
        (("--threads", "0", "--against", "onnxruntime"), "thread counts such as 1,2 nor sweep"),
    ],
)
def test_senseless_flags_are_usage_errors(
    tiny: Path, flags: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", str(tiny), *flags]) == 2
    assert told in capsys.readouterr().err


def test_torch_without_a_source_says_both_ways_to_give_one(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(tiny)]) == 2
    told = capsys.readouterr().err
    assert "PyTorch needs a module" in told
    assert "--source FILE.py:callable" in told
    assert "--against onnxruntime" in told


def test_a_killed_rival_is_a_row_and_a_reason(tiny: Path, rival: Rival, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(tiny), *FAST, rival("dies")]) == 0
    told = capsys.readouterr().out
    row = next(line for line in told.splitlines() if line.startswith("dies "))
    assert row.split()[-1] == "lost"
    assert "dies was lost: the worker was ended by SIGKILL" in " ".join(told.split())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_an_interrupt_leaves_no_worker_and_no_file(
    number: signal.Signals, tiny: Path, rival: Rival, private_tmp: Path
) -> None:
    argv = [sys.executable, "-m", "edge_runtime", "bench", str(tiny), "--against", rival("hangs")]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        try:
            worker = _hanging_worker(psutil.Process(run.pid))
            run.send_signal(number)
            _, err = run.communicate(timeout=30)
        finally:
            run.kill()
    assert run.returncode == 130
    assert err == b"interrupted\n"
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE
    assert list(private_tmp.iterdir()) == []


def test_a_worker_leaves_when_the_run_itself_is_killed(tiny: Path, rival: Rival, private_tmp: Path) -> None:
    argv = [sys.executable, "-m", "edge_runtime", "bench", str(tiny), "--against", rival("hangs")]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        worker = _hanging_worker(psutil.Process(run.pid))
        run.kill()
    _, alive = psutil.wait_procs([worker], timeout=10)
    assert alive == []


def _hanging_worker(run: psutil.Process) -> psutil.Process:
    """Return the worker that hangs: one that has used no CPU for half a second."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for worker in run.children():
            try:
                before = worker.cpu_times()
                time.sleep(0.5)
                if worker.cpu_times() == before and worker.status() == psutil.STATUS_SLEEPING:
                    return worker
            except psutil.NoSuchProcess:
                continue
        time.sleep(0.05)
    raise AssertionError("no worker came to hang")


def test_compare_prints_what_changed_and_exits_zero(
    raced: Record, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raced.save(tmp_path / "a.json")
    assert main(["compare", str(tmp_path / "a.json"), str(tmp_path / "a.json")]) == 0
    assert "memory, model" in capsys.readouterr().out
    assert main(["compare", str(tmp_path / "a.json"), str(tmp_path / "a.json"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["kind"], document["obstacles"], len(document["changes"])) == ("edge-comparison", [], 16)


def test_compare_refuses_what_is_no_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.json").write_text("{")
    assert main(["compare", str(tmp_path / "a.json"), str(tmp_path / "a.json")]) == 3
    assert "not valid JSON" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["bench", "compare"])
def test_help_is_short_and_has_examples(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    told = capsys.readouterr().out
    assert f"  edge {verb} " in told
    assert len(told.splitlines()) < 80
