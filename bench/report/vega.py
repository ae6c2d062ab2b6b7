"""The Vega runtime as text, and charts as SVG: this package's door to vl-convert."""

import json
from functools import cache
from typing import Any

import vl_convert


@cache
def runtime() -> str:
    """Return the JavaScript that draws Vega-Lite charts, about 0.9 MB; it sets `window.vegaEmbed`."""
    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))


def svg(spec: dict[str, Any], *, width: int) -> str:
    """Return one chart as an SVG document of this width in pixels, on a white ground."""
    return str(vl_convert.vegalite_to_svg(json.dumps({**spec, "width": width, "background": "white"})))
