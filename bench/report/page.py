"""Records as one HTML page that needs no network: verdicts, one table, charts with their tables, and the records.

Nothing from a record reaches the page unescaped, and a content security policy allows the page's own two scripts by
their hash and no others, so that a name that slipped through would still not run.
"""

import base64
import gzip
import hashlib
import json
import shlex
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from pathlib import PurePath

from bench.errors import ReportTooLarge
from bench.report import chart_data, charts, rows, vega
from bench.report.overview import Cell, Overview, overview, own_of
from edge_runtime.measured import MeasuredContender
from edge_runtime.record import Record
from edge_runtime.units import count, size, visible

MAX_BYTES = 3 * 10**6  # of a page: what a mail takes and a phone opens
TRACE_COLUMNS = 9000  # of all traces of a page together
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'"
MARGIN_NOTE = "differences up to {margin:.1%} count as none"


def page(records: Sequence[tuple[str, Record]], *, limit_bytes: int = MAX_BYTES) -> str:
    """Return the page of records with the names of their files; the same records give the same page.

    Raises ReportTooLarge when it would be over `limit_bytes`, though the records in it are packed.
    """
    told = [record for _, record in records]
    columns = min(chart_data.COLUMNS, TRACE_COLUMNS // max(1, len(records)))
    sections = [_section(index, name, record, columns) for index, (name, record) in enumerate(records)]
    assets = files("bench.report").joinpath("assets")
    style, script = (assets.joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    scripts = [_unbroken(vega.runtime()), script]
    allowed = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in scripts
    )
    head = f"""<!DOCTYPE html>
<html lang="en" data-theme="light">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="script-src {allowed}; {POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{_text(_title(told))}</title>
<style>{style}</style>
</head>
<body>
<header><h1>{_text(_title(told))}</h1><button id="theme" type="button">Theme: auto</button></header>
<main>
{"".join(_verdicts(record, several=len(told) > 1) for record in told)}
{_overview(overview(told))}
"""
    foot = f"""</main>
<footer>Made by edge report. Every figure is computed from the samples of the records in this page.</footer>
<script>{scripts[0]}</script>
<script>{scripts[1]}</script>
</body>
</html>
"""
    room = limit_bytes - len((head + "".join(sections) + foot).encode())
    held = _embedded(records, room)
    if held is None:
        what = f"the page of {count(len(told), 'record')} would be over {limit_bytes} bytes"
        raise ReportTooLarge(what, "edge report", "give it fewer records")
    return head + "".join(sections) + held + foot


def _title(records: Sequence[Record]) -> str:
    models = dict.fromkeys(record.contenders[0].artifact.name for record in records if record.contenders)
    shown = ", ".join(models) if len(models) <= 3 else count(len(models), "model")  # noqa: PLR2004 - a title's length
    machines = dict.fromkeys(record.machine.model for record in records)
    return f"{shown} on {', '.join(machines)}"


def _verdicts(record: Record, *, several: bool) -> str:
    told = rows.sentences(record, contender=own_of(record))
    name = record.contenders[0].artifact.name if record.contenders else "no contender"
    threads = count(record.config.threads, "thread")
    title = f"<p><strong>{_text(name)}</strong>, {threads}</p>" if several else ""
    items = "".join(f"<li{_aside(line)}>{_sentence(line)}</li>" for line in told) or "<li>Nothing to compare.</li>"
    word, style, reasons = validity(record)
    floor = record.config.noise_floor
    noise = "never calibrated here" if floor is None else f"{floor:.1%}"
    margin = MARGIN_NOTE.format(margin=record.config.margin)
    listed = "".join(f"<li>{_text(reason)}</li>" for reason in reasons)
    return (
        f'{title}<ul class="verdict">{items}</ul>'
        f'<p><span class="badge {style}">{word}</span> {margin}; noise floor: {noise}</p>'
        + (
            f"<details><summary>{count(len(reasons), 'remark')} on the conditions</summary>"
            f'<ul class="reasons">{listed}</ul></details>'
            if reasons
            else ""
        )
    )


def validity(record: Record) -> tuple[str, str, tuple[str, ...]]:
    """Return whether the record can be trusted in a word, the word's style, and every reason for doubt."""
    wrong = [one.name for one in record.contenders if one.answers.agree is False]
    lost = [
        f"round {one.round + 1}, {one.contender}: {'; '.join(one.reasons)}" for one in record.launches if not one.valid
    ]
    absent = [f"{one.name} {one.failure.kind}: {one.failure.reason}" for one in record.contenders if one.failure]
    told = (*(f"{name} answers wrongly" for name in wrong), *absent, *lost, *record.warnings)
    reasons = tuple(visible(text) for text in told)
    if not any(one.valid for one in record.launches) or record.stop_reason in {"invalid", "failed"}:
        return "invalid", "bad", reasons or (f"the run ended as {record.stop_reason}",)
    return ("valid, with remarks", "doubt", reasons) if reasons else ("valid", "good", ())


def _sentence(line: str) -> str:
    before, opening, after = line.partition(" (95 % interval")
    return _text(before) + (f" <small>{_text(opening.strip() + after)}</small>" if opening else "")


def _aside(line: str) -> str:
    return ' class="aside"' if line.startswith("answers ") else ""


def _overview(table: Overview) -> str:
    head = "".join(
        f'<th scope="col"{_number(unit)}><button type="button">{_text(name)}</button></th>'
        for name, unit in table.columns
    )
    body = "".join(
        f"<tr{_class(wrong)}>{''.join(map(_cell, row, (unit for _, unit in table.columns)))}</tr>"
        for row, wrong in zip(table.rows, table.wrong, strict=True)
    )
    return (
        '<h2 id="figures">Figures</h2><p><button type="button" data-copy="overview">Copy for a spreadsheet</button> '
        '<span id="told" role="status"></span></p>'
        '<div class="wide" role="region" aria-labelledby="figures" tabindex="0">'
        f'<table id="overview"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        "<p>Percentiles are latencies that happened. Small print below a figure is its 95 % interval; a dash was not "
        "measured, or needs more samples than there are.</p>"
    )


def _cell(cell: Cell, unit: str) -> str:
    value = f' data-value="{"" if cell.value is None else repr(float(cell.value))}"' if unit else ""
    aside = f"<small>{_text(cell.aside)}</small>" if cell.aside else ""
    return f"<td{_number(unit)}{value}><bdi>{_text(cell.text)}</bdi>{aside}</td>"


def _section(index: int, name: str, record: Record, columns: int) -> str:
    drawn = charts.figures(record, contender=own_of(record), columns=columns)
    artifact = record.contenders[0].artifact.name if record.contenders else name
    title = f"{artifact}, {count(record.config.threads, 'thread')}"
    parts = [f'<section aria-labelledby="r{index}"><h2 id="r{index}">{_text(title)}</h2>']
    parts.extend(_figure(f"r{index}-{figure.key}", figure) for figure in drawn)
    parts.append(_context(index, name, record))
    return "".join(parts) + "</section>\n"


def _figure(key: str, figure: charts.Figure) -> str:
    places = "".join(
        f'<div class="chart" aria-hidden="true" data-spec="{key}-{panel}"></div>'
        f'<script type="application/json" id="{key}-{panel}">{_json(spec)}</script>'
        for panel, spec in enumerate(figure.panels)
    )
    return (
        f'<figure aria-labelledby="{key}"><h3 id="{key}">{_text(figure.title)}</h3>'
        f"<figcaption>{_text(figure.note)}</figcaption>{places}"
        "<details><summary>The same as a table</summary>"
        f"{_table(figure.title, figure.columns, figure.rows)}</details></figure>"
    )


def _table(name: str, columns: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{_text(column)}</th>' for column in columns)
    lines = "".join(f"<tr>{''.join(f'<td><bdi>{_text(cell)}</bdi></td>' for cell in row)}</tr>" for row in body)
    return (
        f'<div class="wide" role="region" aria-label="{_text(name)}: table" tabindex="0">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>"
    )


def _context(index: int, name: str, record: Record) -> str:
    machine, config = record.machine, record.config
    facts = [
        ("measured", record.created),
        ("machine", f"{machine.model}, {count(machine.cores, 'CPU')}, key {machine.key}"),
        ("memory", "unknown" if machine.ram_bytes is None else size(machine.ram_bytes)),
        ("kernel, libc", f"{machine.kernel}, {machine.libc or 'unknown'}"),
        ("board", record.board),
        ("threads, CPUs", f"{config.threads} on CPU {', '.join(map(str, config.cpus))}"),
        ("scenario", config.scenario),
        (
            "shapes",
            ", ".join(f"{port} {'x'.join(map(str, shape)) or 'scalar'}" for port, shape in config.shapes.items()),
        ),
        ("rounds", f"{len({one.round for one in record.launches})}, stopped by {record.stop_reason}"),
        *((one.name, _contender(one)) for one in record.contenders),
    ]
    listed = "".join(f"<dt><bdi>{_text(key)}</bdi></dt><dd><bdi>{_text(value)}</bdi></dd>" for key, value in facts)
    # how the interpreter was started is of this host; what to type is not
    command = shlex.join(("edge", *record.command[1:]))
    return (
        f'<h3 id="r{index}-context">What it was measured on</h3><dl>{listed}</dl>'
        f'<p>To repeat it:</p><pre tabindex="0" aria-label="command">{_text(command)}</pre>'
        f'<p><button type="button" data-record="record-{index}" data-name="{_text(_file_name(name))}">'
        f"Download the record</button> with every sample ({_text(PurePath(name).name)})</p>"
    )


def _contender(one: MeasuredContender) -> str:
    if one.failure:
        return f"{one.failure.kind}: {one.failure.reason}"
    settings = ", ".join(f"{key} {value}" for key, value in one.configuration.items())
    artifact = f"{one.artifact.variant}, {size(one.artifact.bytes)}, sha256 {one.artifact.sha256}"
    return "; ".join(part for part in (one.engine, artifact, settings) if part)


def _embedded(records: Sequence[tuple[str, Record]], room: int) -> str | None:
    """Return the records themselves: as JSON where all find room, packed where only that does, None where neither."""
    documents = [json.dumps(record.to_document(), separators=(",", ":")) for _, record in records]
    plain = "".join(_held(index, "application/json", _escaped(text)) for index, text in enumerate(documents))
    if len(plain.encode()) <= room:
        return plain
    packed = "".join(
        _held(index, "application/gzip", base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode())
        for index, text in enumerate(documents)
    )
    return packed if len(packed) <= room else None


def _held(index: int, kind: str, text: str) -> str:
    return f'<script type="{kind}" id="record-{index}">{text}</script>\n'


def _file_name(name: str) -> str:
    kept = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in PurePath(name).name)
    return kept[-80:] or "record.json"


def _json(value: object) -> str:
    return _escaped(json.dumps(value, separators=(",", ":"), sort_keys=True))


def _escaped(text: str) -> str:
    # a script element ends at "</script", whatever is around it, and "<!--" changes how it is read
    return text.replace("<", "\\u003c")


def _unbroken(script: str) -> str:
    # in JavaScript's strings and expressions alike "<\/" is "</"; the runtime has them in strings only
    return script.replace("</script", "<\\/script")


def _text(text: str) -> str:
    return escape(visible(text), quote=True)


def _class(wrong: bool) -> str:  # noqa: FBT001 - one flag, one class
    return ' class="wrong"' if wrong else ""


def _number(unit: str) -> str:
    return ' class="number"' if unit else ""
