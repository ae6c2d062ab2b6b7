"""A page whose consoles are real: every file it shows is written, every command it shows is run, and what they print is
held against what the page says. ``python -m tests.examples.console_doc docs/export.md`` writes the page's output anew.

A page holds ```` ```python title.py ```` blocks (files), ``toml`` and ``text`` ones alike, and ``console`` blocks: a
line ``$ COMMAND`` with what it prints below it. ``…`` on a line of its own stands for lines left out. Figures move from
run to run, so they are masked before a line is compared, and which of two exporters won with them.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
LEFT_OUT = "…"
_BLOCK = re.compile(r"^```(?P<kind>\w+)(?: (?P<title>[\w./-]+))?\n(?P<body>.*?)^```$", re.DOTALL | re.MULTILINE)
_FIGURE = re.compile(r"[-+]?\d[\d.,:]*(?:e[-+]?\d+)?(?: ?(?:ns|us|µs|ms|s|min|KiB|MiB|GiB|B|KB|MB|%)\b)?")


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a page, and the lines that the page says it prints."""

    words: str
    told: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class File:
    """One file of a page."""

    name: str
    content: str


def steps(page: str) -> Iterator[Command | File]:
    """Yield the files and commands of a page, in its order."""
    for block in _BLOCK.finditer(page):
        if block["kind"] == "console":
            yield from _commands(block["body"])
        elif block["title"]:
            yield File(block["title"], block["body"])


def run(command: Command, folder: Path) -> str:
    """Return what a command prints, both streams in their order, as on a terminal of people."""
    edge = f"{sys.executable} -m edge_runtime"
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "PYTHONPATH": str(ROOT),
        "EDGE_CACHE": str(folder / ".cache"),
        "EDGE_EXAMPLES": str(ROOT / "examples"),
    }
    words = re.sub(r"(?<![\w./-])edge (?=[\w$])", f"{edge} ", command.words)
    words = re.sub(r"(?<![\w./-])python (?=[\w$])", f"{sys.executable} ", words)
    done = subprocess.run(
        ["/bin/sh", "-c", words],
        cwd=folder,
        env={**environment, **({"CI": os.environ["CI"]} if "CI" in os.environ else {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    return done.stdout.replace(f"{folder}/", "")


def difference(command: Command, printed: str) -> str:
    """Return the first line that the page shows and the command did not print in its place, "" where all are right."""
    lines = [masked(line) for line in printed.splitlines() if line.strip()]
    skipping = False
    for told in command.told:
        if told == LEFT_OUT:
            skipping = True
            continue
        wanted = masked(told)
        place = lines.index(wanted) if skipping and wanted in lines else 0
        if not lines or lines[place] != wanted:
            return told
        lines, skipping = lines[place + 1 :], False
    return "the end of it" if lines and not skipping else ""


def masked(line: str) -> str:
    """Return a line without its figures, without what depends on which of two models was faster, and single-spaced."""
    if found := re.match(r"(choose|exporter|why|passes|operators|worst error) ", line):
        return found[1]
    return " ".join(_FIGURE.sub("#", re.sub(r"\b(dynamo|torchscript)\b", "#", line)).split())


def rewritten(page: str, folder: Path) -> str:
    """Return the page with the output of its commands as they print it now."""

    def block(found: re.Match[str]) -> str:
        if found["kind"] != "console":
            if found["title"]:
                _write(File(found["title"], found["body"]), folder)
            return found[0]
        parts = []
        for command in _commands(found["body"]):
            printed = run(command, folder).rstrip("\n")
            if command.told == (LEFT_OUT,):  # of no interest, whatever it is
                printed = LEFT_OUT
            parts.append(f"$ {command.words}\n{printed}\n")
        return "```console\n" + "\n".join(parts) + "```"

    return _BLOCK.sub(block, page)


def walk(page: str, folder: Path) -> list[str]:
    """Write the page's files and run its commands; return a sentence for each line that is not as it says."""
    wrong = []
    for step in steps(page):
        if isinstance(step, File):
            _write(step, folder)
            continue
        printed = run(step, folder)
        if line := difference(step, printed):
            wrong.append(f"$ {step.words}\n  does not print: {line}\n  but: {printed}")
    return wrong


def _write(file: File, folder: Path) -> None:
    path = folder / file.name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(file.content, encoding="utf-8")


def _commands(body: str) -> Iterator[Command]:
    words = ""
    told: list[str] = []
    for line in body.splitlines():
        if line.startswith("$ "):
            if words:
                yield Command(words, tuple(told))
            words, told = line.removeprefix("$ "), []
        elif words.endswith("\\"):
            words = f"{words}\n{line}"
        elif line.strip():
            told.append(line)
    if words:
        yield Command(words, tuple(told))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        for name in sys.argv[1:]:
            Path(name).write_text(rewritten(Path(name).read_text(encoding="utf-8"), Path(scratch)), encoding="utf-8")
