"""A record as rows of text."""

import pytest

from bench.report import rows
from edge_runtime.record import Record
from edge_runtime.summary import launch_p50s


def test_one_unit_serves_a_whole_column(raced: Record) -> None:
    sheet = rows.sheet(raced, contender="edge")
    assert dict(sheet.columns)["p50"] == "us", "edge takes a few microseconds, the waits hundreds"
    by_name = {row.cells[0]: row.cells for row in sheet.rows}
    assert 290 < float(by_name["waits_300us"][1].partition(" ")[0]) < 400
    assert 590 < float(by_name["waits_600us"][1].partition(" ")[0]) < 700


def test_a_wrong_contender_is_shown_without_figures(raced: Record) -> None:
    row = next(row for row in rows.sheet(raced, contender="edge").rows if row.cells[0] == "adds_one")
    assert row.cells == ("adds_one", *["–"] * 6, "", "invalid")
    assert not row.valid


def test_the_first_contender_is_not_compared_with_itself(raced: Record) -> None:
    row = rows.sheet(raced, contender="edge").rows[0]
    assert row.cells[0] == "edge"
    assert row.cells[-2:] == ("", "")


@pytest.mark.parametrize(
    ("value", "factor", "text"),
    [
        (2148, 1e3, "2.15"),
        (9996, 1e3, "10.0"),
        (99_960, 1e3, "100"),
        (1.2e6, 1e3, "1200"),
        (0, 1.0, "0.00"),
        (None, 1.0, "–"),
    ],
)
def test_figures_have_three_digits(value: float | None, factor: float, text: str) -> None:
    assert rows.scaled(value, factor) == text


def test_the_median_shown_is_that_of_the_launches(raced: Record) -> None:
    medians = launch_p50s(raced, "waits_600us")
    shown = float(rows.sheet(raced, contender="edge").rows[2].cells[1].partition(" ")[0])
    assert min(medians) / 1e3 - 1 <= shown <= max(medians) / 1e3 + 1
