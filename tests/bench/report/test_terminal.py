"""What people see: aligned, within 80 columns, and without control codes where nobody reads them as colours."""

import io
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import compare
from bench.report import terminal
from edge_runtime.record import Record
from edge_runtime.rounds import Progress

ROOT = Path(__file__).parents[3]


def shown(record: Record) -> list[str]:
    stream = io.StringIO()
    terminal.show(record, contender="edge", stream=stream, color=True)
    return stream.getvalue().splitlines()


def test_piped_text_is_plain_aligned_and_fits(raced: Record) -> None:
    lines = shown(raced)
    assert "\x1b" not in "".join(lines)
    assert max(map(len, lines)) <= 80
    header = next(line for line in lines if line.startswith("contender"))
    table = lines[lines.index(header) :]  # a sentence above it may wrap before such a name
    rows = [line for line in table if line.startswith(("waits_", "adds_one "))][:3]
    column = header.index("verdict")
    assert [(line[column - 1], line[column:].strip()) for line in rows] == [
        (" ", "faster"),
        (" ", "faster"),
        (" ", "invalid"),
    ]


def test_every_warning_stands_below_the_table(raced: Record) -> None:
    lines = shown(raced)
    assert len(raced.warnings) >= 2
    header = next(index for index, line in enumerate(lines) if line.startswith("contender"))
    told = " ".join(" ".join(lines[header:]).split())  # long lines are wrapped
    assert [warning for warning in raced.warnings if f"warning: {warning}" not in told] == []


def test_a_comparison_fits_and_names_what_differs(raced: Record) -> None:
    stream = io.StringIO()
    terminal.show_comparison(compare(raced, raced), stream=stream, color=True)
    text = stream.getvalue()
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 80
    assert "memory, model" in text
    assert "one launch" in text


def test_progress_is_silent_where_nobody_watches() -> None:
    stream = io.StringIO()
    with terminal.progress(stream=stream, color=True, quiet=False) as told:
        told(Progress(kind="time", contender="edge", round=1, rounds=3, elapsed_s=1, budget_s=10))
    assert stream.getvalue() == ""


@pytest.fixture(scope="module")
def on_a_terminal(raced: Record, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Return what runs `edge compare` of a record with itself on a pseudo-terminal and returns all it wrote."""
    record = tmp_path_factory.mktemp("records") / "a record.json"
    raced.save(record)

    def run(*flags: str, **environment: str) -> str:
        primary, secondary = pty.openpty()
        argv = [sys.executable, "-m", "edge_runtime", "compare", str(record), str(record), *flags]
        clean = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "FORCE_COLOR"}}
        subprocess.run(
            argv, stdout=secondary, cwd=ROOT, env={**clean, "TERM": "xterm", **environment}, check=True, timeout=60
        )
        os.close(secondary)
        text = b""
        try:
            while chunk := os.read(primary, 65536):
                text += chunk
        except OSError:
            pass  # Linux says EIO where the other side of a terminal has closed
        os.close(primary)
        return text.decode()

    return run


def test_colour_is_for_terminals_and_can_be_refused(on_a_terminal: Callable[..., str]) -> None:
    assert "\x1b[" in on_a_terminal()
    assert "\x1b[" not in on_a_terminal("--no-color")
    assert "\x1b[" not in on_a_terminal(NO_COLOR="1")
