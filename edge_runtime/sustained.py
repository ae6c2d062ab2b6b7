"""A contender under load for minutes, window by window, as a record keeps it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import exp, log
from statistics import fmean
from typing import Any

from edge_runtime import decode
from edge_runtime.errors import WorkerLost
from edge_runtime.units import count, duration, rate
from edge_runtime.warmup import level_change

MAX_WINDOWS = 10_000
LAST = 3  # windows whose p50 is held against the first's
NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One stretch of a long run; times in nanoseconds, begin_ns since the run began.

    p50_ns, p90_ns, max_ns: of the calls within it.   frequency_khz, temperature_millicelsius, throttled: the machine's
    at its end, None where it doesn't tell.
    """

    begin_ns: int
    elapsed_ns: int
    calls: int
    p50_ns: int
    p90_ns: int
    max_ns: int
    frequency_khz: int | None
    temperature_millicelsius: int | None
    throttled: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sustained:
    """A long run of one contender. rate_per_s: of its calls, None where each followed the one before."""

    contender: str
    rate_per_s: float | None
    windows: tuple[Window, ...]


def ratio(long: Sustained) -> float | None:
    """Return the p50 of the last three windows, their geometric mean, over the first's; None below four windows."""
    p50s = [window.p50_ns for window in long.windows]
    return exp(fmean(map(log, p50s[-LAST:]))) / p50s[0] if len(p50s) > LAST else None


def slower_from_ns(long: Sustained) -> int | None:
    """Return when the calls first became slower and stayed so, by the rule that ends a warm-up; None if never.

    Nanoseconds since the run began. It is the calls that tell: a machine need not say that it throttles.
    """
    levels = [log(window.p50_ns) for window in long.windows]
    places = [*_changes(levels, 0), len(levels)]
    means = [fmean(levels[begin:end]) for begin, end in pairwise((0, *places)) if end > begin]
    risen = (place for place, (early, late) in zip(places, pairwise(means), strict=False) if late > early)
    return next((long.windows[place].begin_ns for place in risen), None)


def throttled(long: Sustained) -> bool | None:
    """Return whether the machine said in any window that it holds back; None where it never says."""
    told = [window.throttled for window in long.windows if window.throttled is not None]
    return any(told) if told else None


def document(long: Sustained) -> dict[str, Any]:
    """Return the figures as JSON, for a summary."""
    return {
        "rate_per_s": long.rate_per_s,
        "windows": len(long.windows),
        "ratio": ratio(long),
        "time_to_throttle_ns": slower_from_ns(long),
        "throttled": throttled(long),
    }


def lines(runs: Sequence[Sustained]) -> tuple[str, ...]:
    """Return the long runs in words, a line a contender."""
    return tuple(f"{long.contender}: {_told(long)}" for long in runs if long.windows)


def _told(long: Sustained) -> str:
    first, last = long.windows[0], long.windows[-1]
    taken_s = (last.begin_ns + last.elapsed_ns) / NS_PER_S
    parts = [f"{_clock(taken_s)} in {count(len(long.windows), 'window')}"]
    if long.rate_per_s is not None:
        parts.append(f"{rate(long.rate_per_s)}")
    factor, from_ns = ratio(long), slower_from_ns(long)
    if factor is None:
        parts.append(f"p50 {duration(first.p50_ns)}, too short to tell how it goes on")
    else:
        parts.append(f"p50 {duration(first.p50_ns)} at first, {factor:.2f} times that in the last {LAST} windows")
        parts.append("no lasting slowdown" if from_ns is None else f"slower from {_clock(from_ns / NS_PER_S)} on")
    if first.temperature_millicelsius is not None and last.temperature_millicelsius is not None:
        parts.append(f"{first.temperature_millicelsius / 1000:.0f} to {last.temperature_millicelsius / 1000:.0f} °C")
    if first.frequency_khz is not None and last.frequency_khz is not None:
        parts.append(f"{first.frequency_khz // 1000} to {last.frequency_khz // 1000} MHz")
    held = sum(window.throttled is True for window in long.windows)
    parts += [f"throttled in {count(held, 'window')}"] if held else []
    return ", ".join(parts)


def _clock(seconds: float) -> str:
    return f"{seconds / 60:.3g} min" if seconds >= 60 else f"{seconds:.3g} s"  # noqa: PLR2004 - a minute


def _changes(levels: Sequence[float], begin: int) -> list[int]:
    split = level_change(levels)
    if split is None:
        return []
    return [*_changes(levels[:split], begin), begin + split, *_changes(levels[split:], begin + split)]


def window_of_worker(document: Mapping[str, Any], *, where: str) -> Window:
    """Read a window as a worker told it; raises WorkerLost when it is not what a worker says."""
    told = {key: value for key, value in document.items() if key != "event"}
    return _window(decode.Fields(told, where, "window", WorkerLost))


def read(fields: decode.Fields) -> Sustained:
    """Read the long run of one contender of a record."""
    found = Sustained(
        contender=fields.string("contender", limit=200),
        rate_per_s=fields.optional("rate_per_s", lambda key: fields.number(key, low=0)),
        windows=tuple(map(_window, fields.children("windows", limit=MAX_WINDOWS))),
    )
    fields.finish()
    return found


def _window(fields: decode.Fields) -> Window:
    window = Window(
        begin_ns=fields.integer("begin_ns"),
        elapsed_ns=fields.integer("elapsed_ns", low=1),
        calls=fields.integer("calls", low=1),
        p50_ns=fields.integer("p50_ns", low=1),
        p90_ns=fields.integer("p90_ns", low=1),
        max_ns=fields.integer("max_ns", low=1),
        frequency_khz=fields.optional("frequency_khz", fields.integer),
        temperature_millicelsius=fields.optional(
            "temperature_millicelsius", lambda key: fields.integer(key, low=-300_000, high=10_000_000)
        ),
        throttled=fields.optional("throttled", fields.boolean),
    )
    fields.finish()
    return window
