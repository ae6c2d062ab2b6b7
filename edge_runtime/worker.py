"""What runs in a worker process: one launch of one contender, told as JSON lines.

The job is one JSON line on stdin; stdin then stays open, and its end means that nobody waits for the answer any
more: the worker leaves. Answers are one JSON object a line on stdout: hello, loaded, answers, then timing, memory,
energy or the windows of a sustained run, then end; to a job of the kind "warm" or "start" hello, loaded and end alone,
to "files" also the files that were read. An error is the ``edge-error`` document, as the last line. What the engine
prints goes to stderr.
"""

import gc
import importlib
import importlib.util
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from edge_runtime import sensors
from edge_runtime.artifact import Artifact, open_artifact
from edge_runtime.contender import Configured, Contender, Job, Step
from edge_runtime.decode import finite
from edge_runtime.environment import conditions
from edge_runtime.errors import (
    EdgeError,
    TimedOut,
    UnsupportedModel,
    UnsupportedSystem,
    UsageError,
    out_of_memory,
    short_of_memory,
    to_document,
)
from edge_runtime.tree import Tree

if TYPE_CHECKING:
    from edge_runtime.artifact import OpenedCase
    from edge_runtime.npz import Array
    from edge_runtime.timing import Block, BlockPlan
    from edge_runtime.tolerance import Difference

PROTOCOL = 1
MAX_JOB_BYTES = 1 << 20
STEADY_CALLS = 30  # after which memory is called steady: arenas have grown by then (harness practice, 30 runs)

# jobs that end with the first answer: a start to be timed, one that tells its files, and one that leaves behind what a
# first start leaves (a graph optimised, compiled, converted)
STARTS = ("start", "files", "warm")

T = TypeVar("T")
Send = Callable[[Mapping[str, Any]], None]


def main() -> int:
    """Read the job, do it, answer; return the exit code."""
    started_ns = time.perf_counter_ns()
    send = _private_stdout()
    try:
        job = json.loads(sys.stdin.buffer.readline(MAX_JOB_BYTES))
        threading.Thread(target=_leave_when_alone, daemon=True).start()
        _run(job, started_ns, send)
    except EdgeError as error:
        send(to_document(error))
        return error.exit_code
    except (MemoryError, ImportError, RuntimeError, SystemError) as problem:
        if not short_of_memory(problem):
            raise
        send(to_document(out_of_memory(problem, "worker")))
        return UnsupportedSystem.exit_code
    return 0


def _run(job: dict[str, Any], started_ns: int, send: Send) -> None:
    if job["cpus"] and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, job["cpus"])  # before any import: thread pools copy the mask when they start
    send({"event": "hello", "protocol": PROTOCOL, "pid": os.getpid()})
    if job["kind"] == "peaks":
        from edge_runtime import kernel_runs  # noqa: PLC0415 - keep the other launches smaller

        send(kernel_runs.peaks_event(job))
        send({"event": "end"})
        return
    tell_files = _watching(job, send)
    contender = _open(
        job["contender"],
        Job(
            artifact=Path(job["artifact"]),
            variant=job["variant"],
            threads=job["threads"],
            options=job["options"],
        ),
    )
    phases = {"spawn": started_ns - job["spawned_ns"]}
    engine, phases["import"] = _timed(contender.import_engine)
    artifact = open_artifact(job["artifact"])
    inputs = _load_inputs(artifact, job)
    points = {"base": sensors.memory()}
    resettable = sensors.reset_peak()
    _, phases["load"] = _timed(contender.load)
    points["loaded"] = sensors.memory()
    sensors.reset_peak()
    step, phases["first"] = _timed(lambda: _first_call(contender, inputs))
    points["first"] = sensors.memory()
    told = contender.configuration() if isinstance(contender, Configured) else {}
    send({"event": "loaded", "engine": engine, "phases_ns": phases, "configuration": dict(told)})
    if job["kind"] in STARTS:
        tell_files(artifact)
        send({"event": "end"})
        return
    if job["kind"] == "memory":
        # before the golden cases, whose other sizes would grow arenas that the measured input never needs
        for _ in range(STEADY_CALLS):
            step()
        points["steady"] = sensors.memory()
    # read one by one, so that none stands in memory while it is measured
    cases = artifact.golden(artifact.variant(job["variant"]))
    only = {name: array.shape for name, array in inputs.items()} if getattr(contender, "fixed_sizes", False) else None
    if _answers_agree(contender, cases if only is None else _of_sizes(cases, only), send):  # else never timed
        for event in _events(step, job, points, resettable=resettable):
            send(event)
        if job["kind"] == "profile":
            from edge_runtime import kernel_runs  # noqa: PLC0415 - as above

            del step, contender  # its threads and memory must not stand beside the profiled session's
            send(kernel_runs.profiled(artifact, inputs, job))
    send({"event": "end"})


