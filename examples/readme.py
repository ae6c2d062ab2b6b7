"""`make readme`: what `make demo` measured last, put into README.md: its picture and its table.

Nothing between the two marks in README.md is written by hand, so that picture, table and text are of one run.
"""

import shutil
import sys
from pathlib import Path

from demo import PICTURE, rows

from edge_runtime.record import Record, load_record
from edge_runtime.units import count

ROOT = Path(__file__).resolve().parents[1]
RECORDS = ("linear_model/linear.record.json", "digits/digits.record.json")
BEGIN = "<!-- from here to its end: made by `make readme` from the last `make demo` -->"
END = "<!-- end of what `make readme` makes -->"
PICTURES = {f"{PICTURE}.svg": "docs/demo.svg", f"{PICTURE}-dark.svg": "docs/demo-dark.svg"}


def main() -> None:
    """Replace the part of README.md, and the two pictures it shows: `readme.py [DEMO [ROOT]]`."""
    demo = Path(sys.argv[1] if len(sys.argv) > 1 else "demo")
    root = Path(sys.argv[2]) if len(sys.argv) > 2 else ROOT  # noqa: PLR2004 - the second word
    for name in (*RECORDS, *PICTURES):
        if not (demo / name).is_file():
            sys.exit(f"{demo / name} is not there: make demo first")
    update(demo, root)


def update(demo: Path, root: Path) -> None:
    """Put the results in `demo` into the README.md of `root`, whose two marks must be there, each once."""
    readme = root / "README.md"
    text = readme.read_text(encoding="utf-8")
    if (text.count(BEGIN), text.count(END)) != (1, 1):
        sys.exit(f"{readme} has lost the marks between which the results belong: {BEGIN} ... {END}")
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    for name, place in PICTURES.items():
        shutil.copyfile(demo / name, root / place)
    block = "\n".join((BEGIN, *lines([demo / name for name in RECORDS]), END))
    readme.write_text(before + block + after, encoding="utf-8")


def lines(paths: list[Path]) -> list[str]:
    """Return the part of README.md, from the records at these paths."""
    records = [load_record(path) for path in paths]
    table = [row for path in paths for row in rows(path, header=path is paths[0])]
    light, dark = PICTURES.values()
    rounds = " and ".join(str(len({launch.round for launch in record.launches})) for record in records)
    return [
        "<picture>",
        f'  <source media="(prefers-color-scheme: dark)" srcset="{dark}">',
        f'  <img src="{light}" alt="How many times as fast as other engines edge is, as in the table below.">',
        "</picture>",
        "",
        f"{_measured(records)}:",
        "",
        *(f"| {' | '.join(row)} |" for row in (table[0], ("---",) * len(table[0]), *table[1:])),
        "",
        f"Percentiles of calls this short are of groups of a few; each launch is a fresh process, in {rounds} rounds.",
        *_remarks(records),
    ]


def _measured(records: list[Record]) -> str:
    """Return what it was measured on, and when."""
    one = records[0]
    engines = dict.fromkeys(contender.engine for record in records for contender in record.contenders)
    machine = f"{one.machine.model} ({count(one.machine.cores, 'CPU')})"
    threads = count(one.config.threads, "thread").capitalize()
    return f"{threads} of {machine}, {', '.join(filter(None, engines))}, by `make demo` on {one.created[:10]}"


def _remarks(records: list[Record]) -> list[str]:
    """Return what the harness itself found amiss: a figure without it would claim too much."""
    found = [
        f"- {record.contenders[0].artifact.name}: {warning.partition(';')[0]}"
        for record in records
        for warning in record.warnings
    ]
    return ["", "What the harness found amiss meanwhile:", "", *found] if found else []


if __name__ == "__main__":
    main()
