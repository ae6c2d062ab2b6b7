"""Speed against memory: what is gained in one and paid in the other."""

import altair as alt

from bench.report.charts.figure import BYTES_PER_MIB, NS_PER_MS, Drawing, Figure, Rows, color, log_axis, shape
from edge_runtime import summary
from edge_runtime.record import Record
from edge_runtime.units import duration, size, visible


def trade(record: Record) -> Rows:
    """Return latency against peak memory, with how far the answers are from the golden ones."""
    points: Rows = []
    for standing in summary.standings(record):
        latency, used = standing.latency, standing.memory
        if latency is None or used is None or used.total_peak is None:
            continue
        error = standing.contender.answers.max_abs
        points.append(
            {
                "contender": visible(standing.contender.name),
                "ms": latency.p50.estimate / NS_PER_MS,
                "mib": used.total_peak / BYTES_PER_MIB,
                "error": error or 0.0,
                "latency": duration(latency.p50.estimate),
                "memory": size(used.total_peak),
                "worst": "unchecked" if error is None else f"{error:.2g}",
            }
        )
    return points


def chart(record: Record) -> Figure | None:
    """Return the chart; None where fewer than two contenders have both figures."""
    drawing = Drawing()
    rows = trade(record)
    if len(rows) < 2:  # noqa: PLR2004 - a trade-off is between two
        return None
    names = [row["contender"] for row in rows]
    y = alt.Y("mib:Q", scale=alt.Scale(type="log", padding=30, nice=False), title="peak memory, MiB (log)")
    dots = drawing.data(rows).mark_point(filled=True, opacity=1)
    dots = dots.encode(
        x=log_axis("p50, ms (log)", "ms:Q", padding=30),
        y=y.axis(format="~r", tickCount=4),
        color=color(names),
        shape=shape(names),
        size=alt.Size("error:Q", scale=alt.Scale(range=[110, 400]), legend=None),
        tooltip=[
            alt.Tooltip("contender:N"),
            alt.Tooltip("latency:N"),
            alt.Tooltip("memory:N"),
            alt.Tooltip("worst:N", title="worst error"),
        ],
    )
    return Figure(
        "trade",
        "Speed against memory",
        "Down and to the left is better; a larger mark answers further from the golden cases.",
        (drawing.spec(dots, 260),),
        ("contender", "p50", "peak memory", "worst error"),
        tuple((row["contender"], row["latency"], row["memory"], row["worst"]) for row in rows),
    )
