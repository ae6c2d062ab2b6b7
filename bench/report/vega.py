"""The Vega runtime as text, and charts as SVG: this package's door to vl-convert."""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import vl_convert

LABEL_SHARE = 0.25  # of a chart's width, as in the page: longer names end in an ellipsis
# the letters of whoever looks at a file may be wider than those it was laid out with
PADDING = {"left": 26, "right": 14, "top": 8, "bottom": 8}
FONT, COLUMN_PADDING = "Arial, Helvetica, sans-serif", 24
# of an SVG file, which no page's style reaches: ground, letters, lines
PAPERS = {"light": ("#ffffff", "#1b1f24", "#d5d9de"), "dark": ("#0d1117", "#e8eaed", "#373e47")}


@cache
def runtime() -> str:
    """Return the JavaScript that draws Vega-Lite charts, about 0.9 MB; it sets `window.vegaEmbed`."""
    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))


def svg(spec: Mapping[str, Any], config: Mapping[str, Any], *, width: int, theme: str = "light") -> str:
    """Return one chart as an SVG document of this width in pixels.   theme: of `PAPERS`."""
    laid_out = {"width": width, "padding": PADDING, "config": _painted(config, theme, width)}
    return str(vl_convert.vegalite_to_svg(json.dumps({**spec, **laid_out})))


def _painted(config: Mapping[str, Any], theme: str, width: int) -> dict[str, Any]:
    """Return a configuration with the colours of a theme for what has none of its own."""
    paper, ink, line = PAPERS[theme]
    letters = {"labelColor": ink, "titleColor": ink}
    lines = {"gridColor": line, "domainColor": line, "tickColor": line}
    colors: dict[str, dict[str, Any]] = {
        "axis": {**letters, **lines, "labelLimit": width * LABEL_SHARE},
        "legend": {**letters, "columnPadding": COLUMN_PADDING},
        "title": {"color": ink},
        "text": {"color": ink},
    }
    return {**config, "background": paper, "font": FONT} | {
        part: {**config.get(part, {}), **painted} for part, painted in colors.items()
    }
