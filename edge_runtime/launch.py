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
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

from edge_runtime.errors import (
    BoardError,
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
LOSSES = (BoardError, UnsupportedSystem)  # what is raised when a worker is lost, or has no memory left
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
    with Worker(command, job, threads=threads, timeout_s=timeout_s, heard=heard, crew=crew) as worker:
        return worker.finish()


class Worker:
    """A worker that is alive: it can be waited for, asked, paused and let go on. Leaving the context ends it.

    Each wait raises the worker's own error, TimedOut after `timeout_s`, or WorkerLost when it died or spoke garbage.
    """

    def __init__(
        self,
        command: Command,
        job: Mapping[str, Any],
        *,
        threads: int,
        timeout_s: float,
        heard: Heard = lambda _: None,
        crew: Crew | None = None,
    ) -> None:
        self._where, self._timeout_s, self._heard = f"worker of {job['contender']}", timeout_s, heard
        self._events: dict[str, dict[str, Any]] = {}
        self._pending, self._received, self._ended = b"", 0, False
        counts = dict.fromkeys(
            ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), str(threads)
        )
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the worker lives
        # before the start: a parent held up right after it would make the phase "spawn" too short, even negative
        self._killed_before = oom_kills(Tree())
        spawned_ns = time.perf_counter_ns()
        try:
            self._process = subprocess.Popen(
                command.argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                # nothing may wake up in a timed block to report to its maker, in whichever engine
                env={**command.environment, **counts, "ORT_DISABLE_TELEMETRY": "1"},
                start_new_session=True,  # Ctrl-C reaches us alone, and the whole group can be ended
            )
        except OSError as problem:
            self._log.close()
            what = f"it can't be started: {problem.strerror}"
            raise WorkerLost(what, self._where, f"try: {command.argv[0]}") from problem
        try:
            if crew is not None:
                crew.add(self._process)
            self._send({**job, "spawned_ns": spawned_ns})
        except BaseException:
            self.end()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def wait_for(self, name: str) -> bool:
        """Wait until it tells this event; return False when it leaves in order without."""
        self._events.pop(name, None)
        self._read(name)
        if name in self._events:
            return True
        self._leave()
        return False

    def ask(self, name: str) -> bool:
        """Let it take the step that it waits for, and wait for the event that tells of it."""
        self._send({})
        return self.wait_for(name)

    def finish(self) -> dict[str, dict[str, Any]]:
        """Wait until it has left, and return all that it told, the last of each event."""
        self._read(None)
        self._leave()
        return self._events

    def pause(self) -> None:
        """Stop it and all that it started: an engine's threads may spin long after a call, on the next one's CPU.

        Returns when all its threads stand still.
        """
        self._signal(signal.SIGSTOP)
        if hasattr(os, "waitid"):  # not on macOS, where the signal has to do
            # left to be waited for: that it has died instead is told where it is asked again
            os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def end(self) -> None:
        """End it, whatever it is doing."""
        _end(self._process)
        self._log.close()

    def _send(self, message: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None  # noqa: S101 - a PIPE
        with contextlib.suppress(BrokenPipeError):  # a worker that died is told about when its events are read
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _read(self, until: str | None) -> None:
        """Read events until one of this name has come, or the worker says no more."""
        stdout, where = self._process.stdout, self._where
        assert stdout is not None  # noqa: S101 - a PIPE
        deadline = time.monotonic() + self._timeout_s
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            while not self._ended and until not in self._events:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise TimedOut(f"no answer within {self._timeout_s:.0f} s", where, _tail(self._log))
                chunk = os.read(stdout.fileno(), 1 << 16)
                self._ended = not chunk
                if self._ended and self._pending:
                    raise WorkerLost(f"it ended within a line: {self._pending[:80]!r}", where, _tail(self._log))
                self._received += len(chunk)
                if self._received > MAX_ANSWER_BYTES:
                    raise WorkerLost("it sends without end", where, _tail(self._log))
                *lines, self._pending = (self._pending + chunk).split(b"\n")
                for line in lines:
                    event = _parse(line, where, self._log)
                    if event.get("kind") == "edge-error":
                        raise from_document(event)
                    self._events[str(event["event"])] = event
                    self._heard(event)

    def _leave(self) -> None:
        """Wait for the end of a worker that says no more; raise unless it left in order."""
        try:
            status = self._process.wait(timeout=LEAVE_S)
        except subprocess.TimeoutExpired as problem:
            raise WorkerLost("it said its end and did not leave", self._where, _tail(self._log)) from problem
        if status != 0 or "end" not in self._events:
            killed = oom_kills(Tree()) > self._killed_before
            raise _lost(status, self._where, _tail(self._log), oom_killed=killed)


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
