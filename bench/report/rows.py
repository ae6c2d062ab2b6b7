"""A record, or a comparison of two, as a table of text for a terminal, with units chosen once."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.comparison import Comparison
from bench.report.names import one_line
from edge_runtime import summary
from edge_runtime.record import Record
from edge_runtime.stats import Interval

UNKNOWN = "–"  # not measured, or not to be had from so few samples
TIMES = (("s", 1e9), ("ms", 1e6), ("us", 1e3), ("ns", 1.0))
SIZES = (("GiB", 2.0**30), ("MiB", 2.0**20), ("KiB", 2.0**10), ("B", 1.0))
FIGURES = {
    "p50_ns": ("p50", TIMES),
    "cold_start_ns": ("cold start", TIMES),
    "start_warm_ns": ("start, warm", TIMES),
    "start_evicted_ns": ("start, evicted", TIMES),
    "model_steady_bytes": ("memory, model", SIZES),
    "total_peak_bytes": ("memory, peak", SIZES),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One contender's cells, in the order of `Sheet.columns`; an invalid one is shown and never ranked."""

    cells: tuple[str, ...]
    valid: bool
    verdict: str


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table of text. columns: a name and a unit ("" for none) each; the first column is the contender."""

    columns: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]


def sheet(record: Record, *, contender: str) -> Sheet:
    """Return one row a contender: latency, memory, cold start, and how much faster `contender` is than it."""
    standings = summary.standings(record)
    against = {one.baseline: one for one in summary.comparisons(record, contender=contender)}
    valid = [standing for standing in standings if standing.contender.ranked]
    latency = _unit(TIMES, [one.latency.p50.estimate for one in valid if one.latency])
    cold = _unit(TIMES, [one.cold_start_ns.estimate for one in valid if one.cold_start_ns])
    memory = _unit(SIZES, [one.memory.total_peak for one in valid if one.memory and one.memory.total_peak])
    columns = (
        ("contender", ""),
        ("p50", latency[0]),
        ("p90", latency[0]),
        ("p99", latency[0]),
        ("model", memory[0]),
        ("peak", memory[0]),
        ("cold start", cold[0]),
        (f"{contender} is faster by", "95 % interval"),
        ("verdict", f"on {contender}"),
    )
    rows = []
    for standing in standings:
        name = one_line(standing.contender.name)
        failure, one = standing.contender.failure, against.get(standing.contender.name)
        wrong = not standing.contender.ranked
        verdict = failure.kind if failure else "invalid" if wrong else "" if one is None else one.verdict
        cells = [UNKNOWN] * 6 if wrong else _figures(standing, latency[1], memory[1], cold[1])
        speedup = (
            ""
            if one is None or one.speedup is None or wrong
            else f"{one.speedup.estimate:.2f}x {_limits(one.speedup)}".rstrip()
        )
        rows.append(Row((name, *cells, speedup, verdict), failure is not None or not wrong, verdict))
    return Sheet(columns, tuple(rows))


def changes(found: Comparison) -> Sheet:
    """Return one row a figure of each contender: before, after, and what to make of it."""
    rows = []
    for change in found.changes:
        known = [value for value in (change.before, change.after) if value is not None]
        label, units = FIGURES[change.figure]
        unit, factor = _unit(units, [abs(value) for value in known if value])
        speedup, remark = change.speedup, ""
        if speedup is not None:
            remark = f"{speedup.estimate:.2f}x {_limits(speedup)}".rstrip()
        elif units is SIZES and len(known) == 2:  # noqa: PLR2004 - before and after
            gap = known[1] - known[0]
            remark = f"{'+' if gap >= 0 else '-'}{scaled(abs(gap), factor)} {unit}"
        values = (
            UNKNOWN if value is None else f"{scaled(value, factor)} {unit}" for value in (change.before, change.after)
        )
        verdict = change.verdict or "one launch"
        cells = (one_line(change.contender), label, *values, remark, verdict)
        rows.append(Row(cells, verdict != "invalid", change.verdict))
    columns = (("contender", ""), ("", ""), ("before", ""), ("after", ""), ("speed-up", "95 % interval"))
    return Sheet((*columns, ("verdict", "")), tuple(rows))


def scaled(value: float | None, factor: float) -> str:
    """Return a value in units of `factor`, with three significant digits, or the dash of what is unknown."""
    if value is None:
        return UNKNOWN
    shown = value / factor
    # 0.0995 to 0.9995 and so on: what rounds up to the next power of ten has one digit less behind the point
    places = next((places for limit, places in ((9.995, 2), (99.95, 1)) if abs(shown) < limit), 0)
    return f"{shown:.{places}f}"


def _figures(standing: summary.Standing, time_ns: float, size_bytes: float, cold_ns: float) -> list[str]:
    latency, memory, cold = standing.latency, standing.memory, standing.cold_start_ns
    return [
        UNKNOWN if latency is None else f"{scaled(latency.p50.estimate, time_ns)}{_share(latency.p50)}",
        *(scaled(_estimate(one), time_ns) for one in ((latency.p90, latency.p99) if latency else (None, None))),
        scaled(memory.model_steady if memory else None, size_bytes),
        scaled(memory.total_peak if memory else None, size_bytes),
        scaled(_estimate(cold), cold_ns),
    ]


def _unit(units: Sequence[tuple[str, float]], values: Sequence[float]) -> tuple[str, float]:
    """Return the unit in which the smallest value is at least 1, so that no column shows 0.00."""
    smallest = min(values, default=0.0)
    return next((unit for unit in units if smallest >= unit[1]), units[-1])


def _share(interval: Interval) -> str:
    if interval.high is None:
        return ""
    percent = 100 * (interval.high / interval.estimate - 1)
    return f" ±{percent:.0f}%" if percent >= 10 else f" ±{percent:.1f}%"  # noqa: PLR2004 - two digits either way


def _limits(speedup: Interval) -> str:
    return "" if speedup.low is None else f"[{speedup.low:.2f}, {speedup.high:.2f}]"


def _estimate(interval: Interval | None) -> float | None:
    return None if interval is None else interval.estimate
