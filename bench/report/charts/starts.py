"""From a fresh process to its first answer, step by step, with the files in the page cache and without."""

from statistics import fmean

import altair as alt

from bench.report.charts.figure import NS_PER_MS, Drawing, Figure, Rows, legend
from bench.report.names import own_of
from edge_runtime import start_figures, summary
from edge_runtime.measured import PHASES
from edge_runtime.record import Record
from edge_runtime.starts import EVICTED, WARM, Start
from edge_runtime.units import count, duration, visible

STEPS = {"spawn": "start of Python", "import": "import of the engine", "load": "load", "first": "first call"}
SHADES = ("#8A8A8A", "#E69F00", "#0072B2", "#009E73")
COLUMNS = ("contender", *STEPS.values(), "together")


def cold_starts(record: Record) -> Rows:
    """Return the phases from a fresh process to its first result, in milliseconds, a bar a contender.

    Where starts were measured in both states of the page cache, a bar each; else those of the launches.
    """
    rows: Rows = []
    for bar, phases in _bars(record):
        rows.extend(
            {
                "contender": bar,
                "step": STEPS[phase],
                "order": index,
                "ms": phases[phase] / NS_PER_MS,
                "text": duration(phases[phase]),
                "together": duration(sum(phases.values())),
            }
            for index, phase in enumerate(PHASES)
        )
    return rows


def _bars(record: Record) -> list[tuple[str, dict[str, float]]]:
    if not record.starts:
        return [
            (visible(one.contender.name), {phase: one.phases_ns[phase].estimate for phase in PHASES})
            for one in summary.standings(record)
            if one.phases_ns
        ]
    ranked = [one.name for one in record.contenders if one.ranked]
    states = ((name, cache, _of(record, name, cache)) for name in ranked for cache in (WARM, EVICTED))
    # means, unlike geometric ones, add up to the mean of the whole
    return [
        (f"{visible(name)}, {cache}", {phase: fmean(one.phases_ns[phase] for one in own) for phase in PHASES})
        for name, cache, own in states
        if own
    ]


def _of(record: Record, name: str, cache: str) -> list[Start]:
    return [one for one in record.starts if (one.contender, one.cache) == (name, cache) and one.phases_ns]


def note(record: Record) -> str:
    """Return what is known of the page cache, which decides how long a start takes."""
    if not record.starts:
        return (
            "Geometric means over launches, which followed each other: most of what a process reads was in memory by "
            "then, though nobody checked. The first start after a boot takes longer."
        )
    told = []
    for cache in (WARM, EVICTED):
        own = [one for one in record.starts if one.cache == cache]
        shares = [one.resident_share for one in own if one.resident_share is not None]
        least, most = (f"{share:.0%}" for share in (min(shares, default=0), max(shares, default=0)))
        range_ = most if least == most else f"{least} to {most}"
        held = f"{range_} of their files' bytes in memory" if shares else "not checked"
        told.append(f"{count(len(own), 'start')} {cache} ({held})")
    _, *overtaking = start_figures.lines(record, contender=own_of(record)) or ("",)
    ends = "".join(f" {visible(line[:1].upper() + line[1:])}." for line in overtaking)
    return (
        f"Means over {' and '.join(told)}. Evicted: what the process reads was taken out of the page cache first, as "
        f"after a boot.{ends}"
    )


def chart(record: Record) -> Figure | None:
    """Return the chart; None where nothing was started."""
    drawing = Drawing()
    rows = cold_starts(record)
    if not rows:
        return None
    scale = alt.Scale(domain=[*STEPS.values()], range=list(SHADES))
    bars = drawing.data(rows).mark_bar(height=18)
    bars = bars.encode(
        x=alt.X("ms:Q", title="ms from a fresh process to its first result"),
        y=alt.Y("contender:N", sort=None, title=None),
        color=alt.Color("step:N", scale=scale, legend=legend()),
        order=alt.Order("order:Q"),
        tooltip=[alt.Tooltip("contender:N"), alt.Tooltip("step:N"), alt.Tooltip("text:N"), alt.Tooltip("together:N")],
    )
    names = list(dict.fromkeys(row["contender"] for row in rows))
    return Figure(
        "cold-start",
        "From a fresh process to the first answer",
        note(record),
        (drawing.spec(bars, 20 + 30 * len(names)),),
        COLUMNS,
        tuple(
            (name, *(row["text"] for row in own), own[0]["together"])
            for name in names
            if (own := [row for row in rows if row["contender"] == name])
        ),
    )
