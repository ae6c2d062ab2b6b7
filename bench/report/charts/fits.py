"""The smallest memory limit under which each contender still ran."""

import altair as alt

from bench.report.charts.figure import BYTES_PER_MIB, Drawing, Figure, Rows, legend
from edge_runtime.fits import ADDRESS_SPACE, Fit
from edge_runtime.record import Record
from edge_runtime.units import duration, size, visible

OUTCOMES = {"ran": ("#0072B2", "circle"), "did not run": ("#D55E00", "cross")}
MEANING = {
    True: "an address space limits what is mapped, which is more than what is used",
    False: "a control group limits the memory that is used",
}


def fits(record: Record) -> tuple[Fit, ...]:
    """Return what was tried of contenders that answer right, in the record's order."""
    ranked = {one.name for one in record.contenders if one.ranked}
    return tuple(one for one in record.fits if one.contender in ranked)


def tries(record: Record) -> Rows:
    """Return every try, in MiB."""
    return [
        {
            "contender": visible(fit.contender),
            "mib": one.limit_bytes / BYTES_PER_MIB,
            "limit": size(one.limit_bytes),
            "outcome": "ran" if one.ran else "did not run",
            "why": visible(one.reason)[:200] or "right answers, near its usual speed",
        }
        for fit in fits(record)
        for one in fit.tried
    ]


def chart(record: Record) -> Figure | None:
    """Return the chart; None where no limit was tried."""
    drawing = Drawing()
    found, rows = fits(record), tries(record)
    if not rows:
        return None
    y = alt.Y("contender:N", sort=None, title=None)
    least = [
        {"contender": visible(one.contender), "mib": one.limit_bytes / BYTES_PER_MIB, "limit": size(one.limit_bytes)}
        for one in found
        if one.limit_bytes is not None
    ]
    shades, shapes = zip(*OUTCOMES.values(), strict=True)
    shade = alt.Color("outcome:N", scale=alt.Scale(domain=[*OUTCOMES], range=list(shades)), legend=legend())
    shape = alt.Shape("outcome:N", scale=alt.Scale(domain=[*OUTCOMES], range=list(shapes)), legend=legend())
    bars = drawing.data(least).mark_bar(height=10, color="#0072B2", opacity=0.35)
    dots = drawing.data(rows).mark_point(filled=True, size=90, opacity=1)
    layers = (
        bars.encode(
            x=alt.X("mib:Q", title="limit, MiB"), y=y, tooltip=[alt.Tooltip("contender:N"), alt.Tooltip("limit:N")]
        ),
        dots.encode(
            x=alt.X("mib:Q"),
            y=y,
            color=shade,
            shape=shape,
            tooltip=[
                alt.Tooltip("contender:N"),
                alt.Tooltip("limit:N"),
                alt.Tooltip("outcome:N"),
                alt.Tooltip("why:N"),
            ],
        ),
    )
    kinds = sorted({one.mechanism == ADDRESS_SPACE for one in found})
    meant = "; ".join(MEANING[kind] for kind in kinds)
    return Figure(
        "fits",
        "The smallest memory it runs in",
        f"The bar ends at the smallest limit under which it still ran: {meant}."
        + (" Figures of the two can't be compared." if len(kinds) > 1 else ""),
        (drawing.spec(alt.layer(*layers), 20 + 34 * len(found)),),
        ("contender", "limited by", "limit", "outcome", "p50", "remarks"),
        tuple(
            (
                visible(fit.contender),
                fit.mechanism,
                size(one.limit_bytes),
                "ran" if one.ran else "did not run",
                "none" if one.p50_ns is None else duration(one.p50_ns),
                visible(one.reason),
            )
            for fit in found
            for one in fit.tried
        ),
    )
