"""Records as one HTML page that needs no network: the outcome in words, one table, charts with tables, the records.

Nothing from a record reaches the page unescaped, and a content security policy allows the page's own two scripts by
their hash and no others, so that a name that slipped through would still not run.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from bench.errors import ReportTooLarge
from bench.report import charts, section, sentences, vega
from bench.report.markup import as_json, closed, figures, packed, text
from bench.report.names import own_of, titles
from bench.report.overview import Cell, Overview, overview
from edge_runtime.record import Record
from edge_runtime.units import count

MAX_BYTES = 3 * 10**6  # of a page: what a mail takes and a phone opens
POINTS, LEAST_POINTS = 9000, 60  # of all traces of a page together, and of one at least
FOLDED = 4  # records from which on each is folded up to its outcome: nobody scrolls through a hundred charts
ATTAINABLE = (
    " Attainable is the least time in which the machine's peaks allow the work, as a share of p50; above 100 % a "
    "peak or the count of the work is wrong, and what is uncounted makes it too small."
)
NAMES = ("model", "machine", "contender")  # columns that need room for a word
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'"

Named = Sequence[tuple[str, Record]]


def page(records: Named, *, limit_bytes: int = MAX_BYTES) -> str:
    """Return the page of records with the names of their files; the same records give the same page.

    When it would be over `limit_bytes`, the records in it are packed, then charts get fewer points, then the records
    are left out, which the page says. Raises ReportTooLarge when it is over even so.
    """
    full = max(LEAST_POINTS, min(charts.POINTS, POINTS // max(1, len(records))))

    @cache
    def drawn(points: int) -> tuple[str, ...]:
        return tuple(section.drawn(index, record, points) for index, (_, record) in enumerate(records))

    head, foot = _head(records), _foot()
    for points, embed in ((full, _plain), (full, _packed), (LEAST_POINTS, _packed), (full, None), (LEAST_POINTS, None)):
        held = "" if embed is None else "".join(embed(index, record) for index, (_, record) in enumerate(records))
        sections = "".join(_sections(records, drawn(points), held=embed is not None))
        made = f"{head}{sections}{held}{foot}"
        if len(made.encode()) <= limit_bytes:
            return made
    what = f"the page of {count(len(records), 'record')} would be over {limit_bytes} bytes"
    raise ReportTooLarge(what, "edge report", "give it fewer records")


def _head(records: Named) -> str:
    """Return all that stands above the records' own sections."""
    told, names = [record for _, record in records], titles(records)
    style, _ = _assets()
    allowed = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" for script in _scripts()
    )
    title = text(_title(told))
    several = len(told) > 1
    top = _several(records, names) if several else section.outcome(told[0]) if told else ""
    return f"""<!DOCTYPE html>
<html lang="en" data-theme="light">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="script-src {allowed}; {POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header><h1>{title}</h1><button id="theme" type="button">Theme: auto</button></header>
<main>
{top}
{_overview(overview(told), linked=several)}
"""


def _foot() -> str:
    runtime, script = _scripts()
    return f"""</main>
<footer>Made by edge report. Every figure is computed from the samples of the records it was given.</footer>
<script type="application/json" id="config">{as_json(charts.CONFIG)}</script>
<script>{runtime}</script>
<script>{script}</script>
</body>
</html>
"""


