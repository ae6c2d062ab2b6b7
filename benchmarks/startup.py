"""How long the command line takes to start, beside `python -c pass`, in turning order.

Each round starts every command once in a fresh process; the ratio is computed round by round. Run by
`make benchmark`.
"""

import subprocess
import sys
import time

from edge_runtime.console import table
from edge_runtime.rounds import turning_order
from edge_runtime.stats import launch_interval, paired_ratio
from edge_runtime.units import duration

ROUNDS = 20
COMMANDS = {
    "python -c pass": ("-c", "pass"),
    "edge --version": ("-m", "edge_runtime", "--version"),
    "edge --help": ("-m", "edge_runtime", "--help"),
    "edge run --help": ("-m", "edge_runtime", "run", "--help"),
    "import numpy, onnxruntime": ("-c", "import numpy, onnxruntime"),
}


def main() -> None:
    """Measure and print the table."""
    names = list(COMMANDS)
    times_ns: dict[str, list[float]] = {name: [] for name in names}
    for command in COMMANDS.values():
        launch_ns(command)  # fills the page cache and writes the bytecode once
    for index in range(ROUNDS):
        for place in turning_order(len(names), index):
            times_ns[names[place]].append(launch_ns(COMMANDS[names[place]]))
    rows = [("command", "time", "95 % interval", "of python -c pass", "95 % interval")]
    for name in names:
        taken, ratio = launch_interval(times_ns[name]), paired_ratio(times_ns[name], times_ns[names[0]])
        rows.append(
            (
                name,
                duration(taken.estimate),
                f"{duration(taken.low or 0)} to {duration(taken.high or 0)}",
                f"{ratio.estimate:.2f}x",
                f"{ratio.low:.2f} to {ratio.high:.2f}",
            )
        )
    print(table(rows, "<>>>>"))


def launch_ns(arguments: tuple[str, ...]) -> int:
    """Return how long a fresh interpreter takes with these arguments."""
    begin = time.perf_counter_ns()
    subprocess.run((sys.executable, *arguments), check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter_ns() - begin


if __name__ == "__main__":
    main()
