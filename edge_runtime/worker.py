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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from edge_runtime import sensors
from edge_runtime.artifact import Artifact, open_artifact
from edge_runtime.contender import Configured, Contender, Job, Step
from edge_runtime.decode import finite
from edge_runtime.errors import (
    EdgeError,
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
    from edge_runtime.tolerance import Difference

PROTOCOL = 1
MAX_JOB_BYTES = 1 << 20
ONE: Mapping[str, int] = MappingProxyType({"count": 1})
IN_TURNS = ("time", "energy", "sustained")  # jobs in which inputs take turns
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
        # what comes after the job: a line for each step that this worker waits for
        lines: SimpleQueue[None] = SimpleQueue()
        threading.Thread(target=_leave_when_alone, args=(lines,), daemon=True).start()
        _run(job, started_ns, send, lines.get)
    except EdgeError as error:
        send(to_document(error))
        return error.exit_code
    except (MemoryError, ImportError, RuntimeError, SystemError) as problem:
        if not short_of_memory(problem):
            raise
        send(to_document(out_of_memory(problem, "worker")))
        return UnsupportedSystem.exit_code
    return 0


def _run(job: dict[str, Any], started_ns: int, send: Send, asked: Callable[[], object]) -> None:
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
    step, phases["first"] = _timed(lambda: _first_call(contender, inputs[0]))
    points["first"] = sensors.memory()
    told = contender.configuration() if isinstance(contender, Configured) else {}
    loaded = {"engine": engine, "phases_ns": phases, "configuration": dict(told), "inputs": len(inputs)}
    send({"event": "loaded", **loaded})
    if job["kind"] in STARTS:
        tell_files(artifact)
        send({"event": "end"})
        return
    steps = (step, *(contender.prepare(one) for one in inputs[1:]))
    if job["kind"] == "memory":
        # before the golden cases, whose other sizes would grow arenas that the measured input never needs
        for _ in range(STEADY_CALLS):
            step()
        points["steady"] = sensors.memory()
    # read one by one, so that none stands in memory while it is measured
    cases = artifact.golden(artifact.variant(job["variant"]))
    sizes = {name: array.shape for name, array in inputs[0].items()}
    cases = _of_sizes(cases, sizes) if getattr(contender, "fixed_sizes", False) else cases
    if _answers_agree(contender, cases, send):  # else never timed
        for event in _events(steps, job, points, asked, resettable=resettable):
            send(event)
        if job["kind"] == "profile":
            from edge_runtime import kernel_runs  # noqa: PLC0415 - as above

            del step, steps, contender  # its threads and memory must not stand beside the profiled session's
            send(kernel_runs.profiled(artifact, inputs[0], job))
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


def _load_inputs(artifact: Artifact, job: dict[str, Any]) -> "tuple[Mapping[str, Array], ...]":
    """Return the inputs that take turns; one alone where memory, a start or kernels are looked at."""
    from edge_runtime.timed_inputs import timed_inputs  # noqa: PLC0415 - numpy's import belongs to the phase "import"

    given = None if job["inputs"] is None else Path(job["inputs"])
    turns = job.get("turns", ONE) if job["kind"] in IN_TURNS else ONE
    variant = job["variant"]
    if job.get("timed") is not None:  # another artifact's cases, so that all in the run are timed on the same
        artifact, variant = open_artifact(job["timed"]), "auto"
    return timed_inputs(artifact, variant, given, batch=job.get("batch"), **turns)


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
    steps: Sequence[Step],
    job: dict[str, Any],
    points: Mapping[str, sensors.Memory],
    asked: Callable[[], object],
    *,
    resettable: bool,
) -> Iterator[dict[str, Any]]:
    """Do what this kind of job is for, and yield what there is to tell of it."""
    if job["kind"] == "memory":
        yield _memory_event(points, resettable=resettable)
    elif job["kind"] == "energy":
        from edge_runtime import energy  # noqa: PLC0415 - keep the other launches smaller

        yield {"event": "energy", **energy.of_calls(steps, Tree(Path(job["root"])), job["energy_s"])}
    elif job["kind"] == "sustained":
        from edge_runtime import sustaining  # noqa: PLC0415 - as above

        _keep_collector_out()
        yield from ({"event": "window", **asdict(window)} for window in sustaining.of_job(steps, job))
    else:
        from edge_runtime.timed_block import timed_block, timed_slices  # noqa: PLC0415 - as above

        _keep_collector_out()
        if job.get("lockstep"):
            yield from timed_slices(steps, job, asked)
        else:
            yield timed_block(steps, job)


def _keep_collector_out() -> None:
    gc.collect()
    gc.freeze()
    gc.disable()  # a collection inside a sample would be charged to whoever happens to be running


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


def _leave_when_alone(lines: "SimpleQueue[None]") -> None:
    while told := os.read(0, 4096):
        for _ in range(told.count(b"\n")):
            lines.put(None)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
