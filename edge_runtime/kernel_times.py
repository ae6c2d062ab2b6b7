"""onnxruntime's own profile of its kernels, read strictly: JSON of another process to times by node.

The file is a list of trace events, one a line. A run of the model is the event ``model_run``; the kernels it called
stand before it, inside its time. A kernel of an operator with a body (If, Loop, Scan) contains those of the body, so
each node is given the time that none of its own kernels took: the nodes' times then add up.
Durations are whole microseconds, rounded down, and include what onnxruntime does to write the event.
Source: onnxruntime/core/framework/sequential_executor.cc (KernelScope), core/common/profiler.cc.
"""

import io
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_runtime import decode, files
from edge_runtime.errors import EdgeError, InputError
from edge_runtime.op_counts import Counts, Tensor, count

MAX_FILE_BYTES = 64 * 2**20  # 40,000 events, twice of what the worker plans for
MAX_EVENTS = 100_000
MAX_LINE_BYTES = 1 << 16
MAX_TENSORS = 1024  # of one node; a Concat of more is no model for a board
MAX_MICROSECONDS = 10**12  # eleven days
SUFFIX = "_kernel_time"
BODIED = frozenset({"If", "Loop", "Scan", "SequenceMap"})  # ONNX operators with graphs as attributes


class ProfileUnreadable(InputError):
    """A profile of onnxruntime is not in the form that its known versions write."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the graph as it runs, after fusing. depth: in how many bodies of If, Loop or Scan it stands."""

    name: str
    operator: str
    index: int
    depth: int


