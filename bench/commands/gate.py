"""The verb `edge gate`: records against a budget; exits 1 where it is broken, 3 where it is about nothing here."""

from pathlib import Path

from bench import gate as judging
from bench.budget import load_budget
from bench.report import findings
from edge_runtime import files
from edge_runtime.console import Console, table, verb_parser
from edge_runtime.errors import Verdict
from edge_runtime.record import load_record

EXAMPLES = (
    "edge gate record.json --budget budget.toml",
    "edge gate record.json --budget budget.toml --baseline main.json --junit gate.xml --markdown gate.md",
)


def gate(argv: list[str]) -> int:
    """Print what holds and what is broken; exit 1 where something is."""
    parser = verb_parser(
        "gate",
        "Records against a budget: exit 1 where one is broken, 3 where none is about these records.",
        EXAMPLES,
    )
    parser.add_argument("records", metavar="RECORD.json", type=Path, nargs="+", help="what edge bench or measure kept")
    parser.add_argument("--budget", metavar="budget.toml", type=Path, required=True, help="the limits; see docs/ci.md")
    parser.add_argument("--baseline", metavar="R.json", type=Path, help="the record that max_growth is relative to")
    parser.add_argument("--confirm", metavar="R.json", type=Path, help="a second run, in the stead of a second batch")
    parser.add_argument("--strict", action="store_true", help="count as broken what the samples can't tell")
    parser.add_argument("--junit", metavar="FILE.xml", type=Path, help="write JUnit XML there, replacing it")
    parser.add_argument("--markdown", metavar="FILE.md", type=Path, help="write a summary there, replacing it")
    options = parser.parse_args(argv)
    console = Console.of(options)
    for path in (options.junit, options.markdown):
        if path is not None:
            files.refuse_taken(path, replace=True)  # before minutes of reading
    judged = judging.gate(
        [load_record(path) for path in options.records],
        load_budget(options.budget),
        baseline=None if options.baseline is None else load_record(options.baseline),
        confirm=None if options.confirm is None else load_record(options.confirm),
        strict=options.strict,
    )
    if options.junit is not None:
        files.write_whole(options.junit, findings.junit(judged))
    if options.markdown is not None:
        files.write_whole(options.markdown, findings.markdown(judged).encode())
    console.say(findings.sentence(judged))
    console.say()
    console.say(table([findings.COLUMNS, *map(findings.cells, judged.findings)]))
    console.answer(judged.to_document())
    return Verdict.exit_code if judged.broken else 0
