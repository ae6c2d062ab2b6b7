"""Latencies as rows of blocks, and tables in narrow terminals."""

import io
import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from bench.report import terminal
from bench.report.spread import BLOCKS, spread
from edge_runtime.record import Record

Make = Callable[..., Record]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def shown(record: Record, stream: io.StringIO) -> list[str]:
    terminal.show(record, contender="edge", stream=stream, color=False)
    return re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue()).splitlines()


def test_contenders_share_one_axis_and_peak_where_their_median_is(make_record: Make) -> None:
    axis, edge, torch = spread(make_record(), width=60, blocks=True)
    assert axis.split()[1] == "us"
    assert edge.startswith("edge   ")
    assert edge.index("█") < torch.index("█")
    assert max(map(len, (axis, edge, torch))) <= 60


def test_a_single_slow_call_is_still_seen(make_record: Make) -> None:
    record = make_record({"edge": 100.0}, rounds=1, samples=400)
    block = (*[100_000] * 399, 10**7)
    _, edge = spread(replace(record, launches=(replace(record.launches[0], block_ns=block),)), width=60, blocks=True)
    assert edge.endswith(BLOCKS[1])


def test_an_output_without_blocks_gets_plain_letters_and_no_samples_nothing(make_record: Make) -> None:
    assert "".join(spread(make_record(), width=60, blocks=False)).isascii()
    assert spread(replace(make_record(), launches=()), width=60, blocks=True) == ()
    assert spread(make_record(), width=12, blocks=True) == ()


def test_a_long_or_hostile_name_takes_no_more_than_its_column(make_record: Make) -> None:
    lines = spread(make_record({"edge": 100.0, "\x1b[2J" + "x" * 100: 100.0}), width=60, blocks=True)
    assert max(map(len, lines)) <= 60
    assert "\x1b" not in "".join(lines)


@pytest.mark.parametrize("width", [40, 80, 200])
def test_a_terminal_of_any_width_shows_verdict_names_and_whole_cells(
    width: int, make_record: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    lines = shown(make_record({"edge": 100.0, "onnxruntime": 120.0, "torch": 400.0}, samples=400), Terminal())
    assert max(map(len, lines)) <= width
    assert lines[0].startswith("edge is 1.")
    header = next(line for line in lines if line.startswith("contender"))
    assert "p50" in header
    assert "verdict" in header
    assert ("cold start" in header) == (width > 40)
    assert any("no room here for" in line for line in lines) == (width == 40)
    assert "…" not in "".join(lines)


def test_piped_text_is_at_most_80_columns(make_record: Make) -> None:
    lines = shown(make_record({"edge": 100.0, "onnxruntime": 120.0, "torch-compile": 400.0}), io.StringIO())
    assert max(map(len, lines)) <= 80


def test_zero_rounds_are_shown_as_such(make_record: Make) -> None:
    lines = shown(replace(make_record(), launches=(), memory=(), stop_reason="budget"), io.StringIO())
    assert lines[0].startswith("Nothing was timed on Board 5, 1 thread")
