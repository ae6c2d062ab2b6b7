"""A profile as a file that Perfetto (ui.perfetto.dev) and chrome://tracing open.

Source: Trace Event Format, docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU: complete events
("X") with times in microseconds, and metadata ("M") that name the process and the thread.
"""

from typing import Any

from edge_runtime.profiling import Profile

PROCESS = THREAD = 1  # one model, and kernels one after the other


def trace_document(profile: Profile) -> dict[str, Any]:
    """Return the profiled runs as a trace: one slice a run, in it one a kernel, with the kernel's work as arguments."""
    work = {(share.name, share.operator): share for share in profile.nodes}
    title = f"{profile.artifact.name} ({profile.artifact.variant}), {profile.engine}, {profile.threads} threads"
    events = [_named("process_name", title), _named("thread_name", "kernels")]
    for run in profile.runs:
        # times are rounded down, so that the last kernel may seem to end after its run, and would be drawn beside it
        end = max([run.start_us + run.duration_us, *(one.start_us + one.duration_us for one in run.kernels)])
        events.append(_slice("model_run", "run", run.start_us, end - run.start_us, {}))
        for kernel in run.kernels:
            share = work[kernel.node.name, kernel.node.operator]
            arguments = {
                "operator": kernel.node.operator,
                "operations": share.work.operations,
                "bytes": share.work.bytes,
            }
            told = {key: value for key, value in arguments.items() if value is not None}
            events.append(_slice(kernel.node.name, kernel.node.operator, kernel.start_us, kernel.duration_us, told))
    return {"displayTimeUnit": "ns", "traceEvents": events}


def _slice(name: str, category: str, start_us: int, duration_us: int, arguments: dict[str, Any]) -> dict[str, Any]:
    return {
        "ph": "X",
        "name": name,
        "cat": category,
        "ts": start_us,
        "dur": duration_us,
        "pid": PROCESS,
        "tid": THREAD,
        "args": arguments,
    }


def _named(kind: str, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": PROCESS, "tid": THREAD, "args": {"name": name}}
