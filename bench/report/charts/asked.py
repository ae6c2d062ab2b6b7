"""What a scenario is measured for: calls that came too late, samples a second by batch, rates within a target."""

import altair as alt

from bench.report.charts.figure import Drawing, Figure, Rows, color, dash, number, shape
from edge_runtime import scenario_figures, units
from edge_runtime.record import Record
from edge_runtime.units import visible


def late(record: Record) -> Rows:
    """Return the share of periodic calls that took longer than their period, by launch, in per cent."""
    due = record.config.rate_per_s
    if record.config.scenario != "periodic" or not due:
        return []
    ranked = [one.name for one in record.contenders if one.ranked]
    return [
        {
            "contender": visible(name),
            "late": 100 * sum(ns > 1e9 / due for ns in launch.steady_ns) / len(launch.steady_ns),
            "launch": f"round {launch.round + 1}",
        }
        for name in ranked
        for launch in record.launches_of(name)
    ]


def misses(record: Record) -> Figure | None:
    """Return the chart of calls that missed their deadline; None in other scenarios than periodic."""
    drawing = Drawing()
    rows, due = late(record), record.config.rate_per_s
    if not rows or not due:
        return None
    found = [one for one in scenario_figures.figures(record) if one.missed is not None]
    every = [{"contender": visible(one.contender), "late": 100 * (one.missed or 0.0)} for one in found]
    y = alt.Y("contender:N", sort=None, title=None)
    x = alt.X("late:Q", title="calls later than their period, %", scale=alt.Scale(domainMin=0, nice=True))
    layers = (
        drawing.data(rows)
        .mark_point(filled=True, size=60, opacity=0.6)
        .encode(x=x, y=y, tooltip=[alt.Tooltip("contender:N"), alt.Tooltip("launch:N"), number("late", "late, %")]),
        drawing.data(every)
        .mark_tick(thickness=3, height=24, color="#D55E00")
        .encode(x=alt.X("late:Q"), y=y, tooltip=[alt.Tooltip("contender:N"), number("late", "of all launches, %")]),
    )
    return Figure(
        "misses",
        "Deadlines missed",
        f"At {units.rate(due)} a call is late when its answer comes more than {units.duration(1e9 / due)} after it was "
        "due. A dot is a launch, the orange tick all of them.",
        (drawing.spec(alt.layer(*layers), 20 + 34 * len(found)),),
        ("contender", "late", "jitter (p99 - p50)", "launches"),
        tuple(
            (
                visible(one.contender),
                f"{one.missed:.2%}",
                "too few calls" if one.jitter_ns is None else units.duration(one.jitter_ns),
                str(len(record.launches_of(one.contender))),
            )
            for one in found
        ),
    )


def batches(record: Record) -> Figure | None:
    """Return the chart of samples a second by the size of the batch; None in other scenarios than offline."""
    drawing = Drawing()
    found = [one for one in scenario_figures.figures(record) if one.samples_per_s]
    rows: Rows = [
        {
            "contender": visible(one.contender),
            "batch": batch,
            "rate": rate.estimate,
            "low": rate.low if rate.low is not None else rate.estimate,
            "high": rate.high if rate.high is not None else rate.estimate,
            "text": units.rate(rate.estimate),
            "best": "yes" if batch == one.best_batch else "",
        }
        for one in found
        for batch, rate in one.samples_per_s.items()
    ]
    if not rows:
        return None
    names = [visible(one.contender) for one in found]
    x = alt.X("batch:O", title="batch", axis=alt.Axis(labelAngle=0))
    y = alt.Y("rate:Q", title="samples a second", scale=alt.Scale(zero=True))
    own = drawing.data(rows)
    layers = (
        own.mark_line(strokeWidth=2).encode(x=x, y=y, color=color(names), strokeDash=dash(names)),
        own.mark_rule(strokeWidth=2).encode(x=x, y=alt.Y("low:Q"), y2=alt.Y2("high:Q"), color=color(names)),
        own.mark_point(filled=True, size=80, opacity=1).encode(
            x=x,
            y=y,
            color=color(names),
            shape=shape(names),
            tooltip=[alt.Tooltip("contender:N"), alt.Tooltip("batch:O"), alt.Tooltip("text:N")],
        ),
    )
    return Figure(
        "batches",
        "Samples a second by batch",
        "Geometric means over launches, with 95 % intervals.",
        (drawing.spec(alt.layer(*layers), 260),),
        ("contender", "batch", "samples a second", "best"),
        tuple((row["contender"], str(row["batch"]), row["text"], row["best"]) for row in rows),
    )
