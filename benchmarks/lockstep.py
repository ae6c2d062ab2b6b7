"""Short blocks of calls in turn, in processes that stay: for ratios of latencies on a machine that changes its speed.

A fresh launch takes a second, and a neighbour on the same core comes and goes within one. So all contenders of a
generation are started once, each in a process of its own, which then waits at its stdin: one runs, the others sleep.
A round is one block of each, some tenths of a second in all. Whatever a process is given for its life, such as the
places of its pages, differs between generations: they are the unit of the intervals.

As a program this is the worker: one job on stdin as a JSON line, then a line for each block.
"""

import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from benchmarks import contenders
from edge_runtime.artifact import open_artifact
from edge_runtime.contender import Contender, Job
from edge_runtime.environment import available_cpus
from edge_runtime.rounds import turning_order
from edge_runtime.stats import percentile
from edge_runtime.timing import BlockPlan, take_block

Blocks = list[list[int]]  # nanoseconds a call: one list a generation, in it one value a round


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often: processes are started `generations` times, and each does `rounds` blocks."""

    generations: int
    rounds: int
    block: BlockPlan
    threads: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """One contender: the factory in `contenders`, the artifact's folder, and its options."""

    factory: str
    artifact: Path
    options: Mapping[str, str] = field(default_factory=dict)


def in_lockstep(
    runners: Mapping[str, Runner],
    pace: Pace,
    environment: Mapping[str, str],
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, Blocks]:
    """Return the p50 of every block by runner, on as many CPUs as threads.

    Raises CalledProcessError when a worker fails: it answered wrongly, or can't run.
    """
    names = list(runners)
    found: dict[str, Blocks] = {name: [] for name in names}
    for generation in range(pace.generations):
        progress(f"starting {len(names)} contenders, {generation + 1} of {pace.generations}")
        with ExitStack() as alive:
            # one after the other, so that none is started while another is still busy
            workers = {name: alive.enter_context(_Worker(runners[name], pace, environment)) for name in names}
            for blocks in found.values():
                blocks.append([])
            for index in range(pace.rounds):
                progress(f"round {index + 1} of {pace.rounds}, processes {generation + 1} of {pace.generations}")
                for place in turning_order(len(names), index):
                    found[names[place]][generation].append(workers[names[place]].block_ns())
    return found


class _Worker:
    """The process of one runner, asleep until it is asked for a block."""

    def __init__(self, runner: Runner, pace: Pace, environment: Mapping[str, str]) -> None:
        argv = (sys.executable, "-m", "benchmarks.lockstep")
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**environment, "ORT_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": str(pace.threads)},
            text=True,
        )
        job = {**asdict(runner), "artifact": str(runner.artifact), "pace": asdict(pace)}
        self._asked(json.dumps(job))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def block_ns(self) -> int:
        """Let it run one block; return the block's p50."""
        return int(self._asked("block"))

    def _asked(self, line: str) -> str:
        assert self._process.stdin is not None and self._process.stdout is not None  # noqa: S101, PT018 - both are PIPE
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise subprocess.CalledProcessError(self._process.wait(), str(self._process.args))
        return answer


def serve() -> None:
    """Load one contender, hold its answers against the golden cases, then time a block for each line on stdin."""
    job = json.loads(sys.stdin.readline())
    threads = job["pace"]["threads"]
    os.sched_setaffinity(
        0, available_cpus()[-threads:]
    )  # before any import: thread pools copy the mask when they start
    contender: Contender = getattr(contenders, job["factory"])(
        Job(artifact=Path(job["artifact"]), variant="auto", threads=threads, options=job["options"])
    )
    contender.import_engine()
    contender.load()
    _refuse_wrong(contender, Path(job["artifact"]))
    artifact = open_artifact(job["artifact"])
    step = contender.prepare(next(artifact.golden(artifact.variant())).inputs)
    plan = BlockPlan(**job["pace"]["block"])
    gc.collect()
    gc.freeze()
    gc.disable()
    print("ready", flush=True)
    for _ in sys.stdin:
        print(percentile(take_block([step], plan).block_ns, 50), flush=True)


def _refuse_wrong(contender: Contender, path: Path) -> None:
    from edge_runtime.tolerance import compare  # noqa: PLC0415 - the parent needs no numpy for it

    artifact = open_artifact(path)
    for case in artifact.golden(artifact.variant()):
        answers = contender.answers(contender.prepare(case.inputs)())
        for name, wanted in case.outputs.items():
            difference = compare(answers[name], wanted, case.tolerance[name])
            if not difference.ok:
                raise SystemExit(f"output {name} of golden case {case.name} is wrong: {difference}")


if __name__ == "__main__":
    serve()
