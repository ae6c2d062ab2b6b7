"""One launch in a real process, with contenders that behave and contenders that don't."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_runtime import npz
from edge_runtime.contender import Job, open_contender
from edge_runtime.errors import HashMismatch, UnsupportedModel, UnsupportedSystem, UsageError, WorkerLost, WrongInput
from edge_runtime.launch import own_command, run_worker
from edge_runtime.measured import PHASES
from edge_runtime.samples import POINTS, energy_of_worker, launch_of_worker, memory_of_worker
from edge_runtime.worker import STEADY_CALLS
from tests.conftest import Maker

BLOCK = {"warmup_s": 0.0, "warmup_calls": 2, "block_s": 0.0, "min_samples": 5, "max_samples": 5}
HEAD = """
import os, sys
from edge_runtime.contender import EdgeContender
class Contender(EdgeContender):
"""
TAIL = """
def open_contender(job):
    return Contender(job)
"""


def job(artifact: Path, **changes: Any) -> dict[str, Any]:
    return {
        "kind": "time",
        "contender": "edge_runtime.contender:open_contender",
        "artifact": str(artifact),
        "variant": "auto",
        "threads": 1,
        "cpus": [],
        "options": {},
        "inputs": None,
        "block": BLOCK,
        **changes,
    }


def run(artifact: Path, **changes: Any) -> dict[str, dict[str, Any]]:
    return run_worker(own_command(), job(artifact, **changes), threads=1, timeout_s=60)


def contender(folder: Path, body: str) -> str:
    file = folder / "a contender.py"
    file.write_text(HEAD + "".join(f"    {line}\n" for line in body.splitlines()) + TAIL)
    return f"{file}:open_contender"


def test_a_warming_launch_leaves_the_optimised_graph_in_the_cache_and_tells_nothing(
    tiny_edge: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_CACHE", str(tmp_path / "cache"))
    assert list(run(tiny_edge, kind="warm")) == ["hello", "loaded", "end"]
    assert len(list((tmp_path / "cache" / "graphs").glob("*.json"))) == 1


def test_a_start_ends_with_its_first_answer_and_tells_its_files_when_asked(tiny_edge: Path, tmp_path: Path) -> None:
    cache = tmp_path / "kept" / "by a contender"
    cache.parent.mkdir()
    cache.write_text("x")
    assert list(run(tiny_edge, kind="start")) == ["hello", "loaded", "end"]
    events = run(tiny_edge, kind="files", options={"cache": str(cache.parent)})
    assert list(events) == ["hello", "loaded", "files", "end"]
    told = events["files"]["paths"]
    assert {str(path.resolve()) for path in (tiny_edge / "manifest.json", tiny_edge / "fp32/model.onnx", cache)} <= set(
        told
    )
    assert any("onnxruntime_pybind11_state" in path for path in told)
    assert any(Path(path).name.startswith("contender.") for path in told)


def test_a_timing_launch_tells_its_phases_samples_and_environment(tiny_edge: Path) -> None:
    events = run(tiny_edge)
    assert list(events) == ["hello", "loaded", "answers", "timing", "end"]
    assert events["loaded"]["engine"].startswith("onnxruntime ")
    assert tuple(events["loaded"]["phases_ns"]) == PHASES
    assert all(value > 0 for value in events["loaded"]["phases_ns"].values())
    assert events["answers"]["agree"] is True
    assert events["answers"]["max_abs"] < 1e-4
    assert len(events["timing"]["block_ns"]) == 5
    told = {key: value for key, value in events["timing"].items() if key != "event"}
    launch = launch_of_worker(
        {
            **told,
            "phases_ns": events["loaded"]["phases_ns"],
            "contender": "edge",
            "round": 0,
            "order": 0,
            "cut": None,
            "steady": None,
            "valid": True,
            "reasons": [],
            "batch": None,
            "worker": None,
        },
        where="test",
    )
    assert len(launch.warmup_ns) == 2


def test_an_energy_launch_tells_joules_at_rest_and_over_a_block_of_calls(tiny_edge: Path, tmp_path: Path) -> None:
    supply = tmp_path / "sys/class/hwmon/hwmon0"
    supply.mkdir(parents=True)
    (supply / "name").write_text("ina219\n")
    (supply / "power1_input").write_text("3000000\n")
    events = run(tiny_edge, kind="energy", root=str(tmp_path), energy_s=0.3)
    assert list(events) == ["hello", "loaded", "answers", "energy", "end"]
    told = {key: value for key, value in events["energy"].items() if key != "event"}
    reading = energy_of_worker({**told, "contender": "edge"}, where="test")
    assert reading.rail.startswith("ina219")
    assert reading.calls > 100
    assert reading.samples >= 3
    # the meter says 3 W throughout: 3 uJ a us
    assert reading.idle_uj == pytest.approx(reading.idle_ns * 3e-3, rel=1e-6)
    assert reading.block_uj == pytest.approx(reading.block_ns * 3e-3, rel=1e-6)
    assert reading.block_ns >= 0.3e9


def test_an_energy_launch_without_a_meter_is_unsupported(tiny_edge: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedSystem, match="no meter"):
        run(tiny_edge, kind="energy", root=str(tmp_path), energy_s=0.1)


def test_a_memory_launch_tells_four_points_and_no_time(tiny_edge: Path) -> None:
    events = run(tiny_edge, kind="memory")
    assert list(events) == ["hello", "loaded", "answers", "memory", "end"]
    told = {key: value for key, value in events["memory"].items() if key != "event"}
    reading = memory_of_worker({**told, "contender": "edge"}, where="test")
    assert tuple(reading.points) == POINTS
    base, steady = reading.points["base"].resident, reading.points["steady"].resident
    assert base is not None
    assert steady is not None
    assert steady >= base > 10 * 2**20


def test_a_contender_that_answers_wrongly_is_told_and_never_timed(tiny_edge: Path, tmp_path: Path) -> None:
    wrong = contender(
        tmp_path, "def answers(self, returned):\n    return {name: array + 1 for name, array in returned.items()}"
    )
    for kind in ("time", "memory"):
        events = run(tiny_edge, contender=wrong, kind=kind)
        assert list(events) == ["hello", "loaded", "answers", "end"]
        assert events["answers"]["agree"] is False
        assert events["answers"]["max_abs"] == pytest.approx(1.0, rel=1e-5)
        assert "output output of golden case case" in events["answers"]["problem"]


def test_answers_that_are_not_numbers_are_wrong_and_told_without_infinity(tiny_edge: Path, tmp_path: Path) -> None:
    odd = contender(
        tmp_path,
        "def answers(self, returned):\n    return {name: array * float('nan') for name, array in returned.items()}",
    )
    events = run(tiny_edge, contender=odd)
    assert (events["answers"]["agree"], events["answers"]["max_abs"]) == (False, None)


def test_what_an_engine_prints_does_not_spoil_the_protocol(tiny_edge: Path, tmp_path: Path) -> None:
    loud = contender(
        tmp_path,
        "def load(self):\n"
        "    print('from Python', flush=True)\n"
        "    os.write(1, b'from C\\n')\n"
        "    os.system('echo from a child')\n"
        "    super().load()",
    )
    assert run(tiny_edge, contender=loud)["answers"]["agree"] is True


def test_a_contender_that_raises_is_lost_with_its_last_words(tiny_edge: Path, tmp_path: Path) -> None:
    broken = contender(tmp_path, "def load(self):\n    raise RuntimeError('no such engine')")
    with pytest.raises(WorkerLost, match="RuntimeError: no such engine"):
        run(tiny_edge, contender=broken)


def test_a_contender_that_runs_out_of_memory_cannot_work_here(tiny_edge: Path, tmp_path: Path) -> None:
    hungry = contender(tmp_path, "def load(self):\n    raise MemoryError")
    with pytest.raises(UnsupportedSystem, match="not enough memory"):
        run(tiny_edge, contender=hungry)


def test_given_inputs_are_timed_and_golden_cases_checked_all_the_same(tiny_edge: Path, tmp_path: Path) -> None:
    npz.write(tmp_path / "in.npz", {"input": np.ones((5, 13), "f4")})
    assert run(tiny_edge, inputs=str(tmp_path / "in.npz"))["answers"]["agree"] is True
    npz.write(tmp_path / "odd.npz", {"input": np.ones((5, 12), "f4")})
    with pytest.raises(WrongInput, match="the size 13"):
        run(tiny_edge, inputs=str(tmp_path / "odd.npz"))


def test_without_golden_cases_inputs_are_needed_and_answers_are_unknown(make_artifact: Maker, tmp_path: Path) -> None:
    path = make_artifact(golden=())
    with pytest.raises(UsageError, match="no golden case"):
        run(path)
    npz.write(tmp_path / "in.npz", {"input": np.ones((5, 13), "f4")})
    events = run(path, inputs=str(tmp_path / "in.npz"))
    assert events["answers"]["agree"] is None
    assert len(events["timing"]["block_ns"]) == 5


def test_a_damaged_artifact_is_told_by_its_own_error(make_artifact: Maker) -> None:
    path = make_artifact()
    (path / "golden" / "case0.npz").write_bytes(b"x")
    with pytest.raises(HashMismatch):
        run(path)


def test_a_worker_leaves_when_nobody_waits_for_it_any_more(tiny_edge: Path, tmp_path: Path) -> None:
    slow = contender(tmp_path, "def load(self):\n    import time\n    time.sleep(60)")
    command = own_command()
    with subprocess.Popen(
        command.argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=dict(command.environment),
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write((json.dumps({**job(tiny_edge, contender=slow), "spawned_ns": 0}) + "\n").encode())
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["event"] == "hello"
        process.stdin.close()
        assert process.wait(timeout=20) == 1


def test_a_file_of_the_working_directory_never_becomes_numpy(tiny_edge: Path, tmp_path: Path) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('the wrong numpy')\n")
    code = (
        "import json, sys\n"
        "from edge_runtime.launch import own_command, run_worker\n"
        "print('timing' in run_worker(own_command(), json.loads(sys.argv[1]), threads=1, timeout_s=60))\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, json.dumps(job(tiny_edge))],
        cwd=tmp_path,
        env=dict(own_command().environment),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "True\n", done.stderr


def test_a_contender_for_fixed_sizes_is_asked_only_the_golden_cases_of_its_sizes(
    tiny_edge: Path, tmp_path: Path
) -> None:
    body = (
        "fixed_sizes = True\n"
        "def prepare(self, inputs):\n"
        "    assert inputs['input'].shape == (64, 13)\n"
        "    return super().prepare(inputs)\n"
    )
    told = run(tiny_edge, contender=contender(tmp_path, body))
    assert told["answers"]["agree"] is True
    assert len(told["timing"]["block_ns"]) == 5


def test_fixed_sizes_that_no_golden_case_has_are_never_timed_unchecked(tiny_edge: Path, tmp_path: Path) -> None:
    npz.write(tmp_path / "inputs.npz", {"input": np.zeros((5, 13), np.float32)})
    with pytest.raises(UnsupportedModel, match="no golden case has those that are timed"):
        run(
            tiny_edge,
            contender=contender(tmp_path, "fixed_sizes = True"),
            inputs=str(tmp_path / "inputs.npz"),
        )


SEEN = """
seen = []
def prepare(self, inputs):
    step, first = super().prepare(inputs), float(inputs['input'][0, 0])
    def noted():
        self.seen.append(first)
        return step()
    return noted
