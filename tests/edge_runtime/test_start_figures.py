"""Figures of starts, from records made up so that they are known to the digit."""

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest

from edge_runtime import start_figures
from edge_runtime.record import Record, parse
from edge_runtime.start_figures import Overtaking, figures, lines, overtakings
from edge_runtime.starts import EVICTED, WARM, Start
from tests.records import make_record

MS = 1_000_000


def start(name: str, cache: str, ms: int, share: float | None = None) -> Start:
    phases = {"spawn": 10 * MS, "import": (ms - 30) * MS, "load": 15 * MS, "first": 5 * MS}
    return Start(contender=name, cache=cache, resident_share=share, phases_ns=phases)


def started(p50_us: Mapping[str, float], *starts: Start, wrong: tuple[str, ...] = ()) -> Record:
    return replace(make_record(p50_us, wrong=wrong), starts=starts)


def test_each_state_has_its_phases_and_the_sum_of_them() -> None:
    record = started(
        {"edge": 100.0, "torch": 400.0},
        start("edge", EVICTED, 400, 0.25),
        start("edge", WARM, 100, 0.9),
        start("edge", EVICTED, 900, 0.3),
        start("edge", WARM, 100, None),
    )
    warm, evicted = figures(record)
    assert (warm.contender, warm.cache, warm.starts) == ("edge", WARM, 2)
    assert warm.first_output_ns.estimate == pytest.approx(100 * MS)
    assert warm.resident_share is None  # one start of two doesn't know
    assert (evicted.cache, evicted.resident_share) == (EVICTED, 0.3)
    # the geometric mean of 400 and 900
    assert evicted.first_output_ns.estimate == pytest.approx(600 * MS)
    assert evicted.first_output_ns.low is not None
    assert evicted.first_output_ns.low < 400 * MS
    assert evicted.phases_ns["load"].estimate == pytest.approx(15 * MS)
    assert parse(json.dumps(record.to_document()), where="x") == record


def test_a_quick_start_with_slow_calls_is_overtaken_when_the_sums_meet() -> None:
    # 900 ms behind, and 300 us quicker a call: 3000 calls
    record = started(
        {"edge": 400.0, "torch": 100.0},
        *(start(name, WARM, ms) for name, ms in (("edge", 100), ("edge", 101), ("torch", 1000), ("torch", 1001))),
    )
    (found,) = overtakings(record, contender="edge")
    assert (found.cache, found.first, found.second, found.settled) == (WARM, "edge", "torch", True)
    assert found.calls == pytest.approx(3000, rel=0.02)
    assert "which overtakes it after" in lines(record, contender="edge")[-1]


def test_who_starts_first_and_is_quicker_stays_ahead() -> None:
    record = started(
        {"edge": 100.0, "torch": 400.0, "onnxruntime": 90.0},
        *(start(name, cache, ms) for cache in (EVICTED, WARM) for name, ms in (("edge", 100), ("torch", 1000))),
        *(start(name, cache, ms) for cache in (EVICTED, WARM) for name, ms in (("edge", 102), ("torch", 1010))),
    )
    assert overtakings(record, contender="edge") == (
        Overtaking(cache=WARM, first="edge", second="torch", calls=None, settled=True),
        Overtaking(cache=EVICTED, first="edge", second="torch", calls=None, settled=True),
    )
    assert lines(record, contender="edge")[-1] == (
        "with the page cache evicted, edge answers before torch and stays ahead"
    )


@pytest.mark.parametrize("torch_ms", [(150,), (150, 90)])
def test_starts_that_are_few_or_scatter_settle_nothing(torch_ms: tuple[int, ...]) -> None:
    edge = [start("edge", WARM, ms) for ms in (100, 110)]
    record = started({"edge": 400.0, "torch": 100.0}, *edge, *(start("torch", WARM, ms) for ms in torch_ms))
    (found,) = overtakings(record, contender="edge")
    assert not found.settled
    assert lines(record, contender="edge")[-1] == (
        "with the page cache warm, these starts don't tell whether edge answers before torch"
    )
    assert start_figures.document(record, contender="edge")["overtaking"][0]["settled"] is False


def test_a_machine_that_slows_down_slows_both_of_a_pair() -> None:
    pairs = [(100, 130), (200, 270), (400, 520), (300, 400)]
    starts = [start(name, WARM, ms) for pair in pairs for name, ms in zip(("edge", "torch"), pair, strict=True)]
    (found,) = overtakings(started({"edge": 400.0, "torch": 100.0}, *starts), contender="edge")
    assert (found.first, found.settled) == ("edge", True)


def test_times_of_zero_in_a_record_made_by_hand_are_no_error() -> None:
    phases = dict.fromkeys(("spawn", "import", "load", "first"), 0)
    starts = [Start(contender=name, cache=WARM, resident_share=0.0, phases_ns=phases) for name in ("edge", "torch") * 2]
    record = started({"edge": 1.0, "torch": 4.0}, *starts)
    assert [one.settled for one in overtakings(record, contender="edge")] == [False]
    assert len(lines(record, contender="edge")) == 2


def test_one_that_answers_wrongly_has_no_figures() -> None:
    record = started({"edge": 1.0, "torch": 4.0}, start("edge", WARM, 100), start("torch", WARM, 50), wrong=("torch",))
    assert [one.contender for one in figures(record)] == ["edge"]
    assert overtakings(record, contender="edge") == ()


def test_the_table_has_a_line_for_each_contender_and_fits_a_terminal() -> None:
    names = ("edge", "onnxruntime", "torch-compile")
    record = started(
        dict.fromkeys(names, 100.0),
        *(start(name, cache, ms, 0.12) for name in names for cache, ms in ((EVICTED, 12345), (WARM, 1234))),
        *(start(name, cache, ms, 0.1) for name in names for cache, ms in ((EVICTED, 12340), (WARM, 1000))),
    )
    title, *rows = lines(record, contender="edge")[0].splitlines()
    assert title.endswith("phases: evicted")
    assert [row.split()[0] for row in rows] == ["warm", *names]
    assert max(map(len, rows)) <= 80
    assert "12.3 s ±0%" in rows[1]
    assert rows[1].endswith("12%")


def test_where_nobody_could_be_evicted_the_phases_are_those_of_warm_starts() -> None:
    record = started({"edge": 1.0, "torch": 4.0}, start("edge", WARM, 100), start("torch", WARM, 50))
    title, _, row, _ = lines(record, contender="edge")[0].splitlines()
    assert title.endswith("phases: warm")
    assert row.split() == [
        "edge",
        "100",
        "ms",
        "–",
        "10.0",
        "ms",
        "70.0",
        "ms",
        "15.0",
        "ms",
        "5.00",
        "ms",
        "–",
    ]
    document = start_figures.document(record, contender="edge")
    assert document["contenders"]["edge"]["evicted"] is None
    assert document["contenders"]["edge"]["warm"]["time_to_first_output_ns"] == [100 * MS, None, None]
    assert document["overtaking"][0]["first"] == "torch"


def test_a_record_without_starts_says_nothing_of_them() -> None:
    record = make_record()
    assert lines(record, contender="edge") == ()
    assert start_figures.document(record, contender="edge") == {"contenders": {}, "overtaking": []}
