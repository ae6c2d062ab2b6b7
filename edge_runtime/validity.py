"""Which launches may count: those whose evidence says that the machine moved their times count for nobody.

With such a launch its whole round falls, for every contender: of a pair of which one was disturbed, nothing can be said
of the other. Samples and evidence stay in the record, with the reasons.

The rules for one block are `fitness.spoiling`'s. A slow spin probe counts against blocks in one piece alone: contenders
that take turns piece by piece (`lockstep`) suffer alike what makes it slow. Launches are judged together, and anew with
each round, because a probe is slow only against the others of its run.
"""

from collections.abc import Sequence
from dataclasses import replace

from edge_runtime import fitness
from edge_runtime.fitness import Finding
from edge_runtime.samples import Launch

MOST_DROPPED = 0.25  # of all rounds: beyond it, those that are left are what luck has chosen
SPARED = 1  # a single round dropped says nothing of a machine, however few rounds there are


def judged(launches: Sequence[Launch]) -> tuple[Launch, ...]:
    """Return the launches of a run, each with its reasons not to count, and valid where there is none.

    A lost launch, which has no samples, stays as it is.
    """
    reasons = [[f"{one.what}: {one.why}" for one in found] for found in _findings(launches)]
    return tuple(
        replace(launch, valid=not found, reasons=tuple(found)) if launch.block_ns else launch
        for launch, found in zip(launches, reasons, strict=True)
    )


def counted(launches: Sequence[Launch]) -> tuple[Launch, ...]:
    """Return the launches that figures and comparisons are made of: the valid ones of rounds that were not dropped."""
    dropped = dropped_rounds(launches)
    return tuple(one for one in launches if one.valid and one.round not in dropped)


def dropped_rounds(launches: Sequence[Launch]) -> frozenset[int]:
    """Return the rounds that count for nobody: those with a launch that was measured and is not valid."""
    return frozenset(one.round for one in launches if one.block_ns and not one.valid)


def is_unfit(launches: Sequence[Launch]) -> bool:
    """Return whether so many rounds were dropped that those left prove nothing: the run is invalid."""
    measured = {one.round for one in launches if one.block_ns}
    dropped = len(dropped_rounds(launches))
    return dropped > 0 and (dropped == len(measured) or dropped > max(SPARED, MOST_DROPPED * len(measured)))


def allowance(wanted: int) -> int:
    """Return how many rounds may be dropped, and made up for, in a run that wants so many."""
    return max(SPARED, int(wanted * MOST_DROPPED / (1 - MOST_DROPPED)))


def told(launches: Sequence[Launch]) -> tuple[str, ...]:
    """Return a sentence on the rounds that were dropped, with each kind of reason once; nothing without any."""
    dropped = len(dropped_rounds(launches))
    if dropped == 0:
        return ()
    kinds: dict[str, tuple[Finding, list[str]]] = {}
    for launch, findings in zip(launches, _findings(launches), strict=True):
        for finding in findings:
            kinds.setdefault(finding.code, (finding, []))[1].append(launch.contender)
    why = "; ".join(f"{finding} ({_counted(names)})" for finding, names in kinds.values())
    count = len({one.round for one in launches if one.block_ns})
    return (f"{dropped} of {count} rounds were dropped, for every contender: {why}",)


def _findings(launches: Sequence[Launch]) -> list[list[Finding]]:
    """Return for each launch what leaves nothing to be learned from it."""
    alone = [one for one in launches if _is_alone(one)]
    probes = [ns for one in alone for ns in (one.probe_before_ns, one.probe_after_ns) if ns is not None]
    return [
        fitness.spoiling(one.before, one.after)
        + (fitness.of_probe(one.probe_before_ns, one.probe_after_ns, probes) if _is_alone(one) else [])
        for one in launches
    ]


def _is_alone(launch: Launch) -> bool:
    """Return whether a block was in one piece and no other ran at once, so that its probes tell of it.

    Processes at once disturb each other's, which is what is asked there.
    """
    return launch.worker is None and not launch.slices


def _counted(names: Sequence[str]) -> str:
    return ", ".join(f"{names.count(name)} x {name}" for name in dict.fromkeys(names))