def configuration(self):
    import atexit
    atexit.register(lambda: print(*self.seen, file=open(self._job.options['seen'], 'w')))
    return {}
"""


def test_inputs_take_turns_in_a_timed_block_and_none_do_where_memory_is_measured(
    tiny_edge: Path, tmp_path: Path
) -> None:
    named = contender(tmp_path, SEEN)
    given = {"contender": named, "turns": {"count": 3, "seed": 0}, "options": {"seen": str(tmp_path / "seen")}}
    block = run(tiny_edge, **given)["timing"]
    golden = 3  # the first call came before them
    in_turns = (tmp_path / "seen").read_text().split()[1 + golden :]
    assert len(in_turns) >= len(block["warmup_ns"]) + len(block["block_ns"]) * block["calls_per_sample"]
    assert len(set(in_turns[:3])) == 3
    assert in_turns == [in_turns[index % 3] for index in range(len(in_turns))]
    run(tiny_edge, kind="memory", **given)
    assert len(set((tmp_path / "seen").read_text().split()[: 1 + STEADY_CALLS])) == 1


def test_our_own_contender_pays_for_bringing_in_the_next_input(tiny_edge: Path) -> None:
    opened = open_contender(Job(artifact=tiny_edge, variant="auto", threads=1, options={}))
    opened.import_engine()
    opened.load()
    inputs = [np.full((4, 13), value, "f4") for value in (-0.5, -2.0)]
    first, second = (opened.prepare({"input": array}) for array in inputs)
    once = opened.answers(first())["output"].copy()
    assert not np.array_equal(opened.answers(second())["output"], once)
    assert np.array_equal(opened.answers(first())["output"], once), "a step's own input, whoever was called before"
    assert opened.answers(first())["output"] is opened.answers(second())["output"], "one call's buffers for both"


def test_what_a_contender_ran_with_is_asked_after_its_first_call(tiny_edge: Path, tmp_path: Path) -> None:
    body = (
        "called = False\n"
        "def prepare(self, inputs):\n"
        "    step = super().prepare(inputs)\n"
        "    def counted():\n"
        "        self.called = True\n"
        "        return step()\n"
        "    return counted\n"
        "def configuration(self):\n"
        "    return {'called': str(self.called)}\n"
    )
    assert run(tiny_edge, contender=contender(tmp_path, body))["loaded"]["configuration"] == {"called": "True"}


@pytest.mark.parametrize(("least_snr_db", "agree"), [(19, True), (21, False)])
def test_a_contender_of_few_bits_is_held_against_its_signal_to_noise_ratio(
    least_snr_db: int, agree: bool, tiny_edge: Path, tmp_path: Path
) -> None:
    body = (
        f"least_snr_db = {least_snr_db}\n"
        "def answers(self, returned):\n"
        "    return {name: array * 1.1 for name, array in super().answers(returned).items()}\n"
    )
    told = run(tiny_edge, contender=contender(tmp_path, body))
    assert told["answers"]["agree"] is agree
    assert ("timing" in told) is agree
