"""The parent's side of `torch_worker` and `onnx_worker`: start the child, ask, wait, end it on any way out."""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from edge_runtime.errors import from_document, short_of_memory
from export_tools.errors import MORE_MEMORY, OutOfMemory, SourceError, SourceLost

TORCH, ONNX = "torch_worker", "onnx_worker"  # what holds a module, and what holds a file
MAX_LINE_BYTES = 2**20  # an answer is a few names and numbers; whatever is longer was not written by our worker
TAIL_BYTES = 4000
WORDS_SHOWN = 3  # lines of a dead child's stderr


def oom_kills(root: Path = Path("/")) -> int | None:
    """Return how many processes the kernel has ended for want of memory, or None where it does not tell.

    root: of /proc and /sys, this machine's or a recorded one's.
    """
    counted = None
    for place in ("proc/vmstat", "sys/fs/cgroup/memory.events"):
        with contextlib.suppress(OSError, ValueError):
            for line in (root / place).read_text(encoding="ascii").splitlines():
                name, _, number = line.partition(" ")
                if name == "oom_kill":
                    counted = (counted or 0) + int(number)
    return counted


class TorchProcess:
    """One child with one module. Commands may be asked ahead; answers come in their order.

    ``with TorchProcess(...) as child: child.ask({...}); answer = child.answer()``. Leaving ends the child and
    everything it started, whatever it is doing.
    script: a file to run instead of a worker, with the standard library and nothing else of this environment.
    """

    def __init__(
        self,
        where: str,
        *,
        cwd: str,
        timeout_s: float,
        worker: str = TORCH,
        script: Path | None = None,
        oom_kills: Callable[[], int | None] = oom_kills,
    ) -> None:
        if not Path(cwd).is_dir():
            raise SourceError("no such folder to start from", cwd, "export again, or give the source anew")
        self._where, self._timeout_s = where, timeout_s
        self._oom_kills, self._kills_before = oom_kills, oom_kills()
        # what it leaves in the temporary folder goes with it, however it ends: torch itself leaves a cache there
        self._scratch = tempfile.TemporaryDirectory(prefix="edge-child-", ignore_cleanup_errors=True)
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self._pending, self._ended = b"", False
        package_root = str(Path(__file__).resolve().parent.parent)
        inherited = os.environ.get("PYTHONPATH")
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, (package_root, inherited))),
            "TMPDIR": self._scratch.name,
            "PYTHONHASHSEED": "0",  # an exporter that walks a set writes the same file every time
        }
        # -P: a file torch.py in the working directory must not become torch. The worker adds the directory later,
        # when all that it needs itself is imported
        words: tuple[str, ...] = (sys.executable, "-P", "-m", f"export_tools.{worker}")
        if script is not None:
            # -I -S: neither variables nor site-packages, the user's or this environment's
            words = (sys.executable, "-I", "-S", "-B", str(script))
            environment = {
                "HOME": self._scratch.name,
                "TMPDIR": self._scratch.name,
                "LANG": "C.UTF-8",
                "ORT_DISABLE_TELEMETRY": "1",
            }
        self._process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment,
            cwd=cwd,
            start_new_session=True,  # Ctrl-C reaches us alone, and the whole group can be ended
        )
        self._selector = selectors.DefaultSelector()
        assert self._process.stdout is not None  # noqa: S101 - it is a PIPE
        self._selector.register(self._process.stdout, selectors.EVENT_READ)

    def ask(self, command: Mapping[str, Any]) -> None:
        """Send a command; `answer` will return what comes of it."""
        assert self._process.stdin is not None  # noqa: S101 - it is a PIPE
        with contextlib.suppress(BrokenPipeError):  # a child that died is told about by answer()
            self._process.stdin.write((json.dumps(command) + "\n").encode())
            self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """Return the next answer.

        Raises the worker's own error, or SourceLost when it gave none in time, died, or spoke garbage.
        """
        line = self._line(time.monotonic() + self._timeout_s)
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError) as problem:
            raise SourceLost(f"its process said {line[:80]!r}", self._where, self._last_words()) from problem
        if not isinstance(answer, dict):
            raise SourceLost(f"its process said {line[:80]!r}", self._where, self._last_words())
        if answer.get("kind") == "edge-error":
            raise from_document(answer)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """End the child and everything it started, whatever it is doing; a second time, nothing."""
        if self._ended:
            return
        self._ended = True
        # the group even when the child itself has left: the user's code may have started others
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._scratch.cleanup()
        for stream in (self._process.stdin, self._process.stdout, self._selector, self._log):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()

    def _line(self, deadline: float) -> bytes:
        assert self._process.stdout is not None  # noqa: S101 - it is a PIPE
        while b"\n" not in self._pending:
            if len(self._pending) > MAX_LINE_BYTES:
                raise SourceLost("its process sent a line without end", self._where, self._last_words())
            if not self._selector.select(max(0.0, deadline - time.monotonic())):
                raise SourceLost(
                    f"it was not done within {self._timeout_s:g} s",
                    self._where,
                    "does it wait for something? else: --timeout",
                )
            chunk = os.read(self._process.stdout.fileno(), 1 << 16)
            if not chunk:
                raise self._lost()
            self._pending += chunk
        line, self._pending = self._pending.split(b"\n", 1)
        return line

    def _lost(self) -> SourceLost:
        fate, words = self._fate(), self._last_words()
        kills = self._oom_kills()
        if fate.endswith("SIGKILL") and None not in {kills, self._kills_before} and kills != self._kills_before:
            return OutOfMemory("the kernel ended its process, since memory ran out", self._where, MORE_MEMORY)
        # an allocation that fails in C++ ends in SIGABRT, with its last word on stderr
        if short_of_memory(RuntimeError(words)):
            return OutOfMemory(f"{fate}, since memory ran out", self._where, f"{MORE_MEMORY}; {words}")
        return SourceLost(fate, self._where, words)

    def _fate(self) -> str:
        try:
            status = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return "its process closed its output"
        if status >= 0:
            return f"its process ended with exit code {status}"
        return f"its process was ended by {signal.Signals(-status).name}"

    def _last_words(self) -> str:
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - TAIL_BYTES))
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        if not lines:
            if (self._process.poll() or 0) >= 0:
                return "it left without a word: look for os._exit, in the module or in a library that it uses"
            return "it said nothing on stderr; see: dmesg"
        return f"its last words: {' | '.join(lines[-WORDS_SHOWN:])}"
