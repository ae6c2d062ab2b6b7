"""Which operators take longer in one profile than in another: where a slowdown comes from.

Both profiles are scaled to the p50 of their contender (`operator_figures`), so that the differences add up to that of
the p50s. Nodes are held against each other by name where both graphs have the same, else operators by type. A profile
is one launch: what is told is where to look, not a verdict.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from edge_runtime import summary, units
from edge_runtime.console import table
from edge_runtime.operator_figures import SHOWN, factor
from edge_runtime.operators import NodeTime, OperatorTimes
from edge_runtime.record import Record

OUTSIDE = "outside operators"  # the call itself, and what lies between nodes
Key = tuple[str, str]  # operator and node, or operator and ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """One operator, before and after, in nanoseconds of a call scaled to p50. node: "" for all of its type."""

    operator: str
    node: str
    before_ns: float
    after_ns: float

    @property
    def ns(self) -> float:
        """Return how much longer it takes after."""
        return self.after_ns - self.before_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorDeltas:
    """What got slower from one profile to another.

    contender: whose; for two contenders of one record, "A against B".   before_factor, after_factor: what the profiled
    times were multiplied by.   slower: the operators that take longest more, at most five, the largest first.
    problem: why there is nothing to tell, else "".
    """

    contender: str
    before_factor: float | None = None
    after_factor: float | None = None
    slower: tuple[Delta, ...] = ()
    problem: str = ""


def between(before: Record, after: Record, name: str) -> OperatorDeltas:
    """Return what got slower in one contender from one record to another."""
    profiles = [_profile(record, name) for record in (before, after)]
    missing = [when for when, profile in zip(("before", "after"), profiles, strict=True) if profile is None]
    if missing:
        return OperatorDeltas(contender=name, problem=f"no operators of it in the record {' and '.join(missing)}")
    return deltas(name, *(one for one in profiles if one is not None))


def against_baselines(record: Record, *, contender: str) -> tuple[OperatorDeltas, ...]:
    """Return what is slower in a contender than in each baseline that it lost to, where both were profiled."""
    lost = [one.baseline for one in summary.comparisons(record, contender=contender) if one.verdict == "slower"]
    own = _profile(record, contender)
    pairs = [(name, _profile(record, name)) for name in lost]
    return tuple(
        deltas(f"{contender} against {name}", other, own)
        for name, other in pairs
        if own is not None and other is not None
    )


def deltas(what: str, before: OperatorTimes, after: OperatorTimes) -> OperatorDeltas:
    """Return what takes longer in the second profile."""
    by_node = _keys(before, by_node=True) == _keys(after, by_node=True)
    first, second = _times(before, by_node=by_node), _times(after, by_node=by_node)
    found = [
        Delta(operator=key[0], node=key[1], before_ns=first.get(key, 0.0), after_ns=second.get(key, 0.0))
        for key in dict.fromkeys((*first, *second))
    ]
    slower = sorted((one for one in found if one.ns > 0), key=lambda one: -one.ns)
    return OperatorDeltas(
        contender=what, before_factor=factor(before), after_factor=factor(after), slower=tuple(slower[:SHOWN])
    )


def lines(found: Iterable[OperatorDeltas]) -> tuple[str, ...]:
    """Return what was found as text, a heading and a table for each."""
    told: list[str] = []
    for one in found:
        if one.problem:
            told.append(f"operators of {one.contender}: {one.problem}")
        elif not one.slower:
            told.append(f"operators of {one.contender}: none takes longer")
        else:
            scaled = f"profiled times × {one.before_factor:.2f} before, × {one.after_factor:.2f} after"
            told.append(f"operators of {one.contender} that take longer ({scaled}; one launch each)")
            told += table([_row(delta) for delta in one.slower], "<>>>").splitlines()
    return tuple(told)


def _profile(record: Record, name: str) -> OperatorTimes | None:
    return next((one for one in record.operators if one.contender == name), None)


def _keys(profile: OperatorTimes, *, by_node: bool) -> set[Key]:
    return {_key(node, by_node=by_node) for node in profile.nodes}


def _key(node: NodeTime, *, by_node: bool) -> Key:
    return node.operator, node.name if by_node else ""


def _times(profile: OperatorTimes, *, by_node: bool) -> dict[Key, float]:
    scale = factor(profile)
    found: dict[Key, float] = {}
    for node in profile.nodes:
        key = _key(node, by_node=by_node)
        found[key] = found.get(key, 0.0) + scale * node.ns
    # rounding to the profile's tick may make the nodes longer than the call
    found[OUTSIDE, ""] = max(0.0, profile.p50_ns - sum(found.values()))
    return found


def _row(delta: Delta) -> tuple[str, ...]:
    name = f"  {delta.operator} {delta.node}".rstrip()
    # the end of an exporter's path tells nodes apart, its beginning does not
    short = name if len(name) <= 40 else f"  {delta.operator} …{delta.node[-(35 - len(delta.operator)) :]}"  # noqa: PLR2004 - half a terminal
    return short, units.duration(delta.before_ns), units.duration(delta.after_ns), f"+{units.duration(delta.ns)}"
