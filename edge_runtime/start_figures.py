"""What a record's starts say: each phase by what the page cache held, and after how many calls who is ahead."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge_runtime import summary, units
from edge_runtime.console import table
from edge_runtime.measured import PHASES
from edge_runtime.record import Record
from edge_runtime.starts import CACHES, EVICTED, WARM
from edge_runtime.stats import Interval, launch_interval, paired_ratio, unpaired_ratio

UNKNOWN = "–"


@dataclass(frozen=True, slots=True, kw_only=True)
class StartFigures:
    """One contender's starts with the page cache in one state; nanoseconds.

    first_output_ns: from the start of its process to its first result, the sum of the phases.
    resident_share: of the files it reads, the share that was in the cache before, the largest of its starts; None
    where the kernel doesn't tell.
    """

    contender: str
    cache: str
    starts: int
    first_output_ns: Interval
    phases_ns: Mapping[str, Interval]
    resident_share: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Overtaking:
    """Who is first to answer after a start, and when the other one has caught up.

    calls: after the first call, how many more until both have taken the same time; None when the one that is first
    stays ahead, since its calls take no longer.   settled: whether the interval of the first outputs' ratio says that
    first is first; else all of this may be luck.
    """

    cache: str
    first: str
    second: str
    calls: int | None
    settled: bool


def first_outputs(record: Record, name: str, cache: str) -> list[int]:
    """Return the times to the first output of a contender's starts in one state, in nanoseconds."""
    return [sum(one.phases_ns.values()) for one in record.starts if (one.contender, one.cache) == (name, cache)]


def figures(record: Record) -> tuple[StartFigures, ...]:
    """Return the figures of every ranked contender that was started for them: in the record's order, warm first."""
    ranked = [one.name for one in record.contenders if one.ranked]
    found = (_figures(record, name, cache) for name in ranked for cache in CACHES)
    return tuple(one for one in found if one is not None)


def overtakings(record: Record, *, contender: str) -> tuple[Overtaking, ...]:
    """Return how `contender` and each other one stand after a start: time to the first output, then p50 a call."""
    p50s = {one.contender.name: one.latency.p50.estimate for one in summary.standings(record) if one.latency}
    known = {(one.cache, one.contender): one.first_output_ns.estimate for one in figures(record)}
    found: list[Overtaking] = []
    for cache in CACHES:
        for other in p50s:
            if other == contender or contender not in p50s or not {(cache, contender), (cache, other)} <= known.keys():
                continue
            first, second = sorted((contender, other), key=lambda name: known[cache, name])
            gained = p50s[first] - p50s[second]
            behind = known[cache, second] - known[cache, first]
            times = [first_outputs(record, name, cache) for name in (second, first)]
            # the n-th starts of both were minutes apart at most: what slowed one slowed the other
            ratio = paired_ratio if len(times[0]) == len(times[1]) else unpaired_ratio
            # a time of zero, as only a record made by hand can have, has no logarithm
            low = ratio(*times).low if min(map(min, times)) > 0 else None
            found.append(
                Overtaking(
                    cache=cache,
                    first=first,
                    second=second,
                    calls=math.ceil(behind / gained) if gained > 0 else None,
                    settled=low is not None and low > 1,
                )
            )
    return tuple(found)


def lines(record: Record, *, contender: str) -> tuple[str, ...]:
    """Return a table with a line for each contender, and who overtakes whom, in words; nothing without starts."""
    found = figures(record)
    if not found:
        return ()
    by_name: dict[str, dict[str, StartFigures]] = {}
    for one in found:
        by_name.setdefault(one.contender, {})[one.cache] = one
    # phases side by side are of one state: the evicted one, where everyone has it
    state = EVICTED if all(EVICTED in told for told in by_name.values()) else WARM
    rows = [("", WARM, EVICTED, *PHASES, "left"), *(_row(name, told, state) for name, told in by_name.items())]
    title = f"from start to first output, by what the page cache held; phases: {state}"
    return (
        f"{title}\n{table(rows, '<' + '>' * (len(PHASES) + 3))}",
        *(_sentence(one) for one in overtakings(record, contender=contender)),
    )


def document(record: Record, *, contender: str) -> dict[str, Any]:
    """Return the figures as JSON: intervals are [estimate, low, high]."""
    by_name: dict[str, dict[str, Any]] = {}
    for one in figures(record):
        by_name.setdefault(one.contender, dict.fromkeys(CACHES))[one.cache] = {
            "starts": one.starts,
            "time_to_first_output_ns": _triple(one.first_output_ns),
            "phases_ns": {phase: _triple(interval) for phase, interval in one.phases_ns.items()},
            "resident_share": one.resident_share,
        }
    return {
        "contenders": by_name,
        "overtaking": [
            {
                "cache": one.cache,
                "first": one.first,
                "second": one.second,
                "calls": one.calls,
                "settled": one.settled,
            }
            for one in overtakings(record, contender=contender)
        ],
    }


def _figures(record: Record, name: str, cache: str) -> StartFigures | None:
    starts = [one for one in record.starts if one.contender == name and one.cache == cache]
    if not starts:
        return None
    shares = [one.resident_share for one in starts if one.resident_share is not None]
    return StartFigures(
        contender=name,
        cache=cache,
        starts=len(starts),
        first_output_ns=launch_interval(first_outputs(record, name, cache)),
        phases_ns={phase: launch_interval([one.phases_ns[phase] for one in starts]) for phase in PHASES},
        resident_share=max(shares) if len(shares) == len(starts) else None,
    )


def _row(name: str, told: Mapping[str, StartFigures], state: str) -> tuple[str, ...]:
    evicted = told.get(EVICTED)
    share = None if evicted is None else evicted.resident_share
    return (
        name,
        *(_timed(told[cache].first_output_ns) if cache in told else UNKNOWN for cache in CACHES),
        *(units.duration(told[state].phases_ns[phase].estimate) if state in told else UNKNOWN for phase in PHASES),
        UNKNOWN if share is None else f"{share:.0%}",
    )


def _timed(interval: Interval) -> str:
    share = "" if interval.high is None else f" ±{interval.high / interval.estimate - 1:.0%}"
    return f"{units.duration(interval.estimate)}{share}"


def _sentence(one: Overtaking) -> str:
    state = f"with the page cache {one.cache}"
    if not one.settled:
        return f"{state}, these starts don't tell whether {one.first} answers before {one.second}"
    if one.calls is None:
        return f"{state}, {one.first} answers before {one.second} and stays ahead"
    return f"{state}, {one.first} answers before {one.second}, which overtakes it after {one.calls:,} calls"


def _triple(interval: Interval) -> list[float | None]:
    return [interval.estimate, interval.low, interval.high]