def _watching(job: dict[str, Any], send: Send) -> Callable[[Artifact], None]:
    """Return what is called when the first answer is there: for the job "files" it tells what was read from now on."""
    if job["kind"] != "files":
        return lambda _: None
    from edge_runtime.touched_files import TouchedFiles  # noqa: PLC0415 - no timed start may pay for its hook

    touched = TouchedFiles()
    return lambda artifact: send(touched.event(artifact, job))


def _first_call(contender: Contender, inputs: "Mapping[str, Array]") -> Step:
    step = contender.prepare(inputs)
    step()
    return step


def _load_inputs(artifact: Artifact, job: dict[str, Any]) -> "Mapping[str, Array]":
    from edge_runtime import npz  # noqa: PLC0415 - numpy's import belongs to the phase "import"

    if job["inputs"] is not None:
        inputs: Mapping[str, Array] = npz.read(Path(job["inputs"]))
    else:
        case = next(artifact.golden(artifact.variant(job["variant"])), None)
        if case is None:
            raise UsageError("the artifact has no golden case", job["artifact"], "give inputs with --input")
        inputs = case.inputs
    return inputs if job.get("batch") is None else _batched(inputs, job["batch"])


def _batched(inputs: "Mapping[str, Array]", size: int) -> "Mapping[str, Array]":
    """Return inputs of another batch size: their first dimension's samples, over and over."""
    import numpy as np  # noqa: PLC0415 - as above

    return {name: np.take(array, np.arange(size) % len(array), axis=0) for name, array in inputs.items()}


def _answers_agree(contender: Contender, cases: "Iterator[OpenedCase]", send: Send) -> bool:
    """Run every golden case, report the worst difference, return whether all are within tolerance.

    Whichever inputs are timed: right on the golden cases is what makes a time worth telling.
    """
    from edge_runtime.tolerance import compare, compare_coarsely  # noqa: PLC0415 - numpy's import belongs to "import"

    least_snr_db = getattr(contender, "least_snr_db", None)
    judge = compare if least_snr_db is None else partial(compare_coarsely, least_snr_db=least_snr_db)
    worst: tuple[Difference, str] | None = None
    for case in cases:
        answers = contender.answers(contender.prepare(case.inputs)())
        for name, wanted in case.outputs.items():
            difference = judge(answers[name], wanted, case.tolerance[name])
            if worst is None or difference.ratio > worst[0].ratio:
                worst = difference, f"output {name} of golden case {case.name}"
    if worst is None:
        send({"event": "answers", "agree": None, "max_abs": None, "max_rel": None, "problem": ""})
        return True
    difference, place = worst
    problem = "" if difference.ok else f"{place} {difference.problem or f'is off by {difference.max_abs:.3g}'}"
    send(
        {
            "event": "answers",
            "agree": difference.ok,
            "max_abs": finite(difference.max_abs),
            "max_rel": finite(difference.max_rel),
            "problem": problem,
        }
    )
    return difference.ok


def _of_sizes(cases: "Iterator[OpenedCase]", sizes: Mapping[str, tuple[int, ...]]) -> "Iterator[OpenedCase]":
    """Return the cases of these sizes, for a contender that made its program for them; raise where there is none."""
    found = False
    for case in cases:
        if {name: array.shape for name, array in case.inputs.items()} == sizes:
            found = True
            yield case
    if not found:
        raise UnsupportedModel(
            "its program is for fixed sizes, and no golden case has those that are timed",
            "worker",
            "time a golden case, or export one of these sizes (--data)",
        )


def _events(
    step: Step, job: dict[str, Any], points: Mapping[str, sensors.Memory], *, resettable: bool
) -> Iterator[dict[str, Any]]:
    """Do what this kind of job is for, and yield what there is to tell of it."""
    if job["kind"] == "memory":
        yield _memory_event(points, resettable=resettable)
    elif job["kind"] == "energy":
        from edge_runtime import energy  # noqa: PLC0415 - keep the other launches smaller

        yield {"event": "energy", **energy.of_calls(step, Tree(Path(job["root"])), job["energy_s"])}
    elif job["kind"] == "sustained":
        from edge_runtime import sustaining  # noqa: PLC0415 - as above

        _keep_collector_out()
        yield from ({"event": "window", **asdict(window)} for window in sustaining.of_job(step, job))
    else:
        yield _timing_event(step, job)