def _assets() -> tuple[str, str]:
    folder = files("bench.report").joinpath("assets")
    style, script = (folder.joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    return style, script


def _scripts() -> tuple[str, str]:
    # in JavaScript's strings and expressions alike "<\/" is "</"; the runtime has them in strings only
    return vega.runtime().replace("</script", "<\\/script"), _assets()[1]


def _title(records: Sequence[Record]) -> str:
    models = dict.fromkeys(record.contenders[0].artifact.name for record in records if record.contenders)
    shown = ", ".join(models) if len(models) <= 3 else count(len(models), "model")  # noqa: PLR2004 - a title's length
    machines = dict.fromkeys(record.machine.model for record in records)
    return f"{shown} on {', '.join(machines) if len(machines) <= 2 else count(len(machines), 'machine')}"  # noqa: PLR2004


def _several(records: Named, names: Sequence[str]) -> str:
    """Return what many records say together: the tally, where each of them is, and the charts they make together."""
    told = [record for _, record in records]
    words = sentences.several([(record, own_of(record)) for record in told])
    links = "".join(
        f'<li><a href="#r{index}">{text(name)}</a> <span class="badge {section.validity(record)[1]}">'
        f"{section.validity(record)[0]}</span></li>"
        for index, (record, name) in enumerate(zip(told, names, strict=True))
    )
    drawn = figures("all", charts.across(records, names))
    return (
        f'<p class="headline">{text(words)}.</p>'
        f'<nav aria-labelledby="contents"><h2 id="contents">Contents</h2>'
        f'<p><a href="#figures">All figures in one table</a></p><ol>'
        f"{links}</ol></nav>{drawn}"
    )


def _overview(table: Overview, *, linked: bool) -> str:
    head = "".join(
        f'<th scope="col"{_number(unit)}><button type="button">{text(name)}</button></th>'
        for name, unit in table.columns
    )
    lines = zip(table.rows, table.wrong, table.records, strict=True)
    body = "".join(_row(row, table, record if linked else None, wrong=wrong) for row, wrong, record in lines)
    attainable = ATTAINABLE if "attainable" in dict(table.columns) else ""
    return (
        '<h2 id="figures">Figures</h2><p><button type="button" data-copy="overview">Copy for a spreadsheet</button> '
        '<span id="told" role="status"></span></p>'
        '<div class="wide" role="region" aria-labelledby="figures" tabindex="0">'
        f'<table id="overview"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        "<p>Percentiles are latencies that happened. Small print below a figure is its 95 % interval; a dash was not "
        f"measured, or needs more samples than there are.{attainable}</p>"
    )


def _row(row: Sequence[Cell], table: Overview, record: int | None, *, wrong: bool) -> str:
    """Return a row, whose first cell leads to its record where that has a place of its own."""
    links = (record, *(None for _ in row[1:]))
    cells = (_cell(cell, name, unit, link) for cell, (name, unit), link in zip(row, table.columns, links, strict=True))
    style = ' class="wrong"' if wrong else ""
    return f"<tr{style}>{''.join(cells)}</tr>"


def _cell(cell: Cell, column: str, unit: str, record: int | None) -> str:
    style = "number" if unit else "name" if column in NAMES else ""
    value = f' data-value="{"" if cell.value is None else repr(float(cell.value))}"' if unit else ""
    aside = f"<small>{text(cell.aside)}</small>" if cell.aside else ""
    shown = f"<bdi>{text(cell.text)}</bdi>"
    linked = shown if record is None else f'<a href="#r{record}">{shown}</a>'
    return f'<td class="{style}"{value}>{linked}{aside}</td>'


def _number(unit: str) -> str:
    return ' class="number"' if unit else ""


def _sections(records: Named, drawn: Sequence[str], *, held: bool) -> list[str]:
    """Return a section a record; of many, folded up to its title."""
    made = []
    for index, ((name, record), title, shown) in enumerate(zip(records, titles(records), drawn, strict=True)):
        inner = f"{shown}{section.context(index, name, record, held=held)}"
        if len(records) == 1:
            made.append(f'<section aria-labelledby="charts"><h2 id="charts">Charts</h2>{inner}</section>\n')
            continue
        opened = "" if len(records) >= FOLDED else " open"
        made.append(
            f'<section aria-labelledby="r{index}"><details class="record"{opened}>'
            f'<summary><h2 id="r{index}">{text(title)}</h2></summary>'
            f"{section.outcome(record)}{inner}"
            '<p><a href="#contents">Back to the contents</a></p></details></section>\n'
        )
    return made


def _plain(index: int, record: Record) -> str:
    return f'<script type="application/json" id="record-{index}">{closed(_document(record))}</script>\n'


def _packed(index: int, record: Record) -> str:
    return packed(f"record-{index}", _document(record))


def _document(record: Record) -> str:
    return json.dumps(record.to_document(), separators=(",", ":"))
