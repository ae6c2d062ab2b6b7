"""Minutes under load: each contender's latency window by window, with clock and temperature on the same axis."""

from collections.abc import Callable

import altair as alt

from bench.report.charts.figure import COLORS, GREY, NS_PER_MS, Drawing, Figure, Rows, color, heading, number, shape
from edge_runtime.record import Record
from edge_runtime.sustained import Sustained, Window, ratio
from edge_runtime.units import duration, rate, visible

NS_PER_MINUTE = 60e9
GUTTER = 52  # pixels left of every panel, so that their horizontal axes agree
CONDITIONS: tuple[tuple[str, Callable[[Window], float | None]], ...] = (
    ("clock, GHz", lambda one: None if one.frequency_khz is None else one.frequency_khz / 1e6),
    (
        "temperature, °C",
        lambda one: None if one.temperature_millicelsius is None else one.temperature_millicelsius / 1e3,
    ),
)


def runs(record: Record) -> tuple[Sustained, ...]:
    """Return the long runs of contenders that answer right, in the record's order."""
    ranked = {one.name for one in record.contenders if one.ranked}
    return tuple(one for one in record.sustained if one.contender in ranked and one.windows)


def windows(record: Record) -> Rows:
    """Return each window, at its middle in minutes, with p50 and p90 in milliseconds."""
    return [
        {
            "contender": visible(run.contender),
            "minutes": round((one.begin_ns + one.elapsed_ns / 2) / NS_PER_MINUTE, 3),
            "ms": one.p50_ns / NS_PER_MS,
            "p90": one.p90_ns / NS_PER_MS,
            "throttled": one.throttled is True,
            **{name: read(one) for name, read in CONDITIONS},
        }
        for run in runs(record)
        for one in run.windows
    ]


def chart(record: Record) -> Figure | None:
    """Return the chart; None where nothing was run for minutes."""
    found, rows = runs(record), windows(record)
    if not rows:
        return None
    names = [visible(run.contender) for run in found]
    end = max(row["minutes"] for row in rows) * 1.03
    panels = [_latency(rows, names, end)]
    for title, _ in CONDITIONS:
        points = [row for row in rows if row[title] is not None]
        if points:
            panels.append(_condition(title, points, names, end))
    told = "; ".join(f"{visible(run.contender)} {_change(ratio(run))}{_at(run)}" for run in found)
    return Figure(
        "sustained",
        "Minutes under load",
        "The line is the p50 of each window, the thin one its p90; a ring marks a window in which the processor was "
        f"held back. {told}.",
        tuple(panels),
        ("contender", "from", "calls", "p50", "p90", "slowest", "clock", "temperature", "throttled"),
        tuple(_row(run, one) for run in found for one in run.windows),
        wide=True,
    )


def _change(factor: float | None) -> str:
    if factor is None:
        return "ran too short a time to tell how it goes on"
    if abs(factor - 1) < 0.005:  # noqa: PLR2004 - what rounds to 1.00
        return "ended as fast as it began"
    return f"ended at {factor:.2f} times its first p50"


def _at(run: Sustained) -> str:
    return "" if run.rate_per_s is None else f" at {rate(run.rate_per_s)}"


def _row(run: Sustained, one: Window) -> tuple[str, ...]:
    clock, heat = one.frequency_khz, one.temperature_millicelsius
    return (
        visible(run.contender),
        f"{one.begin_ns / NS_PER_MINUTE:.1f} min",
        str(one.calls),
        *(duration(ns) for ns in (one.p50_ns, one.p90_ns, one.max_ns)),
        "unknown" if clock is None else f"{clock / 1e6:.2f} GHz",
        "unknown" if heat is None else f"{heat / 1e3:.1f} °C",
        "unknown" if one.throttled is None else "yes" if one.throttled else "no",
    )


def _horizontal(end: float, *, labels: bool) -> alt.X:
    axis = alt.Axis(labels=labels, ticks=labels, title="minutes" if labels else None, grid=False)
    return alt.X("minutes:Q", scale=alt.Scale(domain=[0, end], nice=False), axis=axis)


def _latency(rows: Rows, names: list[str], end: float) -> dict[str, object]:
    drawing = Drawing()
    axis = {"minExtent": GUTTER, "maxExtent": GUTTER, "tickCount": 5, "title": "ms (log)", "format": "~r"}
    y = alt.Y("ms:Q", scale=alt.Scale(type="log", nice=False, padding=8)).axis(**axis)
    about = [
        alt.Tooltip("contender:N"),
        number("minutes", "minutes"),
        number("ms", "p50, ms"),
        number("p90", "p90, ms"),
    ]
    x, own = _horizontal(end, labels=True), drawing.data(rows)
    layers = (
        own.mark_line(strokeWidth=1, strokeDash=[3, 2]).encode(x=x, y=alt.Y("p90:Q"), color=color(names)),
        own.mark_line(strokeWidth=2.5).encode(x=x, y=y, color=color(names)),
        own.mark_point(filled=True, size=35, opacity=1).encode(
            x=x, y=y, color=color(names), shape=shape(names), tooltip=about
        ),
        drawing.data([row for row in rows if row["throttled"]])
        .mark_point(size=160, color=COLORS[1], strokeWidth=2)
        .encode(x=x, y=y),
    )
    return drawing.spec(alt.layer(*layers), 220)


def _condition(title: str, points: Rows, names: list[str], end: float) -> dict[str, object]:
    drawing = Drawing()
    field = "value"
    rows = [{"contender": row["contender"], "minutes": row["minutes"], field: row[title]} for row in points]
    lines = drawing.data(rows).mark_line(point={"color": GREY, "size": 18}, color=GREY, strokeWidth=1.5)
    axis = {"minExtent": GUTTER, "maxExtent": GUTTER, "tickCount": 3, "title": " "}
    lines = lines.encode(
        x=_horizontal(end, labels=False),
        y=alt.Y(f"{field}:Q", scale=alt.Scale(zero=False)).axis(**axis),
        detail=alt.Detail("contender:N"),
        tooltip=[
            *([alt.Tooltip("contender:N")] if len(names) > 1 else []),
            number("minutes", "minutes"),
            number(field, title),
        ],
    )
    return drawing.spec(lines.properties(title=heading(title)), 55)
