"""How long a command takes from its start to its first output, in turning order, each in a fresh process."""

import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from edge_runtime.rounds import turning_order

Command = tuple[str, ...]

# What one would write to see one answer: numpy and onnxruntime, no check of anything
BARE = """
import sys, numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
print(session.run(None, {"input": numpy.load(sys.argv[2])})[0].ravel()[:8], flush=True)
"""


def starts(artifact: Path, array: Path) -> dict[str, Command]:
    """Return the commands by name. array: a ``.npy`` of the model's input."""
    model = str(artifact / "fp32" / "model.onnx")
    return {
        "python -c pass": ("-c", "print()"),
        "edge --help": ("-m", "edge_runtime", "--help"),
        "edge info": ("-m", "edge_runtime", "info", str(artifact)),
        "edge run": ("-m", "edge_runtime", "run", str(artifact), "--input", f"input={array}"),
        "import edge_runtime": ("-c", "import edge_runtime; edge_runtime.load; print()"),
        "import numpy, onnxruntime": ("-c", "import numpy, onnxruntime; print()"),
        "bare script": ("-c", BARE, model, str(array)),
    }


def first_outputs(
    commands: Mapping[str, Command], rounds: int, environment: Mapping[str, str], progress: Callable[[str], None]
) -> dict[str, list[int]]:
    """Return nanoseconds by command, one a round; round r of all commands ran within seconds."""
    names = list(commands)
    for command in commands.values():
        _first_output_ns(command, environment)  # fills the page cache, writes the bytecode and the optimised graph
    times: dict[str, list[int]] = {name: [] for name in names}
    for index in range(rounds):
        progress(f"commands, round {index + 1} of {rounds}")
        for place in turning_order(len(names), index):
            times[names[place]].append(_first_output_ns(commands[names[place]], environment))
    return times


def _first_output_ns(arguments: Command, environment: Mapping[str, str]) -> int:
    begin = time.perf_counter_ns()
    with subprocess.Popen((sys.executable, *arguments), stdout=subprocess.PIPE, env=dict(environment)) as process:
        assert process.stdout is not None  # noqa: S101 - it is PIPE
        process.stdout.read(1)
        taken = time.perf_counter_ns() - begin
        process.stdout.read()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, arguments)
    return taken
