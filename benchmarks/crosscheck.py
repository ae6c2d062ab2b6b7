"""Do our times agree with a measuring program that is not ours? ``make cross-check``, with Debian's hyperfine.

hyperfine times scripts that make N and 2 N calls; what starting and loading cost is in both, so the slope,
(mean of 2 N - mean of N) / N, is the mean time of a call. Ours is the mean of `edge measure`. Both take turns, so that
a machine that drifts treats them alike; the means must agree within 3 %.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from benchmarks import models
from edge_runtime import summary
from edge_runtime.artifact import Artifact, open_artifact
from edge_runtime.errors import EdgeError, UnsupportedSystem
from edge_runtime.launch import own_command
from edge_runtime.rounds import Plan, measure_artifact
from edge_runtime.stats import Interval, launch_interval
from edge_runtime.units import duration

TURNS, CALLS, RUNS = 6, 4000, 3
AGREE_WITHIN = 0.03
CALL = "import sys; from benchmarks.crosscheck import call; call(sys.argv[1], int(sys.argv[2]))"


def call(path: str, count: int) -> None:
    """Make so many bound calls of an artifact's first golden case, one thread on the CPU that `edge measure` uses."""
    import os  # noqa: PLC0415 - what the timed script needs, and no more of this module

    from edge_runtime.environment import available_cpus  # noqa: PLC0415 - as above
    from edge_runtime.model import load  # noqa: PLC0415 - as above

    os.sched_setaffinity(0, available_cpus()[-1:])
    with load(path, threads=1) as model:
        case = next(model.artifact.golden(model.variant))
        step = model.bind(**case.inputs)
        for _ in range(count):
            step()


def slope_ns(hyperfine: str, artifact: Artifact, calls: int) -> float:
    """Return hyperfine's mean time of a call, in nanoseconds."""
    command = own_command()
    with tempfile.TemporaryDirectory(prefix="edge-cross-") as folder:
        answer = Path(folder, "hyperfine.json")
        scripts = [f"{sys.executable} -c '{CALL}' {artifact.path} {count}" for count in (calls, 2 * calls)]
        flags = ("--shell=none", "--warmup=1", f"--runs={RUNS}", "--style=none", f"--export-json={answer}")
        subprocess.run(
            (hyperfine, *flags, *scripts),
            env=dict(command.environment),
            stderr=subprocess.DEVNULL,
            check=True,
            timeout=600,
        )
        once, twice = json.loads(answer.read_text())["results"]
    return float(twice["mean"] - once["mean"]) / calls * 1e9


def own_ns(artifact: Artifact) -> float:
    """Return our mean time of a call, in nanoseconds, from one launch."""
    record = measure_artifact(artifact, "auto", plan=Plan(rounds=1))
    latency = summary.standings(record)[0].latency
    assert latency is not None  # noqa: S101 - one valid launch has a latency
    return latency.mean.estimate


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Interval:
    """Return our mean over theirs, turn by turn."""
    return launch_interval([own / other for own, other in zip(ours, theirs, strict=True)])


def main(argv: Sequence[str] | None = None) -> int:
    """Measure in turns, print both means and their ratio; 1 when they don't agree."""
    parser = argparse.ArgumentParser(prog="make cross-check", description=__doc__)
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("--calls", type=int, default=CALLS)
    options = parser.parse_args(argv)
    hyperfine = shutil.which("hyperfine")
    if hyperfine is None:
        raise UnsupportedSystem("hyperfine is not installed", "cross-check", "sudo apt-get install hyperfine")
    ours: list[float] = []
    theirs: list[float] = []
    with tempfile.TemporaryDirectory(prefix="edge-cross-") as folder:
        models.write_stack(Path(folder))
        artifact = open_artifact(Path(folder, models.STACK))
        for turn in range(options.turns):
            if turn % 2:
                theirs.append(slope_ns(hyperfine, artifact, options.calls))
            ours.append(own_ns(artifact))
            if not turn % 2:
                theirs.append(slope_ns(hyperfine, artifact, options.calls))
    found = ratio(ours, theirs)
    limits = "" if found.low is None else f" (95 % interval {found.low:.3f} to {found.high:.3f})"
    sys.stdout.write(
        f"edge measure {duration(fmean(ours))}, hyperfine's slope {duration(fmean(theirs))}, "
        f"ratio {found.estimate:.3f}{limits}\n"
    )
    return 0 if abs(found.estimate - 1) <= AGREE_WITHIN else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except EdgeError as error:
        sys.exit(f"cross-check: {error}")
