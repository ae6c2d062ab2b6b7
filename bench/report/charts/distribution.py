"""The latency of every call: each contender's cumulative distribution, its tail stretched."""

import math
from collections.abc import Sequence
from typing import Any

import altair as alt

from bench.report.charts.figure import GREY, NS_PER_MS, Drawing, Figure, Rows, color, dash, log_axis, number
from edge_runtime import summary
from edge_runtime.record import Record
from edge_runtime.units import duration, rate, visible

RANKS = (*range(1, 90), *(90 + x / 2 for x in range(18)), *(99 + x / 10 for x in range(10)))
TOLD = (50, 90, 95, 99, 99.9)
TICKS = {"0": "p0", "0.301": "p50", "1": "p90", "1.301": "p95", "2": "p99", "3": "p99.9"}


def names(record: Record) -> list[str]:
    """Return the contenders that have figures, in the record's order; one that answered wrongly has none."""
    return [standing.contender.name for standing in summary.standings(record) if standing.latency]


def distribution(record: Record, *, points: int = len(RANKS)) -> Rows:
    """Return points of each contender's cumulative distribution, up to the percentile that its samples support.

    nines: -log10 of the share that is slower, so that the tail has room: 1 is p90, 2 is p99.   points: about how many
    each gets.
    """
    found: Rows = []
    every = max(1, round(len(RANKS) / max(1, points)))
    for name in names(record):
        if record.config.scenario == "offline":
            break  # its launches have several batch sizes: together their latencies are of none
        launches = (launch for launch in record.launches_of(name) if launch.rate_per_s != 0)
        samples = sorted(sample for launch in launches for sample in launch.steady_ns)
        for index, rank in enumerate(RANKS):
            # beyond the last sample but one a rank says no more than "the slowest"
            if (1 - rank / 100) * len(samples) < 1:
                break
            if index % every and rank not in TOLD:
                continue
            found.append(
                {
                    "contender": visible(name),
                    "ms": percentile_of_sorted(samples, rank) / NS_PER_MS,
                    "nines": round(-math.log10(1 - rank / 100), 4),
                    "rank": f"p{rank:g}",
                }
            )
    return found


def percentile_of_sorted(ordered: Sequence[int], rank: float) -> int:
    """Return what `stats.percentile` does, of samples that are sorted already."""
    return ordered[math.ceil(rank * len(ordered) / 100) - 1]


def chart(record: Record, points: int) -> Figure | None:
    """Return the chart; None where no contender has latencies of one kind."""
    drawing = Drawing()
    rows = distribution(record, points=points)
    if not rows:
        return None
    own = [visible(name) for name in names(record)]
    axis = alt.Axis(values=[float(tick) for tick in TICKS], labelExpr=f"{TICKS}[datum.value]", title="share of calls")
    x = log_axis("latency, ms (log)", "ms:Q")
    y = alt.Y("nines:Q", axis=axis, scale=alt.Scale(domain=[0, 3], nice=False))
    lines = drawing.data(rows).mark_line(interpolate="step-after", strokeWidth=2.5)
    # a line answers a pointer nowhere but on itself: points of no ink do so all along it
    dots = drawing.data(rows).mark_point(filled=True, size=90, opacity=0)
    layers: list[Any] = [
        lines.encode(x=x, y=y, color=color(own), strokeDash=dash(own), order=alt.Order("nines:Q")),
        dots.encode(
            x=alt.X("ms:Q"),
            y=alt.Y("nines:Q"),
            color=color(own),
            tooltip=[alt.Tooltip("contender:N"), alt.Tooltip("rank:N"), number("ms", "ms")],
        ),
    ]
    due, note = record.config.rate_per_s, ""
    if due:
        layers.append(
            drawing.data([{"ms": 1e3 / due}]).mark_rule(color=GREY, strokeDash=[4, 3]).encode(x=alt.X("ms:Q"))
        )
        note = f" The dashed line is the period at {rate(due)}: what lies right of it was late."
    told = {f"p{rank:g}" for rank in TOLD}
    return Figure(
        "distribution",
        "Latency of every call",
        "The steady samples of all launches. The axis stretches the tail: each step from p90 to p99 to p99.9 has the "
        f"same height. A line ends where the samples can say no more.{note}",
        (drawing.spec(alt.layer(*layers), 300),),
        ("contender", "percentile", "latency"),
        tuple((row["contender"], row["rank"], duration(row["ms"] * NS_PER_MS)) for row in rows if row["rank"] in told),
    )
