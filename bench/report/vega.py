"""The Vega runtime as text, and charts as SVG: this package's door to vl-convert."""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import vl_convert

LABEL_SHARE = 0.25  # of a chart's width, as in the page: longer names end in an ellipsis
# of an SVG file, which no page's style reaches: ground, letters, lines
PAPERS = {"light": ("#ffffff", "#1b1f24", "#d5d9de"), "dark": ("#0d1117", "#e8eaed", "#373e47")}


@cache
def runtime() -> str:
    """Return the JavaScript that draws Vega-Lite charts, about 0.9 MB; it sets `window.vegaEmbed`."""
    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))


def svg(spec: Mapping[str, Any], config: Mapping[str, Any], *, width: int, theme: str = "light") -> str:
    """Return one chart as an SVG document of this width in pixels.   theme: of `PAPERS`."""
    return str(
        vl_convert.vegalite_to_svg(json.dumps({**spec, "width": width, "config": _painted(config, theme, width)}))
    )


def _painted(config: Mapping[str, Any], theme: str, width: int) -> dict[str, Any]:
    """Return a configuration with the colours of a theme for what has none of its own."""
    paper, ink, line = PAPERS[theme]
    letters = {"labelColor": ink, "titleColor": ink}
    lines = {"gridColor": line, "domainColor": line, "tickColor": line}
    colors: dict[str, dict[str, Any]] = {
        "axis": {**letters, **lines, "labelLimit": width * LABEL_SHARE},
        "legend": letters,
        "title": {"color": ink},
        "text": {"color": ink},
    }
    return {**config, "background": paper} | {
        part: {**config.get(part, {}), **painted} for part, painted in colors.items()
    }
