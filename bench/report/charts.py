"""Charts of a record as Vega-Lite specifications: this package's door to Altair.

Colours are those of Okabe & Ito that can be seen on white and on black; a shape or a dash says the same, so that no
chart needs colours. Text has no colour here: the page's style gives it that of its theme.
"""

from dataclasses import dataclass
from typing import Any

import altair as alt

from bench.report import chart_data
from edge_runtime.record import Record
from edge_runtime.units import size, visible

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [4, 4], [1, 3])
VERDICTS = {"faster": "#009E73", "slower": "#D55E00", "same": "#0072B2", "inconclusive": "#8A8A8A"}
SHAPES = {"faster": "triangle-right", "slower": "triangle-left", "same": "circle", "inconclusive": "diamond"}
GREY = "#8A8A8A"
LABEL_WIDTH = 150  # pixels; longer names end in an ellipsis, the table below has them whole
FAR = 4  # a line at the board's RAM is drawn when the largest bar is at least one FAR-th of it


@dataclass(frozen=True, slots=True)
class Figure:
    """One chart, of one or more panels below each other, and the table that says the same."""

    key: str
    title: str
    note: str
    panels: tuple[dict[str, Any], ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def figures(record: Record, *, contender: str, columns: int = chart_data.COLUMNS) -> tuple[Figure, ...]:
    """Return the charts that the record holds data for, in reading order; columns: the width of the trace."""
    drawn = (
        _forest(record, contender),
        _distribution(record),
        _trace(record, columns),
        _memory(record),
        _cold_start(record),
        _trade(record),
    )
    return tuple(figure for figure in drawn if figure is not None)


def _spec(chart: Any, height: int | None = None) -> dict[str, Any]:  # noqa: ANN401 - a chart or layers of charts
    sized = chart.properties(width="container", **({} if height is None else {"height": height}))
    fit = alt.AutoSizeParams(type="fit-x", contains="padding")
    made = sized.configure(autosize=fit, background="transparent").configure_view(stroke=None)
    made = made.configure_axis(labelLimit=LABEL_WIDTH, titleFontWeight="normal", labelFontSize=11, titleFontSize=11)
    return dict(made.configure_legend(labelFontSize=12).to_dict())


def _legend() -> Any:  # noqa: ANN401 - Altair's types are its own
    return alt.Legend(orient="top", title=None, columns=2, labelLimit=LABEL_WIDTH)


def _color(names: list[str]) -> Any:  # noqa: ANN401 - Altair's types are its own
    shades = [COLORS[index % len(COLORS)] for index in range(len(names))]
    return alt.Color("contender:N", scale=alt.Scale(domain=names, range=shades), legend=_legend())


def _forest(record: Record, contender: str) -> Figure | None:
    rows = chart_data.speedups(record, contender=contender)
    if not rows:
        return None
    margin = 1 + record.config.margin
    least, most = min(row["low"] for row in rows), max(row["high"] for row in rows)
    scale = alt.Scale(type="log", domain=[min(least, 1 / margin) / 1.05, max(most, margin) * 1.05], nice=False)
    x = alt.X("low:Q", scale=scale, title=f"times as fast as, {visible(contender)} over the other (log)")
    x = x.axis(format="~r", tickCount=6, labelOverlap=True)
    y = alt.Y("baseline:N", sort=None, title=None)
    judged = {
        "color": alt.Color(
            "verdict:N",
            scale=alt.Scale(domain=[*VERDICTS], range=[*VERDICTS.values()]),
            legend=_legend(),
        ),
        "tooltip": [alt.Tooltip("baseline:N", title="against"), "text:N", "verdict:N"],
    }
    shape = alt.Shape("verdict:N", scale=alt.Scale(domain=[*SHAPES], range=[*SHAPES.values()]), legend=_legend())
    band = alt.Chart(alt.InlineData(values=[{"low": 1 / margin, "high": margin}])).mark_rect(color=GREY, opacity=0.25)
    one = alt.Chart(alt.InlineData(values=[{"low": 1}])).mark_rule(color=GREY, strokeDash=[4, 3])
    spans = alt.Chart(alt.InlineData(values=rows)).mark_rule(strokeWidth=3)
    points = alt.Chart(alt.InlineData(values=rows)).mark_point(filled=True, size=140, opacity=1)
    layers = (
        band.encode(x=x, x2="high:Q"),
        one.encode(x=x),
        spans.encode(x=x, x2="high:Q", y=y, **judged),
        points.encode(x=alt.X("speedup:Q", scale=scale), y=y, shape=shape, **judged),
    )
    return Figure(
        "speedups",
        "How much faster, and how sure",
        f"Point and 95 % interval over rounds; the shaded band is the margin of {record.config.margin:.1%}, within "
        "which a difference counts as none.",
        (_spec(alt.layer(*layers), 60 + 32 * len(rows)),),
        ("against", "speed-up", "verdict"),
        tuple((row["baseline"], row["text"], row["verdict"]) for row in rows),
    )


def _distribution(record: Record) -> Figure | None:
    rows = chart_data.distribution(record)
    if not rows:
        return None
    names = [visible(name) for name in chart_data.names(record)]
    ticks = "{'0': 'p0', '0.301': 'p50', '1': 'p90', '1.301': 'p95', '2': 'p99', '3': 'p99.9'}"
    axis = alt.Axis(
        values=[0, 0.301, 1, 1.301, 2, 3], labelExpr=f"{ticks}[datum.value]", title="share of calls this fast"
    )
    dash = alt.StrokeDash(
        "contender:N",
        scale=alt.Scale(domain=names, range=[DASHES[i % len(DASHES)] for i in range(len(names))]),
        legend=_legend(),
    )
    chart = alt.Chart(alt.InlineData(values=rows)).mark_line(interpolate="step-after", strokeWidth=2.5)
    chart = chart.encode(
        x=alt.X("ms:Q", scale=alt.Scale(type="log", nice=False), title="latency, ms (log)").axis(
            format="~r", tickCount=6, labelOverlap=True
        ),
        y=alt.Y("nines:Q", axis=axis, scale=alt.Scale(domain=[0, 3], nice=False)),
        color=_color(names),
        strokeDash=dash,
        order="nines:Q",
    )
    # a line answers a pointer nowhere but on itself: points of no ink do so all along it
    points = alt.Chart(alt.InlineData(values=rows)).mark_point(filled=True, size=90, opacity=0)
    points = points.encode(x="ms:Q", y="nines:Q", color=_color(names), tooltip=["contender:N", "rank:N", "latency:N"])
    told = {"p50", "p90", "p95", "p99", "p99.9"}
    return Figure(
        "distribution",
        "Latency of every call",
        "The steady samples of all launches. The axis stretches the tail: each step from p90 to p99 to p99.9 has the "
        "same height. A line ends where the samples can say no more.",
        (_spec(alt.layer(chart, points), 300),),
        ("contender", "percentile", "latency"),
        tuple((row["contender"], row["rank"], row["latency"]) for row in rows if row["rank"] in told),
    )


def _trace(record: Record, columns: int) -> Figure | None:
    names = chart_data.names(record)
    if not names:
        return None
    launches = chart_data.in_order(record)
    x_scale = alt.Scale(domain=[0, len(launches)], nice=False)
    bare = alt.Axis(labels=False, ticks=False, title=None, grid=False)
    panels, off = [], 0
    for index, name in enumerate(names):
        bins, warm, above = chart_data.trace(record, name, columns=columns)
        off += above
        lows, highs = [row["low"] for row in bins], [row["high"] for row in bins]
        room = (max(highs) - min(lows)) * 0.05 or max(highs) * 0.05
        y_scale = alt.Scale(domain=[max(0, min(lows) - room), max(highs) + room], nice=False, zero=False)
        y = {"scale": y_scale, "axis": alt.Axis(minExtent=52, maxExtent=52, tickCount=4, title="ms", titleAnchor="end")}
        color = COLORS[index % len(COLORS)]
        data = alt.Chart(alt.InlineData(values=bins))
        about = ["launch:N", "median:N", "samples:N"]
        shade = alt.Chart(alt.InlineData(values=warm)).mark_rect(color=GREY, opacity=0.3)
        layers = (
            shade.encode(x=alt.X("start:Q", scale=x_scale, axis=bare), x2="end:Q", tooltip=["told:N"]),
            data.mark_rule(color=color, opacity=0.6).encode(
                x=alt.X("x:Q", scale=x_scale, axis=bare), y=alt.Y("low:Q", **y), y2="most:Q", tooltip=about
            ),
            data.mark_point(color=color, filled=True, size=7, opacity=0.45).encode(
                x=alt.X("x:Q", scale=x_scale, axis=bare), y=alt.Y("high:Q", **y), tooltip=about
            ),
            data.mark_point(color=color, filled=True, size=14, opacity=1).encode(
                x=alt.X("x:Q", scale=x_scale, axis=bare), y=alt.Y("ms:Q", **y), tooltip=about
            ),
        )
        title = alt.TitleParams(visible(name), anchor="start", fontSize=12, limit=LABEL_WIDTH * 2)
        panels.append(_spec(alt.layer(*layers).properties(title=title), 100))
    for title, points in chart_data.conditions(record).items():
        shown = alt.Chart(alt.InlineData(values=points)).mark_line(point=True, color=GREY, strokeWidth=1.5)
        shown = shown.encode(
            x=alt.X("x:Q", scale=x_scale, axis=bare),
            y=alt.Y("value:Q", scale=alt.Scale(zero=False)).axis(minExtent=52, maxExtent=52, tickCount=3, title=" "),
            tooltip=["when:N", alt.Tooltip("value:Q", title=title, format=".4~g")],
        )
        panels.append(_spec(shown.properties(title=alt.TitleParams(title, anchor="start", fontSize=12)), 55))
    clipped = (
        f" {off} samples of more than {chart_data.SPIKE:g} times the median are drawn at the upper edge." if off else ""
    )
    return Figure(
        "trace",
        "Every sample, in the order it was taken",
        "Launches side by side in the order they ran; a column's large dot is the median of its samples, the stroke "
        "reaches from the least to their p90, the small dot is the slowest. Grey is warm-up, which no figure counts."
        f"{clipped} Below, on the same axis, the machine's condition before and after each launch.",
        tuple(panels),
        ("round", "place", "contender", "samples", "cut off", "steady", "valid", "remarks"),
        tuple(
            (
                str(launch.round + 1),
                str(launch.order + 1),
                visible(launch.contender),
                str(len(launch.block_ns)),
                str(launch.cut or 0),
                "unknown" if launch.steady is None else "yes" if launch.steady else "no",
                "yes" if launch.valid else "no",
                visible("; ".join(launch.reasons)),
            )
            for launch in launches
        ),
    )


def _memory(record: Record) -> Figure | None:
    rows = chart_data.memory(record)
    if not rows:
        return None
    parts = alt.Chart(alt.InlineData(values=rows)).mark_bar(height=18)
    y = alt.Y("contender:N", sort=None, title=None)
    parts = parts.encode(
        x=alt.X("mib:Q", title="MiB"),
        y=y,
        color=alt.Color(
            "part:N",
            scale=alt.Scale(domain=[*chart_data.STACK], range=["#8A8A8A", "#0072B2", "#56B4E9"]),
            legend=_legend(),
        ),
        order="order:Q",
        tooltip=["contender:N", "part:N", alt.Tooltip("text:N", title="Pss"), "peak text:N"],
    )
    peaks = alt.Chart(alt.InlineData(values=[row for row in rows if row["peak"] is not None and row["order"] == 0]))
    peaks = peaks.mark_tick(color="#D55E00", thickness=3, height=26)
    layers = [parts, peaks.encode(x="peak:Q", y=y, tooltip=["contender:N", "peak text:N"])]
    ram = record.machine.ram_bytes
    most = max(row["peak"] or row["mib"] for row in rows) * chart_data.BYTES_PER_MIB
    beyond = "" if ram is None else f" This machine has {size(ram)}."
    if ram is not None and most * FAR >= ram:
        line = alt.Chart(alt.InlineData(values=[{"ram": ram / chart_data.BYTES_PER_MIB}])).mark_rule(strokeDash=[4, 3])
        layers.append(line.encode(x="ram:Q"))
        beyond += " The dashed line is that."
    names = {row["contender"] for row in rows}
    return Figure(
        "memory",
        "Memory",
        "The process's own share (Pss) in steady state, by when it came; the orange tick is the most that was ever "
        f"resident, which is what must fit.{beyond}",
        (_spec(alt.layer(*layers), 50 + 34 * len(names)),),
        ("contender", "part", "Pss", "peak of the process"),
        tuple((row["contender"], row["part"], row["text"], row["peak text"]) for row in rows),
    )


def _cold_start(record: Record) -> Figure | None:
    rows = chart_data.cold_starts(record)
    if not rows:
        return None
    chart = alt.Chart(alt.InlineData(values=rows)).mark_bar(height=18)
    chart = chart.encode(
        x=alt.X("ms:Q", title="ms from a fresh process to its first result"),
        y=alt.Y("contender:N", sort=None, title=None),
        color=alt.Color(
            "step:N",
            scale=alt.Scale(domain=[*chart_data.STEPS.values()], range=["#8A8A8A", "#E69F00", "#0072B2", "#009E73"]),
            legend=_legend(),
        ),
        order="order:Q",
        tooltip=["contender:N", "step:N", "text:N"],
    )
    names = {row["contender"] for row in rows}
    return Figure(
        "cold-start",
        "From a cold start to the first answer",
        "Means over launches; files were in the page cache, unless this was the first run since boot.",
        (_spec(chart, 50 + 34 * len(names)),),
        ("contender", "step", "time"),
        tuple((row["contender"], row["step"], row["text"]) for row in rows),
    )


def _trade(record: Record) -> Figure | None:
    rows = chart_data.trade(record)
    if len(rows) < 2:  # noqa: PLR2004 - a trade-off is between two
        return None
    names = [row["contender"] for row in rows]
    chart = alt.Chart(alt.InlineData(values=rows))
    x = alt.X("ms:Q", scale=alt.Scale(type="log", padding=30, nice=False), title="p50, ms (log)")
    x = x.axis(format="~r", tickCount=6, labelOverlap=True)
    y = alt.Y("mib:Q", scale=alt.Scale(type="log", padding=30, nice=False), title="peak memory, MiB (log)")
    y = y.axis(format="~r", tickCount=4)
    shape = alt.Shape("contender:N", scale=alt.Scale(domain=names), legend=_legend())
    about = ["contender:N", "latency:N", "memory:N", alt.Tooltip("worst:N", title="worst error")]
    dots = chart.mark_point(filled=True, opacity=1).encode(
        x=x,
        y=y,
        color=_color(names),
        shape=shape,
        size=alt.Size("error:Q", scale=alt.Scale(range=[90, 400]), legend=None),
        tooltip=about,
    )
    return Figure(
        "trade",
        "Speed against memory",
        "Down and to the left is better; a larger mark answers further from the golden cases.",
        (_spec(dots, 260),),
        ("contender", "p50", "peak memory", "worst error"),
        tuple((row["contender"], row["latency"], row["memory"], row["worst"]) for row in rows),
    )
