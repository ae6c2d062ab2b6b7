"""What the worker does for a profile: the same call once without onnxruntime's profiler and once with it.

The profiler writes from a session's first run on and can't be paused, so its file begins with the warm-up.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_runtime.artifact import Artifact
from edge_runtime.errors import UsageError
from edge_runtime.peaks import measure_peaks

if TYPE_CHECKING:
    from edge_runtime.npz import Array

WARMUP_RUNS = 5  # the machine is warm from the launch's own block; these fill the new session's arena
MIN_RUNS = 20  # below, a median is hardly one
MAX_PLANNED_EVENTS = 20_000  # about 20 MB of JSON; a board has to read it


def profiled(artifact: Artifact, inputs: "Mapping[str, Array]", job: Mapping[str, Any]) -> dict[str, Any]:
    """Run a variant under onnxruntime's profiler; return the event that names its two files.

    job: as the worker reads it, with "folder" for the files, "runs" (or None) and "profile_s".
    The first file has one run without prepacked weights, for the shapes; the second the runs for the times.
    """
    from edge_runtime.session import open_model  # noqa: PLC0415 - a worker imports its engine in its own phase

    folder, variant = Path(job["folder"]), artifact.variant(job["variant"])
    path, where = artifact.model_path(variant), f"{artifact.path} ({variant.name})"
    session = open_model(path, threads=job["threads"], where=where, profile_prefix=folder / "shapes", prepack=False)
    _call(session, inputs)()
    shapes = Path(session.end_profiling())
    with shapes.open("rb") as stream:
        events_a_run = sum(1 for _ in stream)

    session = open_model(path, threads=job["threads"], where=where, profile_prefix=folder / "times")
    call = _call(session, inputs)
    warmup = [_time(call) for _ in range(WARMUP_RUNS)]
    runs = _planned(job["runs"], job["profile_s"], min(warmup), events_a_run, where)
    times = [_time(call) for _ in range(runs)]
    times_file = Path(session.end_profiling())
    return {
        "event": "profile",
        "shapes": shapes.name,
        "times": times_file.name,
        "warmup": WARMUP_RUNS,
        "run_ns": times,
    }


def peaks_event(job: Mapping[str, Any]) -> dict[str, Any]:
    """Measure this machine's peaks; return the event that tells them."""
    return {"event": "peaks", "peaks": asdict(measure_peaks(job["threads"]))}


def _planned(wanted: int | None, seconds: float, run_ns: int, events_a_run: int, where: str) -> int:
    most = max(1, MAX_PLANNED_EVENTS // events_a_run)
    if wanted is not None:
        if wanted > most:
            raise UsageError(
                f"{wanted} runs of {events_a_run} events are more than a profile holds",
                where,
                f"ask for at most {most} runs",
            )
        return wanted
    return min(max(MIN_RUNS, round(seconds * 1e9 / max(1, run_ns))), most)


def _call(session: Any, inputs: "Mapping[str, Array]") -> Callable[[], object]:  # noqa: ANN401 - onnxruntime has no types
    """Return one bound call; it differs from `BoundCall` by a microsecond of run options, which no kernel sees."""
    binding = session.io_binding()
    for name, array in inputs.items():
        binding.bind_cpu_input(name, array)
    for output in session.get_outputs():
        binding.bind_output(output.name)
    return lambda: session.run_with_iobinding(binding)


def _time(call: Callable[[], object]) -> int:
    begin = time.perf_counter_ns()
    call()
    return time.perf_counter_ns() - begin
