"""Where a model's time goes on this machine: by node and operator, and how near to the machine's peak.

Like `rounds`, this starts workers and reads what they tell: one measures the peaks (once a boot), one runs the model
with onnxruntime's own profiler and without.
"""

import math
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_runtime import decode, graph_cache, peaks, stats
from edge_runtime.environment import Machine, available_cpus, machine
from edge_runtime.errors import SelfCheckFailed, UsageError, WorkerLost
from edge_runtime.kernel_times import Node, Run, added, read_runs, read_work
from edge_runtime.launch import own_command, run_worker
from edge_runtime.measured import MeasuredArtifact, answers_of_worker
from edge_runtime.op_counts import Counts
from edge_runtime.peaks import Peaks
from edge_runtime.rounds import LAUNCH_TIMEOUT_S, OWN_CONTENDER
from edge_runtime.timing import BlockPlan

if TYPE_CHECKING:
    from edge_runtime.model import Model
    from edge_runtime.npz import Array

KIND, SCHEMA = "edge-profile", 1
MAX_RUNS = 1_000_000
HEAVY_OVERHEAD = 1.2  # above it the shares of short nodes say more of the profiler than of the model
UNCOUNTED = Counts(None, None, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a profile is taken. runs: how many, or None for as many as fit in `budget_s`, at least 20."""

    runs: int | None = None
    budget_s: float = 1.0
    threads: int = 1

    def __post_init__(self) -> None:
        """Refuse a plan that can't be carried out on this machine."""
        cpus = len(available_cpus())
        if not 1 <= self.threads <= cpus:
            raise UsageError(f"{self.threads} threads on {cpus} CPUs", "the plan", f"ask for 1 to {cpus}")
        if self.runs is not None and not 1 <= self.runs <= MAX_RUNS:
            raise UsageError(f"{self.runs} runs", "the plan", f"ask for 1 to {MAX_RUNS}")
        if not 0 < self.budget_s < math.inf:
            raise UsageError(f"a budget of {self.budget_s} s", "the plan", "give a positive number of seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """The time of a node or of all nodes of an operator, in one run; medians over the runs.

    nodes, calls: how many, in one run.   share: of the time of all nodes.   work: None where it can't be counted.
    least_ns: the shortest time in which this machine's peaks allow the work.
    """

    name: str
    operator: str
    nodes: int
    calls: int
    ns: int
    share: float
    work: Counts
    least_ns: float | None

    @property
    def operations_per_s(self) -> int | None:
        """Return the rate of arithmetic, None when it can't be counted or took less than the profile's tick."""
        return _rate(self.work.operations, self.ns)

    @property
    def bytes_per_s(self) -> int | None:
        """Return the rate of the least traffic, as above."""
        return _rate(self.work.bytes, self.ns)

    @property
    def attained(self) -> float | None:
        """Return the share of the machine's peak; above 1 the ceiling or the count is wrong."""
        return None if self.least_ns is None or not self.ns else self.least_ns / self.ns


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One profile as evidence; times in nanoseconds.

    p50_ns: a call without the profiler.   profiled_ns: the median call with it.   run_ns: the median of the runs that
    onnxruntime itself timed.   runs: the profiled runs after the warm-up, for a trace.
    """

    created: str
    artifact: MeasuredArtifact
    engine: str
    machine: Machine
    threads: int
    cpus: tuple[int, ...]
    peaks: Peaks
    p50_ns: int
    profiled_ns: int
    run_ns: int
    nodes: tuple[Share, ...]
    operators: tuple[Share, ...]
    runs: tuple[Run, ...]
    warnings: tuple[str, ...]

    @property
    def nodes_ns(self) -> int:
        """Return the time of all nodes; what is left of `run_ns` lies between them."""
        return sum(node.ns for node in self.nodes)

    @property
    def overhead(self) -> float:
        """Return the factor by which the profiler slows a call."""
        return self.profiled_ns / max(1, self.p50_ns)

    def to_document(self) -> dict[str, Any]:
        """Return the JSON form: kind "edge-profile", schema 1, nodes and operators by falling time."""
        return {
            "kind": KIND,
            "schema": SCHEMA,
            "created": self.created,
            "artifact": asdict(self.artifact),
            "engine": self.engine,
            "machine": asdict(self.machine),
            "config": {"threads": self.threads, "cpus": self.cpus},
            "peaks": asdict(self.peaks),
            "runs": len(self.runs),
            "p50_ns": self.p50_ns,
            "profiled_ns": self.profiled_ns,
            "overhead": self.overhead,
            "run_ns": self.run_ns,
            "nodes_ns": self.nodes_ns,
            "operators": [_share_document(share) for share in self.operators],
            "nodes": [{"name": share.name, **_share_document(share)} for share in self.nodes],
            "warnings": self.warnings,
        }


def profile(
    model: "Model",
    inputs: "Mapping[str, Array] | None" = None,
    *,
    plan: Plan | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Profile:
    """Profile a model on this machine, in a fresh worker that reopens its path and variant.

    inputs: arrays by input name; None takes the first golden case.   progress: told what is being done.
    Raises WrongInput when the inputs don't fit, SelfCheckFailed when the model answers its golden cases wrongly here,
    UsageError for a plan that can't be carried out, and what the workers raise.
    """
    from edge_runtime import npz  # noqa: PLC0415 - `edge profile --help` imports no numpy

    chosen = plan or Plan(threads=model.threads)
    cpus = available_cpus()[-chosen.threads :]  # as measured: the first CPU serves most interrupts
    with tempfile.TemporaryDirectory(prefix="edge-profile-") as text:
        folder = Path(text)
        inputs_file = None
        if inputs is not None:
            model.bind(**inputs)  # refuses what doesn't fit before any worker starts
            inputs_file = folder / "inputs.npz"
            npz.write(inputs_file, dict(inputs))
        progress("running the model")
        told = _launch(model, chosen, cpus, folder, inputs_file)
        where = f"{model.artifact.path} ({model.variant.name})"
        fields = decode.Fields(told["profile"], where, "profile", WorkerLost)
        times, shapes = (_inside(folder, fields, key) for key in ("times", "shapes"))
        warmup, profiled_ns = fields.integer("warmup", high=MAX_RUNS), fields.integers("run_ns", limit=MAX_RUNS)
        runs, work = read_runs(times)[warmup:], read_work(shapes)
    if not runs or len(runs) != len(profiled_ns):
        raise WorkerLost(f"it told {len(profiled_ns)} runs, its profile has {len(runs)}", where, "run it again")
    block = decode.Fields(told["timing"], where, "timing", WorkerLost).integers("block_ns", limit=MAX_RUNS, low=1)
    engine = decode.Fields(told["loaded"], where, "loaded", WorkerLost).string("engine", limit=200)
    here = machine()
    progress("measuring the machine's peaks")
    best = _peaks(here.key, engine, chosen.threads, cpus)
    nodes = _nodes(runs, work, best)
    variant = model.variant
    found = Profile(
        created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        artifact=MeasuredArtifact(
            name=model.artifact.manifest.name,
            sha256=variant.files[0].sha256,
            variant=variant.name,
            bytes=model.artifact.size_bytes(variant),
        ),
        engine=engine,
        machine=here,
        threads=chosen.threads,
        cpus=cpus,
        peaks=best,
        p50_ns=stats.percentile(block, 50),
        profiled_ns=stats.percentile(profiled_ns, 50),
        run_ns=stats.percentile([run.duration_us * 1000 for run in runs], 50),
        nodes=nodes,
        operators=_operators(nodes),
        runs=runs,
        warnings=(),
    )
    return replace(found, warnings=_warnings(found))


def _launch(
    model: "Model", plan: Plan, cpus: tuple[int, ...], folder: Path, inputs: Path | None
) -> dict[str, dict[str, Any]]:
    job = {
        **_job("profile", plan.threads, cpus),
        "artifact": str(model.artifact.path.resolve()),
        "variant": model.variant.name,
        "options": {},
        "inputs": None if inputs is None else str(inputs),
        "block": asdict(BlockPlan(block_s=plan.budget_s)),
        "folder": str(folder),
        "runs": plan.runs,
        "profile_s": plan.budget_s,
    }
    timeout_s = LAUNCH_TIMEOUT_S + 10 * plan.budget_s
    events = run_worker(own_command(), job, threads=plan.threads, timeout_s=timeout_s)
    answers = {key: value for key, value in events.get("answers", {}).items() if key != "event"}
    checked = answers_of_worker(answers, where=str(model.artifact.path))
    if checked.agree is False:
        hint = "don't use the artifact on this machine; see: edge check"
        raise SelfCheckFailed(f"it answers wrongly here: {checked.problem}", str(model.artifact.path), hint)
    return {name: events.get(name, {}) for name in ("loaded", "timing", "profile")}


def _peaks(machine_key: str, engine: str, threads: int, cpus: tuple[int, ...]) -> Peaks:
    folder = graph_cache.folder().with_name("peaks")
    key = peaks.cache_key(machine_key, engine=engine, cpus=cpus, threads=threads)
    known = peaks.read_cached(folder, key)
    if known is not None and known.threads == threads:
        return known
    events = run_worker(own_command(), _job("peaks", threads, cpus), threads=threads, timeout_s=LAUNCH_TIMEOUT_S)
    fields = decode.Fields(events.get("peaks", {}), "the worker that measures peaks", "", WorkerLost)
    measured = peaks.parse(fields.child("peaks"))
    peaks.keep(folder, key, measured)
    return measured


def _job(kind: str, threads: int, cpus: tuple[int, ...]) -> dict[str, Any]:
    return {"kind": kind, "contender": OWN_CONTENDER, "threads": threads, "cpus": list(cpus)}


def _inside(folder: Path, fields: decode.Fields, key: str) -> Path:
    name = fields.string(key, limit=200)
    if Path(name).name != name:
        fields.refuse(key, f"is {name!r}, expected a file's name")
    return folder / name


def _nodes(runs: tuple[Run, ...], work: Mapping[Node, Counts], best: Peaks) -> tuple[Share, ...]:
    times: dict[Node, list[int]] = {}
    counts: dict[Node, list[int]] = {}
    for index, run in enumerate(runs):
        for kernel in run.kernels:
            # a branch not taken took no time: every node has a value for every run
            of_node = times.setdefault(kernel.node, [0] * len(runs))
            of_node[index] += kernel.self_us * 1000
            counts.setdefault(kernel.node, [0] * len(runs))[index] += 1
    medians = {node: stats.percentile(values, 50) for node, values in times.items()}
    whole = sum(medians.values())
    shares = [
        Share(
            name=node.name,
            operator=node.operator,
            nodes=1,
            calls=stats.percentile(counts[node], 50),
            ns=ns,
            share=ns / whole if whole else 0.0,
            work=work.get(node, UNCOUNTED),
            least_ns=_least_ns(work.get(node, UNCOUNTED), best),
        )
        for node, ns in medians.items()
    ]
    return tuple(sorted(shares, key=lambda share: -share.ns))


def _least_ns(work: Counts, best: Peaks) -> float | None:
    if work.operations is None or work.bytes is None:
        return None
    return best.least_ns(work.operations, work.bytes, arithmetic=work.arithmetic)


def _operators(nodes: tuple[Share, ...]) -> tuple[Share, ...]:
    shares = []
    for operator in Counter(node.operator for node in nodes):
        own = [node for node in nodes if node.operator == operator]
        least = [node.least_ns for node in own if node.least_ns is not None]
        shares.append(
            Share(
                name=operator,
                operator=operator,
                nodes=len(own),
                calls=sum(node.calls for node in own),
                ns=sum(node.ns for node in own),
                share=sum(node.share for node in own),
                work=added([node.work for node in own]),
                least_ns=sum(least) if len(least) == len(own) else None,
            )
        )
    return tuple(sorted(shares, key=lambda share: -share.ns))


def _warnings(found: Profile) -> tuple[str, ...]:
    warnings = []
    if found.overhead > HEAVY_OVERHEAD:
        added_us = (found.profiled_ns - found.p50_ns) / max(1, len(found.nodes)) / 1000
        warnings.append(
            f"the profiler makes a call {found.overhead:.2f} times as long, {added_us:.1f} us a node: "
            "shares of short nodes are too large and rates too low"
        )
    uncounted = sorted({node.operator for node in found.nodes if node.work.operations is None})
    if uncounted:
        warnings.append(f"no count of operations for {', '.join(uncounted[:12])}")
    if any((share.attained or 0) > 1 for share in found.nodes):
        warnings.append(
            "ceiling or count wrong where more than 100 % of the peak is told: "
            "the usual cause is data that come from a cache, faster than the memory that was measured"
        )
    return tuple(warnings)


def _rate(amount: int | None, ns: int) -> int | None:
    return None if amount is None or not ns else amount * 10**9 // ns


def _share_document(share: Share) -> dict[str, Any]:
    return {
        "operator": share.operator,
        "nodes": share.nodes,
        "calls": share.calls,
        "ns": share.ns,
        "share": share.share,
        "operations": share.work.operations,
        "bytes": share.work.bytes,
        "operations_per_s": share.operations_per_s,
        "bytes_per_s": share.bytes_per_s,
        "attained": share.attained,
    }
