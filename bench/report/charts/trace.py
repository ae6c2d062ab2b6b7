"""Every sample in the order it was taken, and the machine's condition on the same axis: what explains odd numbers."""

from collections.abc import Sequence
from itertools import pairwise

import altair as alt

from bench.report.charts.distribution import names, percentile_of_sorted
from bench.report.charts.figure import COLORS, GREY, NS_PER_MS, Drawing, Figure, Rows, heading, number
from edge_runtime.record import Record
from edge_runtime.samples import Launch
from edge_runtime.stats import percentile
from edge_runtime.units import duration, visible

COLUMNS, LEAST_COLUMNS = 900, 4  # pixels of the trace, shared by its launches
SPIKE = 1.5  # times the p99: slower samples are drawn at the edge, or one would flatten all others
GUTTER = 52  # pixels left of every panel, so that their horizontal axes agree
PROBE = "fixed piece of work, times its best"


def in_order(record: Record) -> list[Launch]:
    """Return the launches in the order they ran."""
    return sorted(record.launches, key=lambda launch: (launch.round, launch.order))


def trace(record: Record, name: str, *, columns: int = COLUMNS) -> tuple[Rows, Rows, int]:
    """Return a contender's samples in order of time, where their warm-up lies, and how many are off the chart.

    x: launch i of the whole run covers [i, i + 1). A column holds least, median, p90 and most of its samples, in
    milliseconds; as many columns as there are samples where these are few. A launch that was not valid is shaded
    whole, with its reasons, and its samples, if it has any, are there all the same.
    """
    launches = in_order(record)
    each = max(LEAST_COLUMNS, columns // max(1, len(launches)))
    own = [sample for launch in record.launches_of(name) for sample in launch.block_ns]
    edge = SPIKE * percentile(own, 99)
    bins: Rows = []
    shaded: Rows = []
    for position, launch in enumerate(launches):
        if launch.contender != name:
            continue
        samples = (*launch.warmup_ns, *launch.block_ns)
        unused = len(launch.warmup_ns) + (launch.cut or 0)
        if not launch.valid:
            told = f"not counted: {visible('; '.join(launch.reasons))}"
            shaded.append({"start": position, "end": position + 1, "told": told[:300]})
        elif unused:
            told = f"{len(launch.warmup_ns)} warm-up samples, {launch.cut or 0} cut off afterwards"
            shaded.append({"start": position, "end": round(position + unused / len(samples), 4), "told": told})
        count = min(each, len(samples))
        edges = [round(index * len(samples) / count) for index in range(count + 1)] if count else []
        for start, end in pairwise(edges):
            part = sorted(samples[start:end])
            bins.append(
                {
                    "x": round(position + (start + end) / 2 / len(samples), 4),
                    "low": _ms(min(part[0], edge)),
                    "ms": _ms(min(part[len(part) // 2], edge)),
                    "most": _ms(min(percentile_of_sorted(part, 90), edge)),
                    "high": _ms(min(part[-1], edge)),
                    "slowest": _ms(part[-1]),
                    "launch": f"{launch.round + 1}.{launch.order + 1}",
                    "samples": end - start,
                }
            )
    return bins, shaded, sum(sample > edge for sample in own)


def _ms(ns: float) -> float:
    return float(f"{ns / NS_PER_MS:.5g}")


CONDITIONS = (
    ("clock of the CPUs used, GHz", "frequency_khz", 1e6),
    ("temperature, °C", "temperature_millicelsius", 1e3),
    ("throttling bits", "throttled_bits", 1.0),
    ("load average, 1 minute", "load_1m_hundredths", 100.0),
)


def conditions(record: Record) -> dict[str, Rows]:
    """Return, by what is read, its values before and after each launch; what this machine doesn't tell is left out."""
    launches = in_order(record)
    found = {PROBE: _probes(launches)}
    for title, field, factor in CONDITIONS:
        found[title] = [
            {"x": x, "value": value / factor, "when": _when(launch, when)}
            for position, launch in enumerate(launches)
            for x, when, reading in ((position, "before", launch.before), (position + 0.97, "after", launch.after))
            if (value := getattr(reading, field)) is not None
        ]
    return {title: points for title, points in found.items() if points}


def _probes(launches: Sequence[Launch]) -> Rows:
    known = [
        (position + 0.97 * after, ns, _when(launch, "after" if after else "before"))
        for position, launch in enumerate(launches)
        for after, ns in enumerate((launch.probe_before_ns, launch.probe_after_ns))
        if ns is not None
    ]
    best = min((ns for _, ns, _ in known), default=0)
    return [{"x": x, "value": round(ns / best, 4), "when": when} for x, ns, when in known]


def _when(launch: Launch, when: str) -> str:
    return f"{when} {visible(launch.contender)}, round {launch.round + 1}"


def chart(record: Record, columns: int) -> Figure | None:
    """Return the chart, a panel a contender and one a condition; None where nothing was timed."""
    own = names(record)
    if not own:
        return None
    launches = in_order(record)
    panels, off = [], 0
    for index, name in enumerate(own):
        bins, shaded, above = trace(record, name, columns=columns)
        off += above
        panels.append(_samples(visible(name), bins, shaded, len(launches), COLORS[index % len(COLORS)]))
    panels.extend(_condition(title, points, len(launches)) for title, points in conditions(record).items())
    clipped = f" {off} samples beyond {SPIKE:g} times the p99 are drawn at the upper edge." if off else ""
    return Figure(
        "trace",
        "Every sample, in the order it was taken",
        "Launches side by side in the order they ran; a column's large dot is the median of its samples, the stroke "
        "reaches from the least to their p90, the small dot is the slowest. Grey is warm-up, or a launch that was "
        f"dropped: no figure counts it.{clipped} Below, on the same axis, the machine's condition before and after "
        "each launch.",
        tuple(panels),
        ("round", "place", "contender", "median", "samples", "cut off", "steady", "valid", "remarks"),
        tuple(_row(launch) for launch in launches),
        wide=True,
    )


def _row(launch: Launch) -> tuple[str, ...]:
    return (
        str(launch.round + 1),
        str(launch.order + 1),
        visible(launch.contender),
        duration(percentile(launch.steady_ns, 50)) if launch.steady_ns else "none",
        str(len(launch.block_ns)),
        str(launch.cut or 0),
        "unknown" if launch.steady is None else "yes" if launch.steady else "no",
        "yes" if launch.valid else "no",
        visible("; ".join(launch.reasons)),
    )


def _horizontal(count: int, field: str) -> alt.X:
    bare = alt.Axis(labels=False, ticks=False, title=None, grid=False)
    return alt.X(field, scale=alt.Scale(domain=[0, count], nice=False), axis=bare)


def _samples(name: str, bins: Rows, shaded: Rows, count: int, shade: str) -> dict[str, object]:
    drawing = Drawing()
    lows, highs = [row["low"] for row in bins], [row["high"] for row in bins]
    room = (max(highs) - min(lows)) * 0.05 or max(highs) * 0.05
    scale = alt.Scale(domain=[max(0, min(lows) - room), max(highs) + room], nice=False, zero=False)
    axis = alt.Axis(minExtent=GUTTER, maxExtent=GUTTER, tickCount=4, title="ms", titleAnchor="end")
    about = [
        alt.Tooltip("launch:N", title="round.place"),
        number("ms", "median, ms"),
        number("slowest", "slowest, ms"),
        number("samples", "samples"),
    ]
    x, y = _horizontal(count, "x:Q"), {"scale": scale, "axis": axis}
    rows = drawing.data(bins)
    layers = (
        drawing.data(shaded)
        .mark_rect(color=GREY, opacity=0.3)
        .encode(x=_horizontal(count, "start:Q"), x2=alt.X2("end:Q"), tooltip=[alt.Tooltip("told:N")]),
        rows.mark_rule(color=shade, opacity=0.6).encode(x=x, y=alt.Y("low:Q", **y), y2=alt.Y2("most:Q"), tooltip=about),
        rows.mark_point(color=shade, filled=True, size=7, opacity=0.45).encode(
            x=x, y=alt.Y("high:Q", **y), tooltip=about
        ),
        rows.mark_point(color=shade, filled=True, size=14, opacity=1).encode(x=x, y=alt.Y("ms:Q", **y), tooltip=about),
    )
    return drawing.spec(alt.layer(*layers).properties(title=heading(name)), 100)


def _condition(title: str, points: Rows, count: int) -> dict[str, object]:
    drawing = Drawing()
    shown = drawing.data(points).mark_line(point={"color": GREY, "size": 18}, color=GREY, strokeWidth=1.5)
    axis = {"minExtent": GUTTER, "maxExtent": GUTTER, "tickCount": 3, "title": " "}
    shown = shown.encode(
        x=_horizontal(count, "x:Q"),
        y=alt.Y("value:Q", scale=alt.Scale(zero=False)).axis(**axis),
        tooltip=[alt.Tooltip("when:N"), number("value", title)],
    )
    return drawing.spec(shown.properties(title=heading(title)), 55)
