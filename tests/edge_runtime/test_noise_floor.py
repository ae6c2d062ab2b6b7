"""A machine's noise floor: kept where it was measured, for as long as it holds, and read by nobody else."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge_runtime import noise_floor
from edge_runtime.noise_floor import NoiseFloor
from edge_runtime.stats import Interval

THEN = datetime(2026, 1, 1, tzinfo=UTC)
FLOOR = NoiseFloor(machine_key="abc", threads=2, share=0.03, rounds=10, created=THEN.strftime(noise_floor.TIME))


def read(folder: Path, *, key: str = "abc", threads: int = 2, days: float = 1) -> NoiseFloor | None:
    return noise_floor.read(folder, key, threads, now=THEN + timedelta(days=days))


def test_the_floor_is_the_farther_end_of_the_interval_in_either_direction() -> None:
    assert noise_floor.of_interval(Interval(1.0, 0.99, 1.03)) == pytest.approx(0.03)
    assert noise_floor.of_interval(Interval(1.0, 1 / 1.05, 1.03)) == pytest.approx(0.05)
    assert noise_floor.of_interval(Interval(1.0, None, None)) is None


def test_the_margin_is_what_is_wanted_and_no_less_than_the_machine_supports() -> None:
    assert noise_floor.margin(0.02, None) == 0.02
    assert noise_floor.margin(0.02, FLOOR) == pytest.approx(0.045)
    assert noise_floor.margin(0.10, FLOOR) == 0.10


def test_a_floor_is_read_back_for_its_machine_its_threads_and_its_month(tmp_path: Path) -> None:
    noise_floor.keep(tmp_path / "new", FLOOR)
    assert read(tmp_path / "new") == FLOOR
    assert read(tmp_path / "new", key="other") is None
    assert read(tmp_path / "new", threads=1) is None
    assert read(tmp_path / "new", days=29.9) == FLOOR
    assert read(tmp_path / "new", days=30.1) is None, "a month later the machine is another"
    assert read(tmp_path / "new", days=-1) is None, "the clock was set back"


def test_a_file_of_another_machine_in_its_place_is_not_believed(tmp_path: Path) -> None:
    path = noise_floor.keep(tmp_path, FLOOR)
    path.rename(path.with_name("other-2.json"))
    assert read(tmp_path, key="other") is None


@pytest.mark.parametrize("change", [{"share": -0.1}, {"share": "NaN"}, {"created": "yesterday"}, {"schema": 2}])
def test_a_damaged_floor_is_none_at_all(tmp_path: Path, change: dict[str, object]) -> None:
    path = noise_floor.keep(tmp_path, FLOOR)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert read(tmp_path) is None
    path.write_text("{")
    assert read(tmp_path) is None


def test_a_key_cannot_leave_the_folder(tmp_path: Path) -> None:
    assert noise_floor.keep(tmp_path, replace(FLOOR, machine_key="../x")).parent == tmp_path
