"""What a chart is: a title, a note, panels as Vega-Lite specifications, and the table that says the same.

Colours are those of Okabe & Ito that can be seen on white and on black; a shape or a dash says the same, so that no
chart needs colours. Text has no colour here: the page's style gives it that of its theme, an SVG file its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

Rows = list[dict[str, Any]]

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [4, 4], [1, 3])
SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross")
GREY = "#8A8A8A"
LABEL_WIDTH = 150  # pixels; longer names end in an ellipsis, the table below has them whole
CONFIG: dict[str, Any] = {  # of every chart: kept out of the specifications, of which a page has hundreds
    "background": "transparent",
    "view": {"stroke": None},
    "axis": {"labelLimit": LABEL_WIDTH, "titleFontWeight": "normal", "labelFontSize": 11, "titleFontSize": 11},
    "legend": {"labelFontSize": 12, "labelLimit": LABEL_WIDTH},
}
NS_PER_MS, BYTES_PER_MIB = 1e6, 2.0**20


@dataclass(frozen=True, slots=True)
class Figure:
    """One chart, of one or more panels, and the table that says the same.

    wide: it needs the page's whole width.   beside: panels may stand beside each other, for they share no axis.
    opened: the table is part of what is shown.
    """

    key: str
    title: str
    note: str
    panels: tuple[dict[str, Any], ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    wide: bool = False
    beside: bool = False
    opened: bool = False


class Drawing:
    """A panel that is drawn: its rows, which Altair would copy and check again and again, and its layers."""

    def __init__(self) -> None:
        self._datasets: list[Rows] = []

    def data(self, rows: Rows) -> alt.Chart:
        """Return a chart of rows without a mark; rows that are drawn in several layers are written once."""
        places = [index for index, known in enumerate(self._datasets) if known is rows]
        if not places:
            self._datasets.append(rows)
        return alt.Chart(alt.NamedData(name=f"d{(places or [len(self._datasets) - 1])[0]}"))

    def spec(self, chart: Any, height: int) -> dict[str, Any]:  # noqa: ANN401 - a chart or layers of charts
        """Return the specification of a chart as wide as its place, of a height in pixels."""
        fit = alt.AutoSizeParams(type="fit-x", contains="padding")
        # what Altair would check against its schema are our own few shapes: the browser's tests draw each of them
        made = dict(chart.properties(width="container", height=height, autosize=fit).to_dict(validate=False))
        made.pop("config", None)  # Altair's own sizes: a container has another
        return {**made, "datasets": {f"d{index}": rows for index, rows in enumerate(self._datasets)}}


def legend() -> alt.Legend:
    """Return a legend above its chart."""
    return alt.Legend(orient="top", title=None, columns=2, labelLimit=LABEL_WIDTH)


def color(names: Sequence[str], field: str = "contender:N") -> alt.Color:
    """Return a colour a name, the same for the same order of names."""
    return alt.Color(field, scale=alt.Scale(domain=list(names), range=cycled(COLORS, names)), legend=legend())


def shape(names: Sequence[str], field: str = "contender:N") -> alt.Shape:
    """Return a shape a name."""
    return alt.Shape(field, scale=alt.Scale(domain=list(names), range=cycled(SHAPES, names)), legend=legend())


def dash(names: Sequence[str], field: str = "contender:N") -> alt.StrokeDash:
    """Return a dash a name."""
    return alt.StrokeDash(field, scale=alt.Scale(domain=list(names), range=cycled(DASHES, names)), legend=legend())


def cycled(marks: Sequence[Any], names: Sequence[str]) -> list[Any]:
    """Return one mark a name, from the first again where they are more."""
    return [marks[index % len(marks)] for index in range(len(names))]


def heading(text: str) -> alt.TitleParams:
    """Return the title of a panel."""
    return alt.TitleParams(text, anchor="start", fontSize=12, limit=LABEL_WIDTH * 2)


def number(field: str, title: str) -> alt.Tooltip:
    """Return a line of a tooltip for a number."""
    return alt.Tooltip(f"{field}:Q", title=title, format=".4~g")


def log_axis(title: str, field: str, **scale: Any) -> alt.X:  # noqa: ANN401 - Altair's keywords
    """Return a logarithmic horizontal axis with few, round labels."""
    made = alt.X(field, scale=alt.Scale(type="log", nice=False, **scale), title=title)
    return made.axis(format="~r", tickCount=6, labelOverlap=True)
