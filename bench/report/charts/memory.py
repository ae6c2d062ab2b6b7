"""What a process needs: its memory by when it came, and the peak that has to fit."""

import altair as alt

from bench.report.charts.distribution import names
from bench.report.charts.figure import BYTES_PER_MIB, Drawing, Figure, Rows, legend
from edge_runtime.record import Record
from edge_runtime.units import size, visible

STACK = ("engine and inputs", "model, loaded", "first calls")
SHADES = ("#8A8A8A", "#0072B2", "#56B4E9")
PEAK = "#D55E00"
FAR = 4  # a line at the board's RAM is drawn when the largest bar is at least one FAR-th of it


def memory(record: Record) -> Rows:
    """Return the parts of each contender's memory (Pss) in steady state, and its peak, in MiB.

    Memory launches may be repeated: the first is the one that the figures are of.
    """
    parts: Rows = []
    seen: set[str] = set()
    for reading in record.memory:
        if reading.contender in seen or reading.contender not in names(record):
            continue
        seen.add(reading.contender)
        base, loaded, steady = (reading.points[point].proportional for point in ("base", "loaded", "steady"))
        if base is None or loaded is None or steady is None:
            continue
        known = [point.peak for point in reading.points.values() if point.peak is not None]
        peak = max(known) if len(known) == len(reading.points) else None
        # what was given back since has no bar: a stack of differences can't show less than nothing
        for index, value in enumerate((base, max(0, loaded - base), max(0, steady - max(loaded, base)))):
            parts.append(
                {
                    "contender": visible(reading.contender),
                    "part": STACK[index],
                    "order": index,
                    "mib": value / BYTES_PER_MIB,
                    "text": size(value),
                    "peak": None if peak is None else peak / BYTES_PER_MIB,
                    "peak text": "unknown" if peak is None else size(peak),
                }
            )
    return parts


def chart(record: Record) -> Figure | None:
    """Return the chart; None where memory was not measured."""
    drawing = Drawing()
    rows = memory(record)
    if not rows:
        return None
    y = alt.Y("contender:N", sort=None, title=None)
    scale = alt.Scale(domain=list(STACK), range=list(SHADES))
    parts = drawing.data(rows).mark_bar(height=18)
    parts = parts.encode(
        x=alt.X("mib:Q", title="MiB"),
        y=y,
        color=alt.Color("part:N", scale=scale, legend=legend()),
        order=alt.Order("order:Q"),
        tooltip=[
            alt.Tooltip("contender:N"),
            alt.Tooltip("part:N"),
            alt.Tooltip("text:N", title="Pss"),
            alt.Tooltip("peak text:N"),
        ],
    )
    peaks = drawing.data([row for row in rows if row["peak"] is not None and row["order"] == 0])
    peaks = peaks.mark_tick(color=PEAK, thickness=3, height=26)
    layers = [
        parts,
        peaks.encode(x=alt.X("peak:Q"), y=y, tooltip=[alt.Tooltip("contender:N"), alt.Tooltip("peak text:N")]),
    ]
    ram = record.machine.ram_bytes
    most = max(row["peak"] or row["mib"] for row in rows) * BYTES_PER_MIB
    beyond = "" if ram is None else f" This machine has {size(ram)}."
    if ram is not None and most * FAR >= ram:
        line = drawing.data([{"ram": ram / BYTES_PER_MIB}]).mark_rule(strokeDash=[4, 3])
        layers.append(line.encode(x=alt.X("ram:Q")))
        beyond += " The dashed line is that."
    count = len({row["contender"] for row in rows})
    return Figure(
        "memory",
        "Memory",
        "The process's own share (Pss) in steady state, by when it came; the orange tick is the most that was ever "
        f"resident, which is what must fit.{beyond}",
        (drawing.spec(alt.layer(*layers), 20 + 34 * count),),
        ("contender", "part", "Pss", "peak of the process"),
        tuple((row["contender"], row["part"], row["text"], row["peak text"]) for row in rows),
    )
