"""What `edge measure` says of the machine's state around the blocks; figures are tested where they are computed."""

from dataclasses import replace

import pytest

from edge_runtime.commands.measure import _described
from edge_runtime.environment import Conditions
from edge_runtime.record import Record
from tests.edge_runtime.test_summary import launch, record

HIDDEN = Conditions(governor=None, frequency_khz=None, temperature_millicelsius=None, load_1m_hundredths=31)
COOL = replace(HIDDEN, governor="ondemand", frequency_khz=600_000, temperature_millicelsius=41_250, throttled_bits=0)
HOT = replace(COOL, frequency_khz=1_500_000, temperature_millicelsius=80_500, throttled_bits=0x4)


def lines(measured: Record) -> dict[str, str]:
    told = _described(measured, asked_energy=False).splitlines()
    return {line.partition(" ")[0]: line.partition(" ")[2].strip() for line in told}


def test_the_state_is_told_before_the_first_block_and_after_the_last() -> None:
    found = lines(record(launch("edge", 0, (5, 6), before=COOL), launch("edge", 1, (5, 6), after=HOT)))
    assert found["before"] == "governor ondemand, 600 MHz, 41.2 °C, firmware: calm, load 0.31"
    assert found["after"] == "governor ondemand, 1500 MHz, 80.5 °C, firmware: throttled, load 0.31"


def test_a_machine_that_hides_its_clock_is_said_to() -> None:
    found = lines(record(launch("edge", 0, (5, 6), before=HIDDEN, after=HIDDEN)))
    assert found["before"] == found["after"] == "load 0.31, clock and temperature are hidden"


@pytest.mark.parametrize("cut", [None, 0, 1])
def test_the_warm_up_rule_says_what_it_cut(cut: int | None) -> None:
    rule = lines(record(launch("edge", 0, (9, 5, 6, 5), cut=cut)))["warm-up"]
    assert rule.endswith("in 1 of 1 launches, 25.0% of all samples" if cut else "early: none")
