"""Text, tables and figures as HTML. Nothing from a record reaches a page but through here, or as escaped JSON."""

import base64
import gzip
import json
from collections.abc import Iterable, Sequence
from html import escape

from bench.report.charts import Figure
from edge_runtime.units import visible


def text(shown: str) -> str:
    """Return text as HTML: what is markup in it is shown, control characters are escapes."""
    return escape(visible(shown), quote=True)


def as_json(value: object) -> str:
    """Return a value as JSON for a script element."""
    return closed(json.dumps(value, separators=(",", ":"), sort_keys=True))


def closed(document: str) -> str:
    """Return JSON that can't end the script element it stands in."""
    # that element ends at "</script", whatever is around it, and "<!--" changes how it is read
    return document.replace("<", "\\u003c")


def items(lines: Iterable[str], style: str) -> str:
    """Return a list of sentences, or nothing for none."""
    told = "".join(f"<li>{text(line)}</li>" for line in lines)
    return f'<ul class="{style}">{told}</ul>' if told else ""


def folded(summary: str, lines: Sequence[str], style: str) -> str:
    """Return a list behind its summary, or nothing for none."""
    return f"<details><summary>{text(summary)}</summary>{items(lines, style)}</details>" if lines else ""


def table(name: str, columns: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """Return a table that scrolls in its place, named for who can't see what it stands below."""
    head = "".join(f'<th scope="col">{text(column)}</th>' for column in columns)
    lines = "".join(f"<tr>{''.join(f'<td><bdi>{text(cell)}</bdi></td>' for cell in row)}</tr>" for row in body)
    return (
        f'<div class="wide" role="region" aria-label="{text(name)}: table" tabindex="0">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>"
    )


def figures(prefix: str, shown: Sequence[Figure]) -> str:
    """Return figures, and packed behind them the specifications of all their panels, which the page's script unpacks.

    prefix: what their identifiers begin with, so that those of several records differ.
    """
    if not shown:
        return ""
    specs = {f"{prefix}-{one.key}-{panel}": spec for one in shown for panel, spec in enumerate(one.panels)}
    drawn = "".join(_figure(prefix, one) for one in shown)
    return f'<div class="figures">{drawn}</div>{packed(f"{prefix}-specs", as_json(specs))}'


def packed(key: str, document: str) -> str:
    """Return a script element that holds a document packed: a tenth of what JSON with many numbers takes."""
    content = base64.b64encode(gzip.compress(document.encode(), mtime=0)).decode()
    return f'<script type="application/gzip" id="{key}">{content}</script>\n'


def _figure(prefix: str, shown: Figure) -> str:
    """Return a figure: its title, what it says, a place for each panel, and its table."""
    key = f"{prefix}-{shown.key}"
    places = "".join(
        f'<div class="chart" aria-hidden="true" data-spec="{key}-{panel}" data-pack="{prefix}-specs"></div>'
        for panel in range(len(shown.panels))
    )
    styles = " ".join(style for style, wanted in (("across", shown.wide), ("beside", shown.beside)) if wanted)
    style = f' class="{styles}"' if styles else ""
    opened = " open" if shown.opened else ""
    return (
        f'<figure{style} aria-labelledby="{key}"><h3 id="{key}">{text(shown.title)}</h3>'
        f'<figcaption>{text(shown.note)}</figcaption><div class="panels">{places}</div>'
        f"<details{opened}><summary>The same as a table</summary>"
        f"{table(shown.title, shown.columns, shown.rows)}</details></figure>"
    )
