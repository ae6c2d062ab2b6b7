"""Where a model's time goes on this machine: by node and operator, and how near to the machine's peak.

Like `rounds`, this starts workers and reads what they tell: one measures the peaks (once a boot), one runs the model
with onnxruntime's own profiler and without.
"""

import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_runtime import decode, stats
from edge_runtime.environment import Machine, available_cpus, machine
from edge_runtime.errors import SelfCheckFailed, UsageError, WorkerLost
from edge_runtime.kernel_times import Run
from edge_runtime.launch import own_command, run_worker
from edge_runtime.measured import MeasuredArtifact, answers_of_worker
from edge_runtime.node_shares import MAX_RUNS, Share, node_shares, operator_shares, read_profile
from edge_runtime.peaks import Peaks, known_or_measured
from edge_runtime.rounds import LAUNCH_TIMEOUT_S, OWN_CONTENDER
from edge_runtime.timing import BlockPlan

if TYPE_CHECKING:
    from edge_runtime.model import Model
    from edge_runtime.npz import Array

KIND, SCHEMA = "edge-profile", 1
HEAVY_OVERHEAD = 1.2  # above it the shares of short nodes say more of the profiler than of the model


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
        read = read_profile(folder, told["profile"], where=where)
    block = decode.Fields(told["timing"], where, "timing", WorkerLost).integers("block_ns", limit=MAX_RUNS, low=1)
    engine = decode.Fields(told["loaded"], where, "loaded", WorkerLost).string("engine", limit=200)
    here = machine()
    progress("measuring the machine's peaks")
    best = known_or_measured(
        here.key,
        engine=engine,
        threads=chosen.threads,
        cpus=cpus,
        run=lambda: run_worker(
            own_command(), _job("peaks", chosen.threads, cpus), threads=chosen.threads, timeout_s=LAUNCH_TIMEOUT_S
        ),
    )
    nodes = node_shares(read.runs, read.work, best)
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
        profiled_ns=read.profiled_ns,
        run_ns=stats.percentile([run.duration_us * 1000 for run in read.runs], 50),
        nodes=nodes,
        operators=operator_shares(nodes),
        runs=read.runs,
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


def _job(kind: str, threads: int, cpus: tuple[int, ...]) -> dict[str, Any]:
    return {"kind": kind, "contender": OWN_CONTENDER, "threads": threads, "cpus": list(cpus)}


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