def _keep_collector_out() -> None:
    gc.collect()
    gc.freeze()
    gc.disable()  # a collection inside a sample would be charged to whoever happens to be running


def _timing_event(step: Step, job: dict[str, Any]) -> dict[str, Any]:
    from edge_runtime.spin_probe import spin_ns  # noqa: PLC0415 - keep the memory launches smaller
    from edge_runtime.timing import BlockPlan  # noqa: PLC0415 - as above

    cpus = tuple(job["cpus"])
    _keep_collector_out()
    probe_before_ns, before = spin_ns(), conditions(cpus)
    block, rate_per_s = _block(step, BlockPlan(**job["block"]), job)
    after, probe_after_ns = conditions(cpus), spin_ns()
    return {
        "event": "timing",
        "probe_before_ns": probe_before_ns,
        "probe_after_ns": probe_after_ns,
        "rate_per_s": rate_per_s,
        "proportional_bytes": sensors.memory().proportional if job.get("barrier") else None,
        "warmup_ns": block.warmup_ns,
        "block_ns": block.block_ns,
        "calls_per_sample": block.calls_per_sample,
        "environment": {"before": asdict(before), "after": asdict(after)},
    }


def _block(step: Step, plan: "BlockPlan", job: dict[str, Any]) -> "tuple[Block, float | None]":
    """Time a block as the job's scenario asks; with the rate that was found, in the scenario server."""
    from edge_runtime.timing import take_block  # noqa: PLC0415 - as above

    scenario = job.get("scenario", {})
    if scenario.get("rate_per_s") is not None:
        from edge_runtime import arrivals  # noqa: PLC0415 - as above

        return arrivals.take_periodic(step, plan, scenario["rate_per_s"]), None
    if scenario.get("target_ns") is not None:
        from edge_runtime import arrivals  # noqa: PLC0415 - as above

        served = arrivals.find_rate(step, plan, scenario["target_ns"], scenario["seed"])
        return served.block, served.rate_per_s
    barrier = job.get("barrier")
    return take_block(step, plan, ready=lambda: None if barrier is None else _wait_for_all(**barrier)), None


def _wait_for_all(folder: str, count: int, timeout_s: float) -> None:
    """Wait until `count` workers have come here: each leaves a file, and looks for the others'."""
    Path(folder, str(os.getpid())).touch()
    deadline = time.monotonic() + timeout_s
    while len(os.listdir(folder)) < count:  # noqa: PTH208 - names alone, and nothing slower right before a block
        if time.monotonic() > deadline:
            raise TimedOut(f"fewer than {count} workers came to the start", "worker", "one of them died or hangs")
        time.sleep(0.001)


def _memory_event(points: Mapping[str, sensors.Memory], *, resettable: bool) -> dict[str, Any]:
    base = points["base"].resident if resettable else None
    return {
        "event": "memory",
        "points": {name: asdict(point) for name, point in points.items()},
        "load_peak_bytes": _above(base, points["loaded"].peak),
        "run_peak_bytes": _above(base, points["steady"].peak),
    }


def _above(base: int | None, peak: int | None) -> int | None:
    # without a reset of the peak it is the whole process's, and saying it of one phase would be wrong
    return None if base is None or peak is None else max(0, peak - base)


def _open(reference: str, job: Job) -> Contender:
    """Load ``module:factory`` or ``/path/file.py:factory`` and call it with the job."""
    place, _, factory = reference.rpartition(":")
    if place.endswith(".py"):
        spec = importlib.util.spec_from_file_location("contender_under_test", place)
        if spec is None or spec.loader is None:
            raise UsageError(f"no contender at {place}", "worker", "give FILE.py:factory")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    else:
        module = importlib.import_module(place)
    opened: Contender = getattr(module, factory)(job)
    return opened


def _timed(call: Callable[[], T]) -> tuple[T, int]:
    begin = time.perf_counter_ns()
    value = call()
    return value, time.perf_counter_ns() - begin


def _private_stdout() -> Send:
    """Keep stdout for the protocol alone: file descriptor 1 becomes stderr for everyone else, C code included."""
    sys.stdout.flush()
    private = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def send(message: Mapping[str, Any]) -> None:
        private.write(json.dumps(message, allow_nan=False) + "\n")
        private.flush()

    return send


def _leave_when_alone() -> None:
    while os.read(0, 4096):
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
