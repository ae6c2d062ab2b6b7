"""What verdicts rest on: margin, noise floor, spin probe, dropped rounds."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from bench.report.evidence import dropped, lines, margin, probe
from edge_runtime.record import Record
from tests.records import with_everything

Make = Callable[..., Record]


@pytest.mark.parametrize(
    ("floor", "told"),
    [
        (None, "this machine's noise floor is unknown: edge bench NAME.edge --calibrate"),
        (0.01, "this machine's noise floor is 1.0%, which asks for no less than 1.5%"),
        (0.04, "this machine's noise floor is 4.0%, which sets it"),
    ],
)
def test_the_margin_is_told_with_the_noise_floor_it_follows_from(
    floor: float | None, told: str, make_record: Make
) -> None:
    record = make_record()
    width = 0.02 if floor is None else max(0.02, 1.5 * floor)
    shown = margin(replace(record, config=replace(record.config, noise_floor=floor, margin=width)))
    assert shown == f"differences up to {width:.1%} count as none (the margin); {told}"


def test_the_spin_probe_is_held_against_its_best(make_record: Make) -> None:
    assert probe(make_record()) is None
    found = probe(with_everything(make_record()))
    assert found is not None
    assert (found.launches, found.slow) == (12, 1)
    assert found.median == pytest.approx(1.01)
    assert found.worst == pytest.approx(1.2)
    told = next(line for line in lines(with_everything(make_record())) if line.startswith("spin probe"))
    assert "took 1.01 times its best in the middle, 1.20 at worst; over 1.10 in 1 of 12 launches" in told


def test_a_round_counts_as_dropped_when_one_of_its_launches_does(make_record: Make) -> None:
    record = make_record(rounds=6)
    assert dropped(record) == (0, 6)
    launches = [
        replace(one, valid=False, reasons=("the clock fell",)) if (one.contender, one.round) == ("torch", 3) else one
        for one in record.launches
    ]
    spoilt = replace(record, launches=tuple(launches))
    assert dropped(spoilt) == (1, 6)
    assert "1 of 6 rounds dropped as a whole: the clock fell (1 launch)" in lines(spoilt)


def test_who_left_the_race_drops_no_rounds_of_others(make_record: Make) -> None:
    record = make_record({"edge": 100.0, "torch": 400.0, "mnn": 300.0})
    launches = [
        replace(one, valid=False, reasons=("lost",), block_ns=(), cut=None) if one.contender == "mnn" else one
        for one in record.launches
    ]
    assert dropped(replace(record, launches=tuple(launches))) == (0, 6)
