"""What a verdict rests on: margin and noise floor of the machine, the spin probe, the rounds that were dropped."""

from collections import Counter
from dataclasses import dataclass

from edge_runtime import validity
from edge_runtime.fitness import SLOWER_PROBE
from edge_runtime.noise_floor import SAFETY
from edge_runtime.record import Record
from edge_runtime.units import count, visible

MOST = 3  # reasons that are told in a line; the record has all


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """How long the fixed piece of work took around blocks, as shares of its best.

    launches: around how many it was taken.   slow: in how many of them it took longer than `SLOWER_PROBE` allows.
    """

    launches: int
    slow: int
    median: float
    worst: float


def probe(record: Record) -> Probe | None:
    """Return what the spin probe says of the run; None where it was not taken."""
    known = [
        (one.probe_before_ns, one.probe_after_ns)
        for one in record.launches
        if one.probe_before_ns is not None and one.probe_after_ns is not None
    ]
    if not known:
        return None
    best = min(map(min, known))
    worst = sorted(max(pair) / best for pair in known)
    return Probe(
        launches=len(known),
        slow=sum(share > SLOWER_PROBE for share in worst),
        median=worst[(len(worst) - 1) // 2],
        worst=worst[-1],
    )


def dropped(record: Record) -> tuple[int, int]:
    """Return how many rounds count for nobody, since the machine disturbed one of their launches, and of how many."""
    measured = {launch.round for launch in record.launches if launch.block_ns}
    return len(validity.dropped_rounds(record.launches)), len(measured)


def reasons(record: Record) -> tuple[str, ...]:
    """Return why the machine spoilt launches, each reason once with how many had it, the most frequent first."""
    spoilt = [launch for launch in record.launches if launch.block_ns and not launch.valid]
    tally = Counter(visible(reason) for launch in spoilt for reason in launch.reasons)
    return tuple(f"{reason} ({count(number, 'launch')})" for reason, number in tally.most_common())


def margin(record: Record) -> str:
    """Return what differences count as none, and how that follows from the machine's noise."""
    config = record.config
    told = f"differences up to {config.margin:.1%} count as none (the margin)"
    if config.noise_floor is None:
        return f"{told}; this machine's noise floor is unknown: edge bench NAME.edge --calibrate"
    least = SAFETY * config.noise_floor
    follows = "which sets it" if least >= config.margin else f"which asks for no less than {least:.1%}"
    return f"{told}; this machine's noise floor is {config.noise_floor:.1%}, {follows}"


def lines(record: Record) -> tuple[str, ...]:
    """Return the evidence in words, a line each; what was not looked at is left out."""
    told = [margin(record)]
    seen = probe(record)
    if seen is not None:
        told.append(
            f"spin probe: a fixed piece of work around the blocks took {seen.median:.2f} times its best in the middle, "
            f"{seen.worst:.2f} at worst; over {SLOWER_PROBE:.2f} in {seen.slow} of {count(seen.launches, 'launch')}"
        )
    lost, rounds = dropped(record)
    if lost:
        told.append(f"{lost} of {count(rounds, 'round')} dropped as a whole: {'; '.join(reasons(record)[:MOST])}")
    return tuple(told)
