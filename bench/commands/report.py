"""The verb `edge report`: records as a page, Markdown or CSV."""

from collections.abc import Sequence
from pathlib import Path

from bench.report import names, overview
from edge_runtime import files
from edge_runtime.console import Console, verb_parser
from edge_runtime.errors import UsageError
from edge_runtime.record import Record, load_record

EXAMPLES = (
    "edge report record.json -o report.html",
    "edge report one-thread.json two-threads.json -o report.html",
    "edge report record.json --format md --svg charts",
)
SVG_WIDTH = 720  # pixels, what a README has room for
SUFFIXES = {".html": "html", ".htm": "html", ".md": "md", ".csv": "csv"}


def report(argv: list[str]) -> int:
    """Write the page, or print the table as Markdown or CSV."""
    parser = verb_parser(
        "report", "Records as one offline page with charts and the records in it; or as Markdown or CSV.", EXAMPLES
    )
    parser.add_argument("records", metavar="RECORD.json", type=Path, nargs="+", help="what edge bench or measure kept")
    parser.add_argument("-o", "--output", metavar="FILE", type=Path, help="where to; Markdown and CSV may go to stdout")
    parser.add_argument("--format", choices=("html", "md", "csv"), help="otherwise by the output's suffix; else html")
    parser.add_argument(
        "--svg", metavar="DIR", type=Path, help="also charts as SVG files: of a record, or of several together"
    )
    parser.add_argument("--force", action="store_true", help="replace the output")
    options = parser.parse_args(argv)
    console = Console.of(options)
    output: Path | None = options.output
    suffix = "" if output is None else output.suffix.lower()
    kind: str = options.format or SUFFIXES.get(suffix, "html")
    if options.svg is not None and not options.svg.is_dir():
        raise UsageError("no such folder", str(options.svg), "make it first: mkdir")
    if output is None and kind == "html":
        raise UsageError("a page needs a file", "edge report", "give one with -o report.html, or --format md or csv")
    if output is not None:
        files.refuse_taken(output, replace=options.force)
    records = [(str(path), load_record(path)) for path in options.records]
    if kind == "html":
        from bench.report.page import page  # noqa: PLC0415 - brings Altair, which Markdown and CSV need not wait for

        text = page(records)
    else:
        table = overview.overview([record for _, record in records])
        text = overview.markdown(table) if kind == "md" else overview.comma_separated(table)
    if options.svg is not None:
        _draw(records, options.svg)
    if output is None:
        if not options.json:
            console.say(text.rstrip("\n"))
    else:
        files.write_whole(output, text.encode())
        console.say(f"report: {output}")
    console.answer(
        {"kind": "edge-report", "schema": 1, "format": kind, "path": None if output is None else str(output)}
        | ({"text": text} if output is None else {"bytes": len(text.encode())})
    )
    return 0


def _draw(records: Sequence[tuple[str, Record]], folder: Path) -> None:
    """Write two files a panel of each chart, NAME.svg and NAME-dark.svg, replacing those of an earlier report."""
    from bench.report import charts, vega  # noqa: PLC0415 - bring Altair and Vega

    told = [record for _, record in records]
    figures = (
        charts.across(records, names.titles(records))
        if len(told) > 1
        else charts.figures(told[0], contender=names.own_of(told[0]))
    )
    for figure in figures:
        for index, panel in enumerate(figure.panels):
            name = figure.key if index == 0 else f"{figure.key}-{index + 1}"
            for theme, suffix in (("light", ""), ("dark", "-dark")):
                drawn = vega.svg(panel, charts.CONFIG, width=SVG_WIDTH, theme=theme)
                files.write_whole(folder / f"{name}{suffix}.svg", drawn.encode())
