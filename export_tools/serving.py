"""What every child process of an export does: serve one JSON command a line until stdin ends.

`torch_worker` holds a PyTorch module so, `onnx_worker` an ONNX file. The first command is ``open``; errors are answered
as ``edge-error`` documents. One command is the same for all: ``reads`` writes what was read since the start. What is
opened may print, fork or hang: stdout is taken out of its reach at the level of file descriptors, and when stdin ends,
nobody waits any more and the whole group leaves.
"""

import contextlib
import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, Protocol

from edge_runtime.errors import EdgeError, to_document
from edge_runtime.files import write_whole
from export_tools.errors import needs_memory
from export_tools.reads import Reads

Tell = Callable[[Mapping[str, Any]], None]


class Held(Protocol):
    """What is held open: a method for each further command, and what it answers to the first."""

    def describe(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Answer what was opened."""


def serve(opening: Callable[[Mapping[str, Any], Tell], Held]) -> None:
    """Serve commands until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    commands: queue.SimpleQueue[str] = queue.SimpleQueue()
    # a duplicate, so that the user's code reading stdin gets its end and not our commands
    stream = os.fdopen(os.dup(0), encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    threading.Thread(target=_listen, args=(stream, commands), daemon=True).start()

    def tell(answer: Mapping[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError):
            answers.write(json.dumps(answer) + "\n")
            answers.flush()

    worker: Held | None = None
    reads = Reads()
    while True:
        command = json.loads(commands.get())
        try:
            if command["do"] == "open":
                worker = opening(command, tell)
                answer = worker.describe(command)
            elif command["do"] == "reads":
                told = {"files": reads.files, "folders": reads.folders, "network": reads.network}
                write_whole(Path(command["listing"]), json.dumps(told).encode())
                answer = {}
            else:
                assert worker is not None, "open comes first"  # noqa: S101 - our parent's order, not a user's
                answer = getattr(worker, command["do"])(command)
        except EdgeError as error:
            answer = to_document(error)
        except MemoryError as problem:  # of our own work on what was opened
            answer = to_document(needs_memory(f"to {command['do']} it", problem, "its process"))
        tell(answer)


def _listen(stream: IO[str], commands: "queue.SimpleQueue[str]") -> None:
    for line in stream:
        commands.put(line)
    # our parent is gone or done: whatever runs here, and whatever the user's code started, has lost its purpose
    os.killpg(0, signal.SIGKILL)
