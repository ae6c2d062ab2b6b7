"""The line of p50 over records of one model in one setting, with its steps and where software changed."""

from collections.abc import Sequence
from typing import Any

import altair as alt

from bench import history
from bench.report.charts.figure import COLORS, NS_PER_MS, Drawing, Figure, Rows, color, heading, number, shape
from edge_runtime.record import Record
from edge_runtime.units import count, duration, visible

LEAST = 3  # points: two are a comparison, not a line


def chart(records: Sequence[tuple[str, Record]]) -> Figure | None:
    """Return the chart, a panel a setting; None where no setting was measured often enough.   records: with names."""
    lines = [line for line in history.lines(records) if len(line.points) >= LEAST]
    if not lines:
        return None
    settings = list(dict.fromkeys((line.model, line.setting) for line in lines))
    names = list(dict.fromkeys(visible(line.contender) for line in lines))
    panels = tuple(
        _panel([line for line in lines if (line.model, line.setting) == setting], names) for setting in settings
    )
    return Figure(
        "history",
        "Over time",
        "p50 of each record with its 95 % interval. The thick line is the level: it steps where the records before and "
        "after differ by more than the margin. A triangle marks a change of engine, artifact, kernel or governor.",
        panels,
        ("model and setting", "contender", "when", "p50", "95 % interval", "step", "changed"),
        tuple(row for line in lines for row in _rows(line)),
        wide=True,
        beside=True,
    )


def points(line: history.Line) -> Rows:
    """Return a line's points, in milliseconds; those without an interval have none."""
    return [
        {
            "contender": visible(line.contender),
            "when": one.created,
            "ms": one.value / NS_PER_MS,
            "low": (one.value if one.low is None else one.low) / NS_PER_MS,
            "high": (one.value if one.high is None else one.high) / NS_PER_MS,
            "changed": visible("; ".join(one.marks)),
        }
        for one in line.points
    ]


def levels(line: history.Line) -> Rows:
    """Return a line's segments, each from its first to its last record."""
    return [
        {
            "contender": visible(line.contender),
            "when": line.points[one.start].created,
            "until": line.points[one.end - 1].created,
            "ms": one.level / NS_PER_MS,
        }
        for one in line.segments
    ]


def _rows(line: history.Line) -> list[tuple[str, ...]]:
    steps = {
        later.start: f"{later.level / earlier.level - 1:+.1%}"
        for earlier, later in zip(line.segments, line.segments[1:], strict=False)
    }
    return [
        (
            visible(f"{line.model}, {line.setting}"),
            visible(line.contender),
            one.created,
            duration(one.value),
            "none" if one.low is None or one.high is None else f"{duration(one.low)} to {duration(one.high)}",
            steps.get(index, ""),
            visible("; ".join(one.marks)),
        )
        for index, one in enumerate(line.points)
    ]


def _panel(lines: Sequence[history.Line], names: Sequence[str]) -> dict[str, Any]:
    drawing = Drawing()
    rows = [row for line in lines for row in points(line)]
    when = sorted({row["when"] for row in rows})
    axis = alt.Axis(labelExpr="slice(datum.value, 0, 10)", labelAngle=0, labelOverlap=True, title=None)
    x = alt.X("when:O", scale=alt.Scale(domain=when), axis=axis)
    y = alt.Y("ms:Q", title="p50, ms (log)", scale=alt.Scale(type="log", nice=False, padding=10))
    y = y.axis(format="~r", tickCount=5)
    own, shade = drawing.data(rows), color(names)
    about = [
        alt.Tooltip("contender:N"),
        alt.Tooltip("when:N"),
        number("ms", "p50, ms"),
        number("low", "from"),
        number("high", "to"),
        alt.Tooltip("changed:N"),
    ]
    layers = (
        own.mark_rule(strokeWidth=1.5).encode(x=x, y=alt.Y("low:Q"), y2=alt.Y2("high:Q"), color=shade),
        own.mark_point(filled=True, size=55, opacity=1).encode(
            x=x, y=y, color=shade, shape=shape(names), tooltip=about
        ),
        drawing.data([row for line in lines for row in levels(line)])
        .mark_rule(strokeWidth=3, opacity=0.5)
        .encode(x=alt.X("when:O"), x2=alt.X2("until"), y=y, color=shade),
        drawing.data([row for row in rows if row["changed"]])
        .mark_point(shape="triangle-down", filled=True, size=90, color=COLORS[1], opacity=1, yOffset=-14)
        .encode(x=alt.X("when:O"), y=y, tooltip=[alt.Tooltip("when:N"), alt.Tooltip("changed:N")]),
    )
    title = f"{lines[0].model}, {count(len(when), 'record')}"
    chart = alt.layer(*layers).properties(title=heading(visible(title)))
    return drawing.spec(chart, 200)
