"""Charts of records as Vega-Lite specifications, a file a subject: the one place that knows Altair.

Each file has the rows of plain values that its chart shows, which need no plotting library to be tested, and `chart`.
Times are in milliseconds and sizes in MiB, since an axis needs one unit. A contender that answered wrongly is in no
chart: its figures are nobody's.
"""

from collections.abc import Sequence

from altair.utils.schemapi import debug_mode

from bench.report.charts import (
    asked,
    distribution,
    fits,
    memory,
    roofline,
    scaling,
    speedups,
    starts,
    sustained,
    timeline,
    trace,
    trade,
)
from bench.report.charts.figure import CONFIG, Figure
from edge_runtime.record import Record

__all__ = ["CONFIG", "POINTS", "Figure", "across", "figures"]

POINTS = trace.COLUMNS  # of the trace, and an eighth of it a line: what one record's charts need


def figures(record: Record, *, contender: str, points: int = POINTS) -> tuple[Figure, ...]:
    """Return the charts that the record holds data for, in reading order.

    points: how many the trace may have; the distributions have fewer in proportion. Less makes a smaller page.
    """
    with debug_mode(arg=False):  # Altair would check each of a thousand parts against its schema
        drawn = (
            speedups.forest(record, contender),
            distribution.chart(record, points // 8),
            asked.misses(record),
            asked.batches(record),
            trace.chart(record, points),
            memory.chart(record),
            fits.chart(record),
            starts.chart(record),
            trade.chart(record),
            roofline.chart(record),
            sustained.chart(record),
        )
    return tuple(figure for figure in drawn if figure is not None)


def across(records: Sequence[tuple[str, Record]], titles: Sequence[str]) -> tuple[Figure, ...]:
    """Return the charts that many records make together, in reading order.

    records: with the names of their files.   titles: one a record, all different.
    """
    told = [record for _, record in records]
    with debug_mode(arg=False):
        drawn = (speedups.together(told, titles), scaling.chart(told), timeline.chart(records))
    return tuple(figure for figure in drawn if figure is not None)