@dataclass(frozen=True, slots=True)
class Kernel:
    """One call of a node's kernel; microseconds since the session began. self_us: without the kernels inside it."""

    node: Node
    start_us: int
    duration_us: int
    self_us: int


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the model and the kernels it called, in order of time."""

    start_us: int
    duration_us: int
    kernels: tuple[Kernel, ...]


@dataclass(frozen=True, slots=True)
class _Event:
    category: str
    name: str
    start_us: int
    duration_us: int
    operator: str
    index: int
    counts: Counts | None


def read_runs(path: Path) -> tuple[Run, ...]:
    """Return the runs in a profile. Raises ProfileUnreadable for whatever is not one, within bounded memory."""
    return tuple(run for run, _ in _runs(_read(path, with_shapes=False), path))


def read_work(path: Path) -> dict[Node, Counts]:
    """Return the work of each node in a run, its calls added up; a node of unknown work has None in its counts.

    Take it from a session without prepacking: a packed weight has no shape in the profile.
    """
    work: dict[Node, list[Counts]] = defaultdict(list)
    for run, counts in _runs(_read(path, with_shapes=True), path)[:1]:
        for kernel, counted in zip(run.kernels, counts, strict=True):
            if counted is not None:
                work[kernel.node].append(counted)
    return {node: added(found) for node, found in work.items()}


def added(counts: Sequence[Counts]) -> Counts:
    """Return the sum; None in any of them makes it None."""
    operations = [one.operations for one in counts if one.operations is not None]
    moved = [one.bytes for one in counts if one.bytes is not None]
    kinds = {one.arithmetic for one in counts}
    return Counts(
        sum(operations) if len(operations) == len(counts) else None,
        sum(moved) if len(moved) == len(counts) else None,
        kinds.pop() if len(kinds) == 1 else None,
    )


def _read(path: Path, *, with_shapes: bool) -> list[_Event]:
    content = files.read_bytes(path, limit_bytes=MAX_FILE_BYTES, error=ProfileUnreadable)
    lines = io.BytesIO(content)
    if lines.readline(MAX_LINE_BYTES).strip() != b"[":
        raise _unreadable("it is no list of events", path)
    events: list[_Event] = []
    for line in iter(lambda: lines.readline(MAX_LINE_BYTES), b""):
        text = line.strip().removesuffix(b",")
        if text == b"]":
            if lines.read(MAX_LINE_BYTES).strip():
                raise _unreadable("something stands behind its end", path)
            return events
        if len(events) == MAX_EVENTS or len(line) == MAX_LINE_BYTES:
            raise _unreadable(f"it has more than {MAX_EVENTS} events, or a line of {MAX_LINE_BYTES} bytes", path)
        try:
            events.append(_event(decode.document(text, where=str(path), error=ProfileUnreadable), with_shapes))
        except EdgeError as problem:
            raise _unreadable(f"line {len(events) + 2}: {problem.what}", path) from problem
    raise _unreadable("its end is missing", path)


def _event(fields: decode.Fields, with_shapes: bool) -> _Event:  # noqa: FBT001 - private, read twice
    # other keys differ between onnxruntime's versions, and are left alone
    category, name = fields.string("cat"), fields.string("name")
    fields.string("ph", choices=("X",))
    start, duration = (fields.integer(key, high=MAX_MICROSECONDS) for key in ("ts", "dur"))
    if category != "Node":
        return _Event(category, name, start, duration, "", 0, None)
    arguments = fields.child("args")
    operator, index = arguments.string("op_name", limit=200), arguments.string("node_index", limit=10)
    if not re.fullmatch("[0-9]+", index):
        fields.refuse("args.node_index", f"is {index!r}, expected digits")
    counts = None
    if with_shapes:
        inputs, outputs = (_tensors(arguments, key) for key in ("input_type_shape", "output_type_shape"))
        counts = count(operator, inputs, outputs)
    return _Event(category, name.removesuffix(SUFFIX), start, duration, operator, int(index), counts)


def _tensors(arguments: decode.Fields, key: str) -> tuple[Tensor, ...]:
    """Read ``[{"float": [1, 3]}, {"int64": []}]``."""
    tensors = []
    for tensor in arguments.children(key, limit=MAX_TENSORS):
        names = tensor.names()
        if len(names) != 1:
            arguments.refuse(key, "names no single type for a tensor")
        tensors.append(Tensor(names[0], tensor.integers(names[0], limit=64, high=2**40)))
    return tuple(tensors)


def _runs(events: Iterable[_Event], path: Path) -> list[tuple[Run, list[Counts | None]]]:
    runs: list[tuple[Run, list[Counts | None]]] = []
    waiting: list[_Event] = []
    for event in events:
        if event.category == "Node":
            waiting.append(event)
        elif event.name == "model_run":
            end = event.start_us + event.duration_us
            # both ends are rounded down, so that a kernel may seem to end one tick after its run
            if any(one.start_us < event.start_us or one.start_us + one.duration_us > end + 1 for one in waiting):
                raise _unreadable("a kernel stands outside its run", path)
            # an outer kernel before those in it, also where both begin in the same microsecond
            waiting.sort(key=lambda one: (one.start_us, -one.duration_us, one.operator not in BODIED))
            kernels = _nested(waiting)
            runs.append((Run(event.start_us, event.duration_us, kernels), [one.counts for one in waiting]))
            waiting = []
    if waiting:
        raise _unreadable("a kernel stands outside every run", path)
    if not runs:
        raise _unreadable("it has no run of the model", path)
    return runs


def _nested(events: Sequence[_Event]) -> tuple[Kernel, ...]:
    """Return the kernels of one run with their depth and the time of their own; events in order of their start."""
    depths, inside_us = [0] * len(events), [0] * len(events)
    around: list[int] = []
    for place, event in enumerate(events):
        # only an operator with a body contains others: two short kernels may share a microsecond
        while around and event.start_us >= events[around[-1]].start_us + events[around[-1]].duration_us:
            around.pop()
        depths[place] = len(around)
        if around:
            inside_us[around[-1]] += event.duration_us
        if event.operator in BODIED:
            around.append(place)
    return tuple(
        Kernel(
            Node(event.name, event.operator, event.index, depth),
            event.start_us,
            event.duration_us,
            max(0, event.duration_us - inside),
        )
        for event, depth, inside in zip(events, depths, inside_us, strict=True)
    )


def _unreadable(problem: str, path: Path) -> ProfileUnreadable:
    hint = "this onnxruntime writes its profile in another way; use a version that edge was tested with"
    return ProfileUnreadable(f"onnxruntime's profile can't be read: {problem}", str(path), hint)
