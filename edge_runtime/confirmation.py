"""A slower verdict is measured again: only a second batch of rounds that says so by itself confirms it.

One run in forty of two equals ends in "slower" by luck; that a second batch of its own does so too is one in a thousand
and a half. Improvements are not measured again: nobody's merge fails on them.
"""

from dataclasses import replace

from edge_runtime import summary, validity
from edge_runtime.plan import MIN_ROUNDS
from edge_runtime.record import Record


def doubtful(record: Record) -> bool:
    """Return whether the first contender, ours, is slower than another, so that a second batch should say so too."""
    if not record.contenders:
        return False
    ours = record.contenders[0].name
    return any(one.verdict == "slower" for one in summary.comparisons(record, contender=ours))


def second_batch(record: Record) -> Record | None:
    """Return the record with the rounds of its second batch alone; None where it has none, or one cut short."""
    begin = record.confirming_from
    if begin is None:
        return None
    launches = tuple(launch for launch in record.launches if launch.round >= begin)
    if len({launch.round for launch in validity.counted(launches)}) < MIN_ROUNDS:
        return None
    return replace(record, launches=launches, confirming_from=None)


def confirmed(record: Record, one: summary.Comparison) -> bool | None:
    """Return whether the second batch alone says "slower" too; None of another verdict, or without such a batch."""
    second = second_batch(record) if one.verdict == "slower" else None
    if second is None:
        return None
    return summary.compare(second, baseline=one.baseline, contender=one.contender).verdict == "slower"


def in_words(*, said: bool | None) -> str:
    """Return what a sentence on a slower verdict ends with, from what `confirmed` says of it."""
    if said is None:
        return "not confirmed: run edge bench --confirm --resume"
    return "confirmed by a second batch of rounds" if said else "not confirmed by a second batch of rounds"
