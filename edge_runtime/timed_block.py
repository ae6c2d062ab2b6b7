"""What the worker does to time a block: evidence, block, evidence, by the scenario that its job asks for."""

import ctypes
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from edge_runtime import arrivals, sensors
from edge_runtime.environment import Conditions, conditions, spent
from edge_runtime.errors import TimedOut
from edge_runtime.spin_probe import spin_ns
from edge_runtime.timing import Block, BlockPlan, SlicedBlock, Step, take_block


def timed_block(steps: Sequence[Step], job: Mapping[str, Any]) -> dict[str, Any]:
    """Time a block as the job's scenario asks; return the event that tells it.

    steps: take turns.   job: as the worker reads it. Raises what the steps raise, and TimedOut when fewer workers come
    to a common start than the job says.
    """
    cpus, plan = tuple(job["cpus"]), BlockPlan(**job["block"])
    scenario, barrier = job.get("scenario", {}), job.get("barrier")
    faults, rate_per_s = 0, None

    def ready() -> None:
        """Count from here what the block waits for: a warm-up may read its code from disk."""
        nonlocal faults
        if barrier is not None:
            _wait_for_all(**barrier)
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_majflt

    probe_before_ns, before = spin_ns(), conditions(cpus)
    if scenario.get("rate_per_s") is not None:
        block = arrivals.take_periodic(steps, plan, scenario["rate_per_s"], ready=ready)
    elif scenario.get("target_ns") is not None:
        served = arrivals.find_rate(steps, plan, scenario["target_ns"], scenario["seed"], ready=ready)
        block, rate_per_s = served.block, served.rate_per_s
    else:
        # one of several at once would go on alone
        block = take_block(steps, plan, ready=ready, extend=barrier is None)
    after, probe_after_ns = conditions(cpus), spin_ns()
    if before.major_faults is not None:
        before = replace(before, major_faults=faults)
    return {
        **_event(block, (before, after), (probe_before_ns, probe_after_ns)),
        "rate_per_s": rate_per_s,
        "proportional_bytes": sensors.memory().proportional if barrier else None,
    }


def timed_slices(
    steps: Sequence[Step], job: Mapping[str, Any], asked: Callable[[], object]
) -> Iterator[dict[str, Any]]:
    """Time a block piece by piece, and yield the events: ready, one slice after another, timing.

    asked: waits until the next is asked for. Between the pieces other contenders are timed on the same CPUs, and this
    process is stopped from outside. What is told of the machine is of the pieces alone.
    """
    _die_with_parent()
    cpus, plan = tuple(job["cpus"]), BlockPlan(**job["block"])
    probe_before_ns, sliced, readings = spin_ns(), SlicedBlock(steps, plan), []
    yield {"event": "ready"}
    for _ in range(plan.slices):
        asked()
        before = conditions(cpus)
        sliced.take_slice()
        readings.append((before, conditions(cpus)))
        yield {"event": "slice"}
    asked()  # the others are done with their last pieces too
    yield {
        **_event(sliced.block(), spent(readings), (probe_before_ns, spin_ns())),
        "rate_per_s": None,
        "proportional_bytes": None,
    }


def _event(block: Block, around: tuple[Conditions, Conditions], probes_ns: tuple[int, int]) -> dict[str, Any]:
    return {
        "event": "timing",
        "probe_before_ns": probes_ns[0],
        "probe_after_ns": probes_ns[1],
        "warmup_ns": block.warmup_ns,
        "block_ns": block.block_ns,
        "calls_per_sample": block.calls_per_sample,
        "slices": block.slices,
        "environment": {"before": asdict(around[0]), "after": asdict(around[1])},
    }


def _die_with_parent() -> None:
    """Ask the kernel to end this process with its parent: while it is stopped it can't see its stdin end.

    Source: prctl(2), PR_SET_PDEATHSIG.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def _wait_for_all(folder: str, count: int, timeout_s: float) -> None:
    """Wait until `count` workers have come here: each leaves a file, and looks for the others'."""
    Path(folder, str(os.getpid())).touch()
    deadline = time.monotonic() + timeout_s
    while len(os.listdir(folder)) < count:  # noqa: PTH208 - names alone, and nothing slower right before a block
        if time.monotonic() > deadline:
            raise TimedOut(f"fewer than {count} workers came to the start", "worker", "one of them died or hangs")
        time.sleep(0.001)
