"""What more threads bring: records of one model on one machine that differ in their threads, against the ideal."""

from collections.abc import Sequence
from typing import Any

import altair as alt

from bench.report.charts.figure import GREY, Drawing, Figure, Rows, color, dash, heading, number, shape
from bench.report.names import model_of
from edge_runtime import summary
from edge_runtime.record import Record
from edge_runtime.units import duration, visible

Key = tuple[Any, ...]


def scaling(records: Sequence[Record]) -> dict[str, Rows]:
    """Return, by model and machine, each contender's p50 by threads, and how many times as fast as with the fewest.

    Of several records with equal threads the latest counts. Left out is who was measured at one count of threads only.
    """
    found: dict[Key, dict[str, dict[int, tuple[str, float]]]] = {}
    for record in sorted(records, key=lambda one: one.created):
        for standing in summary.standings(record):
            latency, one = standing.latency, standing.contender
            if latency is not None and one.ranked:
                own = found.setdefault(_setting(record, model_of(one.artifact)), {})
                own.setdefault(visible(one.name), {})[record.config.threads] = (record.created, latency.p50.estimate)
    panels: dict[str, Rows] = {}
    for key, contenders in found.items():
        rows = [row for name, by_threads in contenders.items() for row in _rows(name, by_threads)]
        if rows:
            panels[_named(key, list(found))] = rows
    return panels


def _rows(name: str, by_threads: dict[int, tuple[str, float]]) -> Rows:
    if len(by_threads) < 2:  # noqa: PLR2004 - from one count of threads to another
        return []
    fewest = min(by_threads)
    base = by_threads[fewest][1]
    return [
        {
            "contender": name,
            "threads": threads,
            "times": round(base / ns, 4),
            "ideal": threads / fewest,
            "p50": duration(ns),
            "share": f"{100 * base / ns * fewest / threads:.0f} %",
        }
        for threads, (_, ns) in sorted(by_threads.items())
    ]


def _setting(record: Record, model: str) -> Key:
    config = record.config
    shapes = tuple(sorted((name, tuple(shape)) for name, shape in config.shapes.items()))
    return (model, visible(record.machine.model), record.machine.key, config.scenario, config.rate_per_s, shapes)


def _named(key: Key, every: list[Key]) -> str:
    """Return a panel's title: the model, and what else is needed to tell it from the others."""
    alike = [other for other in every if other[0] == key[0]]
    more = [str(key[place]) for place in (1, 3, 5) if len({other[place] for other in alike}) > 1]
    return ", ".join((key[0], *more))


def chart(records: Sequence[Record]) -> Figure | None:
    """Return the chart, a panel a model and machine; None where no two records differ in threads only."""
    found = scaling(records)
    if not found:
        return None
    names = list(dict.fromkeys(row["contender"] for rows in found.values() for row in rows))
    return Figure(
        "scaling",
        "What more threads bring",
        "How many times as fast as with the fewest threads, by p50; the dashed line would be the ideal.",
        tuple(_panel(title, rows, names) for title, rows in found.items()),
        ("model", "contender", "threads", "p50", "times as fast", "of the ideal"),
        tuple(
            (title, row["contender"], str(row["threads"]), row["p50"], f"{row['times']:.2f}", row["share"])
            for title, rows in found.items()
            for row in rows
        ),
        wide=True,
        beside=True,
    )


def _panel(title: str, rows: Rows, names: list[str]) -> dict[str, Any]:
    drawing = Drawing()
    x = alt.X("threads:O", title="threads", axis=alt.Axis(labelAngle=0))
    y = alt.Y("times:Q", title="times as fast", scale=alt.Scale(zero=True))
    ideal = list({row["threads"]: {"threads": row["threads"], "times": row["ideal"]} for row in rows}.values())
    own = drawing.data(rows)
    share = alt.Tooltip("share:N", title="of the ideal")
    about = [
        alt.Tooltip("contender:N"),
        alt.Tooltip("threads:O"),
        alt.Tooltip("p50:N"),
        number("times", "times as fast"),
        share,
    ]
    layers = (
        drawing.data(ideal).mark_line(color=GREY, strokeDash=[4, 3]).encode(x=x, y=y),
        own.mark_line(strokeWidth=2.5).encode(x=x, y=y, color=color(names), strokeDash=dash(names)),
        own.mark_point(filled=True, size=70, opacity=1).encode(
            x=x, y=y, color=color(names), shape=shape(names), tooltip=about
        ),
    )
    return drawing.spec(alt.layer(*layers).properties(title=heading(title)), 180)
