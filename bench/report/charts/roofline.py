"""Where the time goes node by node, against the machine's limits: what computing and what memory allow.

Source: Williams, Waterman & Patterson (2009), Roofline.
"""

from dataclasses import replace

import altair as alt

from bench.report.charts.figure import GREY, Drawing, Figure, Rows, color, legend, log_axis, number, shape
from edge_runtime import operator_figures
from edge_runtime.operators import NodeTime, OperatorTimes
from edge_runtime.peaks import Peaks
from edge_runtime.record import Record
from edge_runtime.units import count, duration, visible

MOST = 10  # nodes in the table
DRAWN = 300  # nodes of a contender: the longest, for a large graph has thousands that take nothing
PER_NS = 1e9  # operations a nanosecond are 10^9 a second
ROOFS = ("float32", "int8")


def profiles(record: Record) -> tuple[OperatorTimes, ...]:
    """Return the profiles of contenders that answer right, in the record's order."""
    ranked = {one.name for one in record.contenders if one.ranked}
    return tuple(one for one in record.operators if one.contender in ranked)


def longest(times: OperatorTimes, most: int) -> list[NodeTime]:
    """Return the nodes that take longest, at most so many, their times scaled to a call without the profiler."""
    scale = operator_figures.factor(times)
    ordered = sorted(times.nodes, key=lambda node: -node.ns)[:most]
    return [replace(node, ns=round(node.ns * scale)) for node in ordered]


def nodes(record: Record) -> Rows:
    """Return the nodes whose work is counted: operations a byte, 10^9 operations a second, and their share of time."""
    rows: Rows = []
    for times in profiles(record):
        rows.extend(
            {
                "contender": visible(times.contender),
                "node": visible(node.name)[:120],
                "operator": visible(node.operator),
                "intensity": float(f"{node.operations / node.bytes:.4g}"),
                "rate": float(f"{node.operations / node.ns:.4g}"),
                "share": round(100 * node.ns / times.p50_ns, 2),
                "time": duration(node.ns),
                "limit": _percent(node.least_ns, node.ns),
            }
            for node in longest(times, DRAWN)
            if node.operations and node.bytes and node.ns
        )
    return rows


def roofs(peaks: Peaks, low: float, high: float) -> Rows:
    """Return each limit's line from `low` to `high` operations a byte: it rises with the memory, then is flat."""
    memory = peaks.copy_bytes_per_s / PER_NS
    lines: Rows = []
    for name, operations in zip(ROOFS, (peaks.float32_operations_per_s, peaks.int8_operations_per_s), strict=True):
        top = operations / PER_NS
        ridge = top / memory
        lines.extend(
            {"limit": name, "intensity": x, "rate": min(top, memory * x)}
            for x in sorted({low, min(max(ridge, low), high), high})
        )
    return lines


def chart(record: Record) -> Figure | None:
    """Return the chart and the table of the longest nodes; None without a profile or without the machine's peaks."""
    rows, peaks, found = nodes(record), record.peaks, profiles(record)
    if not found:
        return None
    panels: tuple[dict[str, object], ...] = ()
    if rows and peaks is not None:
        panels = (_drawn(rows, peaks),)
    scaled = ", ".join(
        f"{visible(one.contender)}: profiled times × {operator_figures.factor(one):.2f}" for one in found
    )
    limits = (
        ""
        if peaks is None
        else f" Limits are what this engine reached here with {count(peaks.threads, 'thread')}: copying "
        f"{peaks.copy_bytes_per_s / PER_NS:.3g} GB/s, float32 {peaks.float32_operations_per_s / PER_NS:.3g} and int8 "
        f"{peaks.int8_operations_per_s / PER_NS:.3g} times 10^9 operations a second."
    )
    return Figure(
        "roofline",
        "Where the time goes, and what the machine allows",
        "A dot is a node of the graph, larger the longer it takes; on a line it is as fast as this machine can: left "
        f"of the bend memory sets the limit, right of it computing.{limits} Times are scaled to p50 ({scaled}).",
        panels,
        ("contender", "node", "operator", "calls", "time", "of p50", "10^9 operations/s", "of the limit"),
        tuple(row for one in found for row in _longest(one)),
        wide=True,
        opened=True,
    )


def _longest(times: OperatorTimes) -> list[tuple[str, ...]]:
    return [
        (
            visible(times.contender),
            visible(node.name),
            visible(node.operator),
            str(node.calls),
            duration(node.ns),
            f"{100 * node.ns / times.p50_ns:.1f} %",
            f"{node.operations / node.ns:.3g}" if node.operations and node.ns else "uncounted",
            _percent(node.least_ns, node.ns),
        )
        for node in longest(times, MOST)
    ]


def _percent(least_ns: float | None, ns: int) -> str:
    return "unknown" if least_ns is None or not ns else f"{100 * least_ns / ns:.0f} %"


def _drawn(rows: Rows, peaks: Peaks) -> dict[str, object]:
    drawing = Drawing()
    places = [row["intensity"] for row in rows]
    tops = (peaks.float32_operations_per_s, peaks.int8_operations_per_s)
    ridges = [top / peaks.copy_bytes_per_s for top in tops]
    low, high = min(*places, *ridges) / 2, max(*places, *ridges) * 2
    names = list(dict.fromkeys(row["contender"] for row in rows))
    y = alt.Y("rate:Q", scale=alt.Scale(type="log", nice=False), title="10^9 operations a second (log)")
    x = log_axis("operations a byte of memory traffic (log)", "intensity:Q", domain=[low, high])
    about = [
        *([alt.Tooltip("contender:N")] if len(names) > 1 else []),
        *map(alt.Tooltip, ("node:N", "operator:N", "time:N")),
        number("share", "share of p50, %"),
        alt.Tooltip("limit:N", title="of the limit"),
        number("rate", "10^9 operations/s"),
    ]
    dashes = alt.StrokeDash("limit:N", scale=alt.Scale(domain=list(ROOFS), range=[[1, 0], [6, 3]]), legend=legend())
    lines = drawing.data(roofs(peaks, low, high)).mark_line(color=GREY, strokeWidth=2)
    dots = drawing.data(rows).mark_point(filled=True, opacity=0.75)
    size = alt.Size("share:Q", scale=alt.Scale(range=[25, 500], domainMin=0), legend=None)
    return drawing.spec(
        alt.layer(
            lines.encode(x=x, y=y.axis(format="~r", tickCount=5), strokeDash=dashes),
            dots.encode(
                x=alt.X("intensity:Q"),
                y=alt.Y("rate:Q"),
                size=size,
                color=color(names),
                shape=shape(names),
                tooltip=about,
            ),
        ),
        320,
    )
