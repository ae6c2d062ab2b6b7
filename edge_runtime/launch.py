"""Start one worker, read its JSON lines, and end it on every way out: the parent's side of `worker`.

A worker is told by a command (an argv prefix and an environment), so that the same protocol serves a clean
interpreter here and, over a transport, one on a board.
"""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from edge_runtime.errors import (
    EdgeError,
    TimedOut,
    UnsupportedSystem,
    WorkerLost,
    from_document,
    out_of_memory,
    short_of_memory,
)
from edge_runtime.limits import oom_kills
from edge_runtime.tree import Tree

Heard = Callable[[Mapping[str, Any]], None]

MAX_ANSWER_BYTES = 16 * 2**20  # 2,000 samples take 20 KB; whatever sends more is not our worker
CRASHES = {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS}  # what libraries do that don't look at what malloc returns
LEAVE_S = 60.0  # torch and its compiler take ten seconds to tear down where the machine is busy
TAIL_BYTES = 2000  # of a dead worker's stderr, shown in the error


@dataclass(frozen=True, slots=True)
class Command:
    """How to start a Python that finds `edge_runtime.worker`."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]


class Crew:
    """Workers of several threads that can be ended together, when nobody waits for their answers any more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._members: list[subprocess.Popen[bytes]] = []
        self._ended = False

    def add(self, process: subprocess.Popen[bytes]) -> None:
        """Take in a worker that was just started; one that comes too late is ended at once."""
        with self._lock:
            self._members.append(process)
            if self._ended:
                _kill(process)

    def end(self) -> None:
        """End all that are still there; their threads see them as lost."""
        with self._lock:
            self._ended = True
            for process in self._members:
                if process.poll() is None:  # its number may be another's by now
                    _kill(process)


def own_command() -> Command:
    """Return the command that starts a worker with this interpreter and this very package."""
    package_root = str(Path(__file__).resolve().parent.parent)
    inherited = os.environ.get("PYTHONPATH")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (package_root, inherited)))}
    # -P: a file numpy.py in the working directory must not become numpy
    return Command((sys.executable, "-P", "-m", "edge_runtime.worker"), environment)


def run_worker(
    command: Command,
    job: Mapping[str, Any],
    *,
    threads: int,
    timeout_s: float,
    heard: Heard = lambda _: None,
    crew: Crew | None = None,
) -> dict[str, dict[str, Any]]:
    """Run one job in a fresh process; return its events by name, of several of one name the last.

    job: what `worker` reads, without "spawned_ns", which is set here, right before the start.   heard: is given each
    event as it comes.   crew: who may end it from another thread.
    Raises the worker's own error, TimedOut after `timeout_s`, or WorkerLost when it died or spoke garbage.
    """
    where = f"worker of {job['contender']}"
    counts = dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), str(threads)
    )
    with tempfile.TemporaryFile() as log:
        # before the start: a parent held up right after it would make the phase "spawn" too short, even negative
        killed_before = oom_kills(Tree())
        spawned_ns = time.perf_counter_ns()
        try:
            process = subprocess.Popen(
                command.argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                # nothing may wake up in a timed block to report to its maker, in whichever engine
                env={**command.environment, **counts, "ORT_DISABLE_TELEMETRY": "1"},
                start_new_session=True,  # Ctrl-C reaches us alone, and the whole group can be ended
            )
        except OSError as problem:
            raise WorkerLost(f"it can't be started: {problem.strerror}", where, f"try: {command.argv[0]}") from problem
        try:
            if crew is not None:
                crew.add(process)
            assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - both are PIPE
            line = json.dumps({**job, "spawned_ns": spawned_ns}) + "\n"
            with contextlib.suppress(BrokenPipeError):  # a worker that died at once is told about below
                process.stdin.write(line.encode())
                process.stdin.flush()
            events = {}
            for event in _read_events(process.stdout, timeout_s, where, log):
                events[str(event["event"])] = event
                heard(event)
            status = process.wait(timeout=LEAVE_S)
            if status != 0 or "end" not in events:
                raise _lost(status, where, _tail(log), oom_killed=oom_kills(Tree()) > killed_before)
        except subprocess.TimeoutExpired as problem:
            raise WorkerLost("it said its end and did not leave", where, _tail(log)) from problem
        finally:
            _end(process)
    return events


def _read_events(stdout: IO[bytes], timeout_s: float, where: str, log: IO[bytes]) -> Iterator[dict[str, Any]]:
    pending, received, deadline = b"", 0, time.monotonic() + timeout_s
    with selectors.DefaultSelector() as selector:
        selector.register(stdout, selectors.EVENT_READ)
        while True:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise TimedOut(f"no answer within {timeout_s:.0f} s", where, _tail(log))
            chunk = os.read(stdout.fileno(), 1 << 16)
            if not chunk:
                if pending:
                    raise WorkerLost(f"it ended within a line: {pending[:80]!r}", where, _tail(log))
                return
            received += len(chunk)
            if received > MAX_ANSWER_BYTES:
                raise WorkerLost("it sends without end", where, _tail(log))
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                event = _parse(line, where, log)
                if event.get("kind") == "edge-error":
                    raise from_document(event)
                yield event


def _parse(line: bytes, where: str, log: IO[bytes]) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError) as problem:
        raise WorkerLost(f"it said what is no JSON line: {line[:80]!r}", where, _tail(log)) from problem
    if not isinstance(event, dict) or not ("event" in event or event.get("kind") == "edge-error"):
        raise WorkerLost(f"it said what is no event: {line[:80]!r}", where, _tail(log))
    return event


def _lost(status: int, where: str, tail: str, *, oom_killed: bool) -> EdgeError:
    """Return the error for a worker that left without its end: short of memory, or gone for another reason."""
    if status == -signal.SIGKILL and oom_killed:
        hint = "raise the memory limit of the container or service, or use a smaller variant"
        return UnsupportedSystem("the kernel ended the worker: its control group has no memory left", where, hint)
    if short_of_memory(said := RuntimeError(tail)):
        return out_of_memory(said, where)
    if -status in CRASHES and _address_space_is_limited():
        what = (
            f"the worker was ended by {signal.Signals(-status).name}, as engines are when memory within ulimit -v ends"
        )
        return UnsupportedSystem(what, where, "raise the limit: ulimit -v")
    how = f"ended with exit code {status}" if status >= 0 else f"was ended by {signal.Signals(-status).name}"
    return WorkerLost(f"the worker {how}", where, tail)


def _address_space_is_limited() -> bool:
    import resource  # noqa: PLC0415 - not on every system, and only this way out needs it

    return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY


def _tail(log: IO[bytes]) -> str:
    size = log.seek(0, os.SEEK_END)
    log.seek(max(0, size - TAIL_BYTES))
    text = log.read().decode(errors="replace").strip()
    return (
        f"its last words: {' | '.join(text.splitlines()[-3:])}"
        if text
        else "it said nothing on stderr; look for an OOM kill: dmesg"
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(BrokenPipeError):
                stream.close()
    # the group, even when its leader has left: what an engine started must not run beside the next launch
    _kill(process)
    process.wait()


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
