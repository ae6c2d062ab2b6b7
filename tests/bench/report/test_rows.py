"""A record as rows and sentences."""

from dataclasses import replace

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


def test_verdicts_are_told_in_words(raced: Record) -> None:
    told = rows.sentences(raced, contender="edge")
    assert len(told) == 4
    assert told[0].startswith("edge is ")
    assert "x faster than waits_300us here (95 % interval " in told[0]
    assert told[0].endswith(", 4 rounds)")
    assert told[2] == "edge and adds_one are not compared: adds_one answers wrongly"
    assert told[3].startswith("answers agree with the golden cases within ")
    assert "adds_one" not in told[3]


def test_a_slower_contender_is_told_with_a_factor_above_one(raced: Record) -> None:
    told = rows.sentences(raced, contender="waits_600us")[1]
    assert told.startswith("waits_600us is ")
    assert "x slower than waits_300us here" in told
    assert 1.8 < float(told.split("x slower")[0].rpartition(" ")[2]) < 2.2


def test_equal_contenders_are_as_fast_as_each_other(raced: Record) -> None:
    twin = [replace(launch, contender="waits_300us") for launch in raced.launches_of("edge")]
    record = replace(raced, launches=(*raced.launches_of("edge"), *twin))
    told = rows.sentences(record, contender="edge")[0]
    assert told.startswith("edge is as fast as waits_300us here, within 2% (95 % interval 1.00 to 1.00")


def test_one_round_gives_no_interval_and_no_verdict(raced: Record) -> None:
    record = replace(raced, launches=tuple(launch for launch in raced.launches if launch.round == 0))
    told = rows.sentences(record, contender="edge")[1]
    assert told.startswith("edge and waits_600us: inconclusive, a speed-up of ")
    assert told.endswith("x in 1 round, which gives no interval")


def test_noise_is_called_inconclusive_without_naming_a_winner(raced: Record) -> None:
    launches = [
        replace(launch, block_ns=tuple(sample * factor for sample in launch.block_ns), contender=name)
        for name, factors in (("edge", (1, 1, 1, 1)), ("waits_300us", (1, 2, 1, 1)))
        for launch, factor in zip(raced.launches_of("edge"), factors, strict=True)
    ]
    told = rows.sentences(replace(raced, launches=tuple(launches)), contender="edge")[0]
    assert told.startswith("edge and waits_300us: inconclusive, ")
    assert "faster" not in told


def test_short_calls_are_said_to_be_timed_in_groups(raced: Record) -> None:
    calls = max(launch.calls_per_sample for launch in raced.launches_of("edge"))
    assert calls > 1
    assert any(f"timed in groups (edge {calls})" in fact for fact in rows.facts(raced))


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
