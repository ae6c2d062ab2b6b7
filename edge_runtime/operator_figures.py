"""What a record's profiles say: how near a contender is to what the machine can do, and which operators take its time.

A profiled call is slower than one without the profiler; its times are scaled by p50 over it, and the factor is told.
"""

from dataclasses import dataclass
from typing import Any

from edge_runtime import units
from edge_runtime.operators import NodeTime, OperatorTimes
from edge_runtime.record import Record

SHOWN = 5
DOUBT = (
    "above 100 % the ceiling or the count is wrong: data came from a cache, faster than the memory that was measured, "
    "or the machine was busy when its peaks were"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorTotal:
    """All nodes of an operator in one call. ns: scaled to p50.   share: of p50."""

    operator: str
    nodes: int
    ns: float
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorFigures:
    """One contender's profile against its p50.

    factor: p50 over a profiled call.   least_ns: the shortest time in which the machine's peaks allow the work, as far
    as it can be counted; None where no node's can.   uncounted: the share of the nodes' time whose work can't be
    counted, by which the least is too small.   operators: by falling time.
    """

    contender: str
    p50_ns: int
    factor: float
    least_ns: float | None
    uncounted: float
    operators: tuple[OperatorTotal, ...]

    @property
    def attainable(self) -> float | None:
        """Return the least time as a share of p50; above 1 the ceiling or the count is wrong."""
        return None if self.least_ns is None else self.least_ns / self.p50_ns


def figures(record: Record) -> tuple[OperatorFigures, ...]:
    """Return the figures of every ranked contender that was profiled."""
    ranked = {one.name for one in record.contenders if one.ranked}
    return tuple(_figures(one) for one in record.operators if one.contender in ranked)


def factor(profile: OperatorTimes) -> float:
    """Return what the times of a profile are multiplied by to add up to a call without the profiler."""
    return profile.p50_ns / profile.profiled_ns


def totals(profile: OperatorTimes) -> tuple[OperatorTotal, ...]:
    """Return the nodes of each operator added up and scaled to p50, by falling time."""
    scale = factor(profile)
    by_operator: dict[str, list[NodeTime]] = {}
    for node in profile.nodes:
        by_operator.setdefault(node.operator, []).append(node)
    found = [
        OperatorTotal(operator=name, nodes=len(nodes), ns=ns, share=ns / profile.p50_ns)
        for name, nodes in by_operator.items()
        for ns in (scale * sum(node.ns for node in nodes),)
    ]
    return tuple(sorted(found, key=lambda one: -one.ns))


def lines(record: Record) -> tuple[str, ...]:
    """Return the figures in words, a line for each contender."""
    return tuple(_told(one) for one in figures(record))


def document(record: Record) -> dict[str, Any]:
    """Return the figures as JSON, by contender."""
    return {
        one.contender: {
            "factor": one.factor,
            "least_ns": one.least_ns,
            "attainable_pct": None if one.attainable is None else 100 * one.attainable,
            "uncounted_pct": 100 * one.uncounted,
            "operators": [
                {"operator": each.operator, "nodes": each.nodes, "ns": each.ns, "share": each.share}
                for each in one.operators
            ],
        }
        for one in figures(record)
    }


def _figures(profile: OperatorTimes) -> OperatorFigures:
    least = [node.least_ns for node in profile.nodes if node.least_ns is not None]
    whole = sum(node.ns for node in profile.nodes)
    uncounted = sum(node.ns for node in profile.nodes if node.least_ns is None)
    return OperatorFigures(
        contender=profile.contender,
        p50_ns=profile.p50_ns,
        factor=factor(profile),
        least_ns=sum(least) if least else None,
        uncounted=uncounted / whole if whole else 0.0,
        operators=totals(profile),
    )


def _told(one: OperatorFigures) -> str:
    parts = ", ".join(f"{each.operator} {each.share:.0%}" for each in one.operators[:SHOWN])
    scaled = f"of p50: {parts} (profiled times × {one.factor:.2f})"
    if one.least_ns is None or one.attainable is None:
        return f"{one.contender}: no count of its work; {scaled}"
    least = f"{one.attainable:.0%} of what the machine can do, {units.duration(one.least_ns)} of "
    doubt = f"; {DOUBT}" if one.attainable > 1 else ""
    left_out = f"; {one.uncounted:.0%} of the nodes' time uncounted" if one.uncounted >= 0.005 else ""  # noqa: PLR2004 - rounds to 1 %
    return f"{one.contender}: {least}{units.duration(one.p50_ns)}{doubt}{left_out}; {scaled}"
