"""Steps in a series: found where they were planted, and not found in noise."""

import numpy as np
import pytest

from bench.steps import MAX_POINTS, segments


def starts(values: list[float], margin: float = 0.02) -> list[int]:
    return [one.start for one in segments(values, margin=margin)]


def test_a_step_is_found_at_its_place_with_its_levels() -> None:
    found = segments([100.0] * 7 + [110.0] * 6, margin=0.02)
    assert [(one.start, one.end) for one in found] == [(0, 7), (7, 13)]
    assert [one.level for one in found] == pytest.approx([100, 110])


@pytest.mark.parametrize("noise", [0.005, 0.01, 0.02])
def test_planted_steps_of_ten_percent_are_found_within_one_run(noise: float) -> None:
    hits = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        values = np.repeat([100.0, 110.0, 95.0], 10) * random.lognormal(0, noise, 30)
        found = starts(list(values))
        hits += len(found) == 3 and abs(found[1] - 10) <= 1 and abs(found[2] - 20) <= 1
    assert hits >= 36


@pytest.mark.parametrize("noise", [0.005, 0.02, 0.1])
def test_noise_alone_makes_no_step(noise: float) -> None:
    seen = 0
    for seed in range(100):
        seen += len(starts(list(np.random.default_rng(seed).lognormal(0, noise, 30)))) > 1
    assert seen <= 5


def test_one_bad_run_is_no_step() -> None:
    assert starts([100.0] * 6 + [150.0] + [100.0] * 6) == [0]


def test_a_step_within_the_margin_is_none() -> None:
    values = [100.0] * 8 + [103.0] * 8
    assert starts(values, margin=0.02) == [0, 8]
    assert starts(values, margin=0.05) == [0]


def test_an_unsure_point_moves_no_level() -> None:
    values = [100.0, 100.0, 140.0, 140.0, 100.0, 100.0]
    assert len(segments(values, [1, 1, 0.001, 0.001, 1, 1], margin=0.02)) == 1


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 2.0], [1.0, 2.0, 3.0]])
def test_too_few_points_are_one_level_at_most(values: list[float]) -> None:
    assert len(segments(values, margin=0.02)) == min(1, len(values))


def test_a_long_series_is_looked_at_from_its_end() -> None:
    values = [100.0] * 150 + [200.0] * MAX_POINTS
    assert starts(values) == [150]
