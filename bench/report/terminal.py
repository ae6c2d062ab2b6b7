"""Rows and progress on a terminal: this package's door to rich. Piped, the same text without control codes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from bench import operator_deltas
from bench.comparison import NOT_COMPARABLE, Comparison
from bench.report import rows, sentences, spread
from bench.report.names import one_line
from edge_runtime import confirmation
from edge_runtime.commands.measure import progress_line
from edge_runtime.record import Record
from edge_runtime.rounds import Progress as Told

WIDTH, LEAST = 80, 40  # where nobody says how wide; narrower terminals wrap lines, which loses nothing
# columns that a narrow terminal does without, in this order
SPARE = ("model", "cold start", "p90", "peak", "p99", "faster by")
NARROW = {"speed-up": "speed-up"}  # headings that stay when their interval goes; the other has a name in it
STYLES = {
    "faster": "green",
    "slower": "red",
    "same": "",
    "inconclusive": "yellow",
    "invalid": "red",
    "skipped": "dim",
    "lost": "red",
    NOT_COMPARABLE: "",
    "": "",
}


def show(record: Record, *, contender: str, stream: TextIO, color: bool) -> None:
    """Print the outcome in a sentence, the verdicts, the table, and below it what it rests on and every warning."""
    console = _console(stream, color=color)
    console.print(Text(one_line(sentences.headline(record, contender=contender)), style="bold"))
    console.print()
    for sentence in sentences.verdicts(record, contender=contender):
        console.print(Text(one_line(sentence)))
    console.print()
    sheet, missing = _fitting(rows.sheet(record, contender=contender), console.width)
    console.print(_table(sheet))
    if missing:
        console.print(Text(f"no room here for {', '.join(missing)}: see edge report, or --json", style="dim"))
    console.print()
    blocks = "utf" in (stream.encoding or "utf-8").lower()
    for line in spread.spread(record, width=console.width, blocks=blocks):
        console.print(Text(line), no_wrap=True, overflow="crop")
    console.print()
    for fact in sentences.facts(record):
        console.print(Text(one_line(fact), style="dim"))
    for warning in record.warnings:
        console.print(Text(f"warning: {one_line(warning)}", style="yellow"))


def show_comparison(found: Comparison, *, stream: TextIO, color: bool) -> None:
    """Print why there is no verdict, if so, then what else differs between the two runs, then the table."""
    console = _console(stream, color=color)
    for obstacle in found.obstacles:
        console.print(Text(f"not comparable: {one_line(obstacle)}", style="bold"))
    for difference in found.differences:
        console.print(Text(f"different: {one_line(difference)}", style="yellow"))
    if not found.changes:
        console.print(Text("no contender is in both records", style="bold"))
        return
    console.print(_table(_fitting(rows.changes(found), console.width)[0]))
    console.print()
    for change in found.changes:
        if change.verdict == "slower":
            console.print(
                Text(f"{change.contender} is slower: {confirmation.in_words(said=change.confirmed)}", style="yellow")
            )
    console.print(
        Text("memory comes from one launch a run: a difference, with no interval to judge it by", style="dim")
    )
    if not found.operators:
        console.print(Text("no operators to compare: neither record was taken with --operators", style="dim"))
    for line in operator_deltas.lines(found.operators):
        console.print(Text(line))


@contextmanager
def progress(*, stream: TextIO, color: bool, quiet: bool) -> Iterator[Callable[[Told], None]]:
    """Yield what a run is to tell its progress to: one line with a clock on a terminal, silence elsewhere."""
    if quiet or not stream.isatty():
        yield lambda _: None
        return
    console = Console(file=stream, no_color=not color)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    # once a second: drawing costs CPU time, and a contender with all CPUs as threads would pay for it
    bar = Progress(*columns, console=console, transient=True, refresh_per_second=1)
    with bar:
        task = bar.add_task("starting", total=1.0)

        def told(now: Told) -> None:
            # rounds or budget: the one that will end the run first is the honest bar
            done = 0.0 if now.round is None or not now.rounds else now.round / now.rounds
            bar.update(
                task,
                description=progress_line(now),
                completed=min(1.0, max(done, now.elapsed_s / now.budget_s)),
            )

        yield told


def _console(stream: TextIO, *, color: bool) -> Console:
    # rich's own no_color would still send bold and dim, and FORCE_COLOR would colour a file
    system: Literal["auto"] | None = "auto" if color else None
    console = Console(file=stream, color_system=system, highlight=False, force_terminal=stream.isatty())
    console.width = max(console.width, LEAST) if stream.isatty() else WIDTH
    return console


def _fitting(sheet: rows.Sheet, width: int) -> tuple[rows.Sheet, tuple[str, ...]]:
    """Return the sheet without what this width has no room for, and the names of the columns left out.

    The speed-up's interval goes first: the sentences above the table tell it.
    """
    if _width(sheet) > width:
        place = len(sheet.columns) - 2
        heading = (NARROW.get(sheet.columns[place][0], "faster by"), "")
        short = tuple(
            replace(row, cells=(*row.cells[:place], row.cells[place].partition(" [")[0], *row.cells[place + 1 :]))
            for row in sheet.rows
        )
        sheet = rows.Sheet(
            (
                *sheet.columns[:place],
                heading,
                *sheet.columns[place + 1 :],
            ),
            short,
        )
    missing = []
    for spare in SPARE:
        if _width(sheet) <= width:
            break
        kept = [index for index, (name, _) in enumerate(sheet.columns) if name != spare]
        if len(kept) < len(sheet.columns):
            missing.append(spare)
            sheet = rows.Sheet(
                tuple(sheet.columns[index] for index in kept),
                tuple(replace(row, cells=tuple(row.cells[index] for index in kept)) for row in sheet.rows),
            )
    return sheet, tuple(missing)


def _width(sheet: rows.Sheet) -> int:
    lines = [*(tuple(max(column, key=len) for column in sheet.columns),), *(row.cells for row in sheet.rows)]
    return sum(max(len(line[index]) for line in lines) + 2 for index in range(len(sheet.columns))) - 2


def _table(sheet: rows.Sheet) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
    for index, (name, unit) in enumerate(sheet.columns):
        text = index == 0 or name in {"", "verdict"}
        table.add_column(Text(f"{name}\n{unit}"), justify="left" if text else "right", no_wrap=True)
    for row in sheet.rows:
        style = "" if row.valid else "strike"
        cells = [Text(cell, style=style) for cell in row.cells[:-1]]
        table.add_row(*cells, Text(row.cells[-1], style=STYLES[row.verdict]))
    return table
