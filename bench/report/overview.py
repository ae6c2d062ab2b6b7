"""Records as one table of figures, a row a contender of each: what the page, Markdown and CSV are made of.

Every cell has its text, and the number behind it, by which it sorts and which CSV has in full.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from bench.report.names import model_of, own_of
from bench.report.rows import UNKNOWN
from edge_runtime import operator_figures, summary
from edge_runtime.record import Record
from edge_runtime.stats import Interval
from edge_runtime.units import duration, energy, size, visible

LEAST_UNCOUNTED = 0.005  # rounds to 1 %
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what makes a spreadsheet run a cell instead of showing it


@dataclass(frozen=True, slots=True)
class Cell:
    """One figure. value: in the column's unit, None for text and what is unknown.   aside: its interval, as text."""

    text: str
    value: float | None = None
    aside: str = ""


@dataclass(frozen=True, slots=True)
class Overview:
    """columns: a heading and the unit of the values ("" for text) each.

    wrong: which rows answered wrongly.   records: which of the records each row is of.
    """

    columns: tuple[tuple[str, str], ...]
    rows: tuple[tuple[Cell, ...], ...]
    wrong: tuple[bool, ...]
    records: tuple[int, ...]


COLUMNS = (
    ("model", ""),
    ("machine", ""),
    ("threads", "count"),
    ("contender", ""),
    ("verdict on ours", ""),
    ("ours is faster by", "ratio"),
    ("p50", "ns"),
    ("p90", "ns"),
    ("p95", "ns"),
    ("p99", "ns"),
    ("p99.9", "ns"),
    ("peak memory", "bytes"),
    ("model's memory", "bytes"),
    ("files", "bytes"),
    ("first answer", "ns"),
    ("energy a call", "uJ"),
    ("attainable", "%"),
)
IDENTITY = ("model", "contender")  # columns that stay, whatever they hold


def overview(records: Sequence[Record]) -> Overview:
    """Return the table; a column that is empty, or says the same of every row, is left out."""
    rows, wrong, of = [], [], []
    for index, record in enumerate(records):
        against = {one.baseline: one for one in summary.comparisons(record, contender=own_of(record))}
        for standing in summary.standings(record):
            bad, failure = standing.contender.answers.agree is False, standing.contender.failure
            one = against.get(standing.contender.name)
            verdict = (Cell(failure.kind), Cell("")) if failure else _judged(one, wrong=bad)
            rows.append((*_identity(record, standing), *verdict, *_figures(record, standing)))
            wrong.append(bad)
            of.append(index)
    kept = [
        index
        for index, (name, _) in enumerate(COLUMNS)
        if name in IDENTITY
        or (any(row[index].text not in {UNKNOWN, ""} for row in rows) and not _same(rows, index, name))
    ]
    return Overview(
        tuple(COLUMNS[index] for index in kept),
        tuple(tuple(row[index] for index in kept) for row in rows),
        tuple(wrong),
        tuple(of),
    )


def markdown(table: Overview) -> str:
    """Return the table as Markdown; an invalid row is struck through."""
    lines = ["| " + " | ".join(name for name, _ in table.columns) + " |"]
    lines.append("|" + "|".join("---:" if unit else "---" for _, unit in table.columns) + "|")
    for row, bad in zip(table.rows, table.wrong, strict=True):
        cells = [escaped(f"{cell.text} {cell.aside}".strip()) for cell in row]
        lines.append("| " + " | ".join(f"~~{cell}~~" if bad and cell else cell for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """Return text that Markdown shows as it is: a name may hold its signs, or HTML."""
    flat = " ".join(visible(text).split())
    flat = flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(f"\\{letter}" if letter in "\\`*_|[]~#!" else letter for letter in flat)


def comma_separated(table: Overview) -> str:
    """Return the table as CSV, numbers in the unit that the heading names; empty means unknown."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([name if not unit else f"{name} [{unit}]" for name, unit in table.columns])
    for row in table.rows:
        writer.writerow(
            [
                _unarmed(cell.text) if not unit else "" if cell.value is None else f"{cell.value:.10g}"
                for cell, (_, unit) in zip(row, table.columns, strict=True)
            ]
        )
    return stream.getvalue()


def _unarmed(text: str) -> str:
    shown = "" if text == UNKNOWN else visible(text)
    return f"'{shown}" if shown.startswith(FORMULA) else shown


def _same(rows: Sequence[tuple[Cell, ...]], index: int, name: str) -> bool:
    return name in {"machine", "threads"} and len({row[index].text for row in rows}) == 1


def _identity(record: Record, standing: summary.Standing) -> tuple[Cell, ...]:
    threads = record.config.threads
    return (
        Cell(model_of(standing.contender.artifact)),
        Cell(visible(record.machine.model)),
        Cell(str(threads), threads),
        Cell(visible(standing.contender.name)),
    )


def _figures(record: Record, standing: summary.Standing) -> tuple[Cell, ...]:
    latency, memory, used = standing.latency, standing.memory, standing.energy
    files = standing.contender.artifact.bytes
    return (
        _timed(latency.p50 if latency else None),
        *(_tail(latency, name) for name in summary.TAIL),
        _sized(memory.total_peak if memory else None, *(memory.limits("total_peak") if memory else ())),
        _sized(memory.model_steady if memory else None, *(memory.limits("model_steady") if memory else ())),
        _sized(files),
        _timed(standing.cold_start_ns),
        Cell(UNKNOWN) if used is None else Cell(energy(used.net_uj), used.net_uj, used.rail),
        _attainable(record, standing.contender.name),
    )


def _judged(one: summary.Comparison | None, *, wrong: bool) -> tuple[Cell, ...]:
    if wrong:
        return (Cell("invalid"), Cell(""))
    if one is None or one.speedup is None:
        return (Cell("" if one is None else one.verdict), Cell(""))
    speedup = one.speedup
    limits = "" if speedup.low is None else f"{speedup.low:.2f} to {speedup.high:.2f}"
    return (Cell(one.verdict), Cell(f"{speedup.estimate:.2f}x", speedup.estimate, limits))


def _attainable(record: Record, name: str) -> Cell:
    profiled = next((one for one in operator_figures.figures(record) if one.contender == name), None)
    if profiled is None or profiled.attainable is None:
        return Cell(UNKNOWN)
    left_out = f"{profiled.uncounted:.0%} uncounted" if profiled.uncounted >= LEAST_UNCOUNTED else ""
    return Cell(f"{profiled.attainable:.0%}", 100 * profiled.attainable, left_out)


def _tail(latency: summary.Latency | None, name: str) -> Cell:
    """Return a percentile, or how many samples there are and would be needed for it."""
    few = latency.shortfall(name) if latency else None
    if few is not None:
        return Cell(f"n too small ({few[0]}/{few[1]})")
    return _timed(latency.figures()[name] if latency else None)


def _timed(interval: Interval | None) -> Cell:
    if interval is None:
        return Cell(UNKNOWN)
    return Cell(duration(interval.estimate), interval.estimate, _span(interval))


def _span(interval: Interval) -> str:
    if interval.low is None or interval.high is None:
        return ""
    low, high = duration(interval.low), duration(interval.high)
    number, _, unit = low.partition(" ")
    return f"{number} to {high}" if high.endswith(f" {unit}") else f"{low} to {high}"


def _sized(count: int | None, low: int | None = None, high: int | None = None) -> Cell:
    aside = "" if low is None or high is None or low == high else f"{size(low)} to {size(high)}"
    return Cell(UNKNOWN) if count is None else Cell(size(count), count, aside)
