"""What people see: flags that every verb shares, aligned tables, one progress line, and where text goes.

With ``--json`` stdout carries one JSON document and nothing else; text for people then goes to stderr.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TextIO

from edge_runtime.errors import UsageError
from edge_runtime.units import visible

RIGHT = ">"  # a table column that holds numbers
LEFT = "<"


class Parser(argparse.ArgumentParser):
    """An argument parser whose mistakes are UsageErrors, told like every other error."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageError instead of printing the usage and leaving."""
        raise UsageError(message, self.prog, f"see: {self.prog} --help")


def verb_parser(verb: str, summary: str, examples: Sequence[str]) -> Parser:
    """Return the parser of one verb, with the common flags and its examples in the help."""
    parser = Parser(
        prog=f"edge {verb}",
        description=summary,
        epilog="examples:\n" + "\n".join(f"  {example}" for example in examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=False,
    )
    common = parser.add_argument_group("common")
    common.add_argument("-h", "--help", action="help", help="show this help")
    common.add_argument("--json", action="store_true", help="one JSON document on stdout, all else on stderr")
    common.add_argument("-v", "--verbose", action="store_true", help="say more; show tracebacks")
    common.add_argument("-q", "--quiet", action="store_true", help="no progress, no notes")
    common.add_argument("--no-color", action="store_true", help="no colour (as the variable NO_COLOR)")
    return parser


@dataclass(frozen=True, slots=True)
class Console:
    """Where a verb writes: results, notes and progress, as the common flags ask."""

    json: bool
    quiet: bool
    verbose: bool
    color: bool

    @classmethod
    def of(cls, options: argparse.Namespace) -> "Console":
        """Return the console that the common flags in `options` describe."""
        plain = options.no_color or bool(os.environ.get("NO_COLOR"))
        return cls(options.json, options.quiet, options.verbose, not plain)

    @property
    def people(self) -> TextIO:
        """The stream that people read: stdout, or stderr when a JSON document has stdout."""
        return sys.stderr if self.json else sys.stdout

    def say(self, text: str = "") -> None:
        """Print a result for people."""
        print(visible(text), file=self.people, flush=True)

    def can_show(self, letters: str) -> bool:
        """Return whether the encoding of the people's stream has these letters."""
        try:
            letters.encode(self.people.encoding or "ascii")
        except UnicodeEncodeError:
            return False
        return True

    def note(self, text: str) -> None:
        """Print something worth knowing on stderr, unless quiet."""
        if not self.quiet:
            self.clear_line()
            print(visible(text), file=sys.stderr, flush=True)

    def answer(self, document: Mapping[str, Any]) -> None:
        """Print the one JSON document, when it was asked for."""
        if self.json:
            from edge_runtime.decode import as_json  # noqa: PLC0415 - `--help` need not wait for it

            sys.stdout.write(as_json(document))
            sys.stdout.flush()

    def progress(self, text: str) -> None:
        """Show a line that the next one overwrites; only on a terminal."""
        if not self.quiet and sys.stderr.isatty():
            width = os.get_terminal_size(sys.stderr.fileno()).columns - 1
            sys.stderr.write("\r\x1b[2K" + text[:width])
            sys.stderr.flush()

    def clear_line(self) -> None:
        """Remove the progress line."""
        if not self.quiet and sys.stderr.isatty():
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()


def table(rows: Sequence[Sequence[str]], align: str = "") -> str:
    """Return rows as columns that line up, two spaces apart.

    align: one of "<" or ">" for each column; columns beyond it are left-aligned.
    """
    count = max((len(row) for row in rows), default=0)
    sides = align.ljust(count, LEFT)
    widths = [max(len(row[column]) for row in rows if column < len(row)) for column in range(count)]
    lines = [
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=False))
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)
