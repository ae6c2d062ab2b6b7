"""How much faster, and how sure: each baseline's interval against the margin, of one record or of many together."""

from collections.abc import Sequence

import altair as alt

from bench.report.charts.figure import COLORS, GREY, SHAPES, Drawing, Figure, Rows, cycled, legend, log_axis
from bench.report.names import own_of
from edge_runtime import summary
from edge_runtime.record import Record
from edge_runtime.units import visible

VERDICTS = {"faster": "#009E73", "slower": "#D55E00", "same": "#0072B2", "inconclusive": "#8A8A8A"}
POINTERS = {"faster": "triangle-right", "slower": "triangle-left", "same": "circle", "inconclusive": "diamond"}
ROOM = 1.35  # beyond the farthest limit, for the estimates in figures
TOO_MANY = 120  # rows: more would make a chart nobody reads to its end; the table has all


def speedups(record: Record, *, contender: str) -> Rows:
    """Return one row a baseline: the speed-up of `contender` over it with its interval and verdict."""
    return [
        {
            "baseline": visible(one.baseline),
            "speedup": one.speedup.estimate,
            "low": one.speedup.low,
            "high": one.speedup.high,
            "verdict": one.verdict,
            "label": factor(one.speedup.estimate),
            "text": f"{factor(one.speedup.estimate)}, 95 % interval {one.speedup.low:.3g} to {one.speedup.high:.3g}",
        }
        for one in summary.comparisons(record, contender=contender)
        if one.speedup and one.speedup.low is not None and one.speedup.high is not None and one.verdict != "invalid"
    ]


def factor(speedup: float) -> str:
    """Return a speed-up as text."""
    return f"{speedup:.2f}×" if speedup < 100 else f"{speedup:.0f}×"  # noqa: PLR2004 - three digits either way


def forest(record: Record, contender: str) -> Figure | None:
    """Return the chart of one record, a row a baseline; None where nothing is compared."""
    drawing = Drawing()
    rows = speedups(record, contender=contender)
    if not rows:
        return None
    margin = 1 + record.config.margin
    x = _axis(rows, margin, f"times as fast as, {visible(contender)} over the other (log)")
    y = alt.Y("baseline:N", sort=None, title=None)
    told = [alt.Tooltip("baseline:N", title="against"), alt.Tooltip("text:N"), alt.Tooltip("verdict:N")]
    present = [verdict for verdict in VERDICTS if any(row["verdict"] == verdict for row in rows)]
    judged = alt.Color(
        "verdict:N", scale=alt.Scale(domain=present, range=[VERDICTS[one] for one in present]), legend=legend()
    )
    pointed = alt.Shape(
        "verdict:N", scale=alt.Scale(domain=present, range=[POINTERS[one] for one in present]), legend=legend()
    )
    layers = (
        drawing.data([{"low": 1 / margin, "high": margin}])
        .mark_rect(color=GREY, opacity=0.25)
        .encode(x=x, x2=alt.X2("high:Q")),
        drawing.data([{"low": 1}]).mark_rule(color=GREY, strokeDash=[4, 3]).encode(x=x),
        drawing.data(rows).mark_rule(strokeWidth=3).encode(x=x, x2=alt.X2("high:Q"), y=y, color=judged, tooltip=told),
        drawing.data(rows)
        .mark_point(filled=True, size=140, opacity=1)
        .encode(x=alt.X("speedup:Q"), y=y, color=judged, shape=pointed, tooltip=told),
        drawing.data(rows).mark_text(align="left", dx=8).encode(x=alt.X("high:Q"), y=y, text=alt.Text("label:N")),
    )
    return Figure(
        "speedups",
        "How much faster, and how sure",
        f"Point and 95 % interval over rounds; the shaded band is the margin of {record.config.margin:.1%}, within "
        "which a difference counts as none.",
        (drawing.spec(alt.layer(*layers), 30 + 32 * len(rows)),),
        ("against", "speed-up", "verdict"),
        tuple((row["baseline"], row["text"], row["verdict"]) for row in rows),
    )


def together(records: Sequence[Record], titles: Sequence[str]) -> Figure | None:
    """Return the chart of many records, a row each, with a mark a baseline; None where nothing is compared."""
    drawing = Drawing()
    rows: Rows = []
    for record, title in zip(records, titles, strict=True):
        margin = 1 + record.config.margin
        rows.extend(
            {**row, "record": title, "least": 1 / margin, "most": margin}
            for row in speedups(record, contender=own_of(record))
        )
    if not rows:
        return None
    names = list(dict.fromkeys(row["baseline"] for row in rows))
    shown = rows[:TOO_MANY]
    own = ", ".join(dict.fromkeys(visible(own_of(record)) for record in records))
    x = _axis(shown, max(row["most"] for row in shown), f"times as fast as, {own} over the other (log)")
    y = alt.Y("record:N", sort=None, title=None, scale=alt.Scale(paddingInner=0.2))
    lane = alt.YOffset("baseline:N", sort=names)
    told = [
        alt.Tooltip("record:N"),
        alt.Tooltip("baseline:N", title="against"),
        alt.Tooltip("text:N"),
        alt.Tooltip("verdict:N"),
    ]
    shade = alt.Color("baseline:N", scale=alt.Scale(domain=names, range=cycled(COLORS, names)), legend=legend())
    marked = alt.Shape("baseline:N", scale=alt.Scale(domain=names, range=cycled(SHAPES, names)), legend=legend())
    settled = [row for row in shown if row["verdict"] != "inconclusive"]
    marks = {"y": y, "yOffset": lane, "color": shade, "shape": marked, "tooltip": told}
    bands = list({row["record"]: {key: row[key] for key in ("record", "least", "most")} for row in shown}.values())
    layers = (
        drawing.data(bands).mark_rect(color=GREY, opacity=0.22).encode(x=alt.X("least:Q"), x2=alt.X2("most:Q"), y=y),
        drawing.data([{"low": 1}]).mark_rule(color=GREY, strokeDash=[4, 3]).encode(x=x),
        drawing.data(shown)
        .mark_rule(strokeWidth=2.5)
        .encode(x=x, x2=alt.X2("high:Q"), y=y, yOffset=lane, color=shade, tooltip=told),
        drawing.data(settled).mark_point(filled=True, size=80, opacity=1).encode(x=alt.X("speedup:Q"), **marks),
        drawing.data([row for row in shown if row not in settled])
        .mark_point(filled=False, size=80, strokeWidth=2, opacity=1)
        .encode(x=alt.X("speedup:Q"), **marks),
        drawing.data(shown)
        .mark_text(align="left", dx=8, fontSize=11)
        .encode(x=alt.X("high:Q"), y=y, yOffset=lane, text=alt.Text("label:N")),
    )
    height = 18 * len(shown) + 8 * len(bands)
    beyond = f" The first {len(shown)} of {len(rows)} are drawn; the table has all." if len(rows) > len(shown) else ""
    return Figure(
        "together",
        "How much faster, and how sure",
        "Point and 95 % interval over rounds, of every record; a hollow mark is inconclusive. The shaded band is the "
        f"margin, within which a difference counts as none.{beyond}",
        (drawing.spec(alt.layer(*layers), height),),
        ("record", "against", "speed-up", "verdict"),
        tuple((row["record"], row["baseline"], row["text"], row["verdict"]) for row in rows),
        wide=True,
    )


def _axis(rows: Rows, margin: float, title: str) -> alt.X:
    least, most = min(row["low"] for row in rows), max(row["high"] for row in rows)
    domain = [min(least, 1 / margin) / 1.05, max(most, margin) * ROOM]
    return log_axis(title, "low:Q", domain=domain)
