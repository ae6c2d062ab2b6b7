"""The parent's side of a worker: its errors, its death, its silence, its children."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.errors import HashMismatch, TimedOut, UnsupportedSystem, UsageError, WorkerLost
from edge_runtime.launch import Command, own_command, run_worker

JOB = {"contender": "scripted"}
READ = "import json, os, sys, time\njob = json.loads(sys.stdin.readline())\n"


def run(code: str, *, timeout_s: float = 20.0, **environment: str) -> dict[str, dict[str, Any]]:
    command = Command((sys.executable, "-S", "-c", READ + code), {**os.environ, **environment})
    return run_worker(command, JOB, threads=3, timeout_s=timeout_s)


def told(code: str, *, timeout_s: float = 20.0) -> str:
    with pytest.raises((WorkerLost, TimedOut)) as lost:
        run(code, timeout_s=timeout_s)
    assert lost.value.where == "worker of scripted"
    assert lost.value.transient
    return str(lost.value)


def test_events_come_back_by_name() -> None:
    events = run("print(json.dumps({'event': 'loaded', 'x': 1}))\nprint('{\"event\": \"end\"}')")
    assert events == {"loaded": {"event": "loaded", "x": 1}, "end": {"event": "end"}}


def test_the_worker_gets_its_job_its_start_and_its_thread_count() -> None:
    before = time.perf_counter_ns()
    events = run(
        "print(json.dumps({'event': 'end', 'job': job, 'now': time.perf_counter_ns(),"
        " 'threads': os.environ['OMP_NUM_THREADS'], 'mine': os.environ['MINE']}))",
        MINE="kept",
    )
    assert events["end"]["job"]["contender"] == "scripted"
    assert before <= events["end"]["job"]["spawned_ns"] <= events["end"]["now"]
    assert (events["end"]["threads"], events["end"]["mine"]) == ("3", "kept")


def test_an_error_of_the_worker_is_raised_here_as_the_same_class() -> None:
    with pytest.raises(HashMismatch, match="w – x – h"):
        run("print(json.dumps({'kind': 'edge-error', 'code': 'HashMismatch', 'what': 'w', 'where': 'x', 'hint': 'h'}))")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("print('Loading engine...')", "no JSON line: b'Loading engine...'"),
        ("print('[1]')", "no event"),
        ("print('{}')", "no event"),
        ('print(\'{"event": "loaded"}\')', "exit code 0"),
        ("sys.stderr.write('one\\ntwo\\nBoom: broke\\n'); sys.exit(3)", "exit code 3"),
        ("os.kill(os.getpid(), 9)", "ended by SIGKILL"),
        ("sys.stdout.write('{\"event\": '); sys.exit(0)", "within a line"),
        ("print('x' * (1 << 25))", "without end"),
        ("while True: print('{\"event\": \"%d\"}' % time.perf_counter_ns() + ' ' * 65536)", "without end"),
    ],
)
def test_a_worker_that_breaks_the_protocol_or_dies_is_lost_and_the_message_says_how(code: str, words: str) -> None:
    assert words in told(code)


def test_the_last_words_of_a_dead_worker_are_shown() -> None:
    assert "its last words: Traceback | Boom: broke" in told("sys.exit('Traceback\\nBoom: broke')")
    assert "it said nothing on stderr" in told("os.kill(os.getpid(), 9)")


def test_a_worker_that_hangs_is_ended_after_its_time() -> None:
    begin = time.monotonic()
    assert "no answer within 0 s" in told("time.sleep(60)", timeout_s=0.3)
    assert time.monotonic() - begin < 20


def gone(pid: int) -> bool:
    for _ in range(200):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":  # nobody reaps an orphan in some containers; it runs no more
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("end", ['print(\'{"event": "end"}\')', "sys.exit(1)", "time.sleep(60)"])
def test_what_an_engine_started_does_not_outlive_its_launch(tmp_path: Path, end: str) -> None:
    note = tmp_path / "pid"
    code = (
        "import subprocess\n"
        "child = subprocess.Popen(['sleep', '60'], stdin=-3, stdout=-3, stderr=-3)\n"
        f"open({str(note)!r}, 'w').write(str(child.pid))\n{end}\n"
    )
    if end.startswith("print"):
        assert "end" in run(code)
    else:
        told(code, timeout_s=2.0)
    assert gone(int(note.read_text()))


def test_a_command_that_is_not_there_is_told_as_a_lost_worker() -> None:
    with pytest.raises(WorkerLost, match="can't be started"):
        run_worker(Command(("/nonexistent/python",), {}), JOB, threads=1, timeout_s=5)


def test_our_own_command_answers_a_senseless_job_with_an_error_and_not_with_silence(tiny_edge: Path) -> None:
    job = {
        "kind": "time",
        "contender": "edge_runtime.contender:open_contender",
        "artifact": str(tiny_edge),
        "variant": "int4",
        "threads": 1,
        "cpus": [],
        "options": {},
        "inputs": None,
        "block": {},
    }
    with pytest.raises(UsageError, match="no variant 'int4'"):
        run_worker(own_command(), job, threads=1, timeout_s=60)


def test_an_interrupt_ends_the_worker(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = f"open({str(note)!r}, 'w').write(str(os.getpid()))\nos.kill({os.getpid()}, 2)\ntime.sleep(60)\n"
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(code)
    finally:
        signal.signal(signal.SIGINT, handler)
    assert gone(int(note.read_text()))


def short(code: str) -> str:
    with pytest.raises(UnsupportedSystem) as refused:
        run(code)
    return str(refused.value)


def test_a_worker_whose_last_words_are_of_memory_is_told_as_short_of_it() -> None:
    told_so = short("sys.exit('OpenBLAS error: Memory allocation still failed after 10 retries, giving up.')")
    assert "not enough memory" in told_so
    assert "Memory allocation still failed" in told_so


def test_a_worker_that_the_kernel_ended_for_memory_is_no_transient_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = iter([3, 4])
    monkeypatch.setattr("edge_runtime.launch.oom_kills", lambda _: next(counts))
    assert "its control group has no memory left" in short("os.kill(os.getpid(), 9)")


def test_a_crash_within_a_limited_address_space_is_laid_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    crash = "os.kill(os.getpid(), 11)"
    assert "ended by SIGSEGV" in told(crash)
    monkeypatch.setattr("resource.getrlimit", lambda _: (2**30, 2**30))
    assert "ended by SIGSEGV, as engines are when memory within ulimit -v ends" in short(crash)
