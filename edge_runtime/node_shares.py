"""The time of each node and operator in a profile, and how near it is to the machine's peak.

Pure but for reading what a worker wrote: the two files and the event of a profiled launch (`kernel_runs`).
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_runtime import decode, stats
from edge_runtime.errors import WorkerLost
from edge_runtime.kernel_times import Node, Run, added, read_runs, read_work
from edge_runtime.op_counts import Counts
from edge_runtime.peaks import Peaks

MAX_RUNS = 1_000_000
UNCOUNTED = Counts(None, None, None)


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
class ProfiledRuns:
    """What a profiled launch left.

    runs: after its warm-up.   work: of each node in one run.   profiled_ns: the median call with the profiler.
    """

    runs: tuple[Run, ...]
    work: Mapping[Node, Counts]
    profiled_ns: int


def read_profile(folder: Path, event: Mapping[str, Any], *, where: str) -> ProfiledRuns:
    """Read what the worker's event "profile" names, from the folder it was given.

    Raises WorkerLost when it is not what a worker says, ProfileUnreadable for files that are no profiles.
    """
    fields = decode.Fields(event, where, "profile", WorkerLost)
    times, shapes = (_inside(folder, fields, key) for key in ("times", "shapes"))
    warmup, profiled_ns = fields.integer("warmup", high=MAX_RUNS), fields.integers("run_ns", limit=MAX_RUNS)
    runs, work = read_runs(times)[warmup:], read_work(shapes)
    if not runs or len(runs) != len(profiled_ns):
        raise WorkerLost(f"it told {len(profiled_ns)} runs, its profile has {len(runs)}", where, "run it again")
    return ProfiledRuns(runs=runs, work=work, profiled_ns=stats.percentile(profiled_ns, 50))


def node_shares(runs: tuple[Run, ...], work: Mapping[Node, Counts], best: Peaks) -> tuple[Share, ...]:
    """Return each node's share of the time, by falling time."""
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


def operator_shares(nodes: tuple[Share, ...]) -> tuple[Share, ...]:
    """Return the nodes of each operator added up, by falling time."""
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


def _inside(folder: Path, fields: decode.Fields, key: str) -> Path:
    name = fields.string(key, limit=200)
    if Path(name).name != name:
        fields.refuse(key, f"is {name!r}, expected a file's name")
    return folder / name


def _least_ns(work: Counts, best: Peaks) -> float | None:
    if work.operations is None or work.bytes is None:
        return None
    return best.least_ns(work.operations, work.bytes, arithmetic=work.arithmetic)


def _rate(amount: int | None, ns: int) -> int | None:
    return None if amount is None or not ns else amount * 10**9 // ns
