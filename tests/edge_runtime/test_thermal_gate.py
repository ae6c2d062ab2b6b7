"""Waiting for a machine to cool down: how warm it may be, how long that takes, and when nobody waits."""

from dataclasses import replace
from pathlib import Path

import pytest

from edge_runtime import thermal_gate, validity
from edge_runtime.environment import Conditions
from edge_runtime.samples import Launch
from edge_runtime.tree import Tree
from tests.records import make_record

BOARDS = Path(__file__).parents[1] / "data/boards"
LAUNCHES = make_record(rounds=3).launches  # two a round


def started(*millicelsius: int | None) -> list[Launch]:
    """Return the launches of three rounds that began at these temperatures."""
    return [
        replace(one, before=Conditions(temperature_millicelsius=start))
        for one, start in zip(LAUNCHES, millicelsius, strict=True)
    ]


class Board:
    """A board that is cooled down by sleeping."""

    def __init__(self, root: Path, *temperatures: int) -> None:
        self.zone = root / "sys/class/thermal/thermal_zone0/temp"
        self.zone.parent.mkdir(parents=True)
        self.tree, self.now_s, self.waiting = Tree(root), 0.0, list(temperatures)
        self.next()

    def next(self) -> None:
        self.zone.write_text(f"{self.waiting.pop(0) if len(self.waiting) > 1 else self.waiting[0]}\n")

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        self.next()

    def wait(self, limit: int | None, most_s: float = thermal_gate.MOST_S) -> float:
        return thermal_gate.wait(limit, self.tree, most_s=most_s, clock=lambda: self.now_s, sleep=self.sleep)


def test_the_limit_is_three_degrees_above_the_warmest_start_of_the_first_round() -> None:
    launches = started(50_000, 54_000, 60_000, 61_000, 62_000, 63_000)
    assert thermal_gate.limit_millicelsius(launches, 1) == 57_000
    assert thermal_gate.limit_millicelsius(launches, 2) == 57_000


def test_there_is_no_limit_within_the_first_round_and_none_without_a_sensor() -> None:
    launches = started(50_000, 54_000, 60_000, 61_000, 62_000, 63_000)
    assert thermal_gate.limit_millicelsius(launches[:1], 0) is None
    assert thermal_gate.limit_millicelsius([], 3) is None
    assert thermal_gate.limit_millicelsius(started(*[None] * 6), 2) is None


def test_a_first_round_that_was_dropped_is_no_measure() -> None:
    launches = started(90_000, 54_000, 60_000, 61_000, 62_000, 63_000)
    launches[0] = replace(launches[0], after=replace(launches[0].after, undervoltage=True))
    assert thermal_gate.limit_millicelsius(validity.judged(launches), 2) == 64_000


def test_it_waits_until_the_machine_is_cool_again(tmp_path: Path) -> None:
    board = Board(tmp_path, 70_000, 65_000, 60_001, 60_000, 80_000)
    assert board.wait(60_000) == pytest.approx(3 * thermal_gate.POLL_S)
    assert board.zone.read_text() == "60000\n"


def test_it_waits_no_longer_than_it_may(tmp_path: Path) -> None:
    board = Board(tmp_path, 70_000)
    assert board.wait(60_000) == pytest.approx(120)
    assert board.wait(60_000, most_s=2.5) == pytest.approx(2.5)
    assert board.wait(60_000, most_s=0) == 0


def test_nothing_is_waited_for_without_a_limit_or_a_temperature(tmp_path: Path) -> None:
    board = Board(tmp_path, 70_000)
    assert board.wait(None) == 0
    board.zone.unlink()
    assert board.wait(60_000) == 0


@pytest.mark.parametrize(("name", "warm"), [("raspberry-pi-5-synthetic", True), ("x86-64-virtual-machine", False)])
def test_boards_with_and_without_a_sensor(name: str, warm: bool) -> None:
    assert thermal_gate.is_above(20_000, Tree(BOARDS / name)) is warm
