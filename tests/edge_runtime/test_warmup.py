"""Blocks whose changes are known: what the judgement cuts, and what it calls unsteady."""

import random
from collections.abc import Callable

import pytest

from edge_runtime.warmup import Judgement, judge

LEVEL, NOISE = 1_000_000, 0.02


def block(count: int, factor: Callable[[int], float] = lambda _: 1.0, *, seed: int = 1) -> list[int]:
    """Return samples of independent noise around a level that follows `factor` of the sample's index."""
    chance = random.Random(seed)
    return [round(LEVEL * factor(index) * chance.lognormvariate(0, NOISE)) for index in range(count)]


def test_a_flat_block_keeps_nearly_all_and_is_steady() -> None:
    found = [judge(block(300, seed=seed)) for seed in range(40)]
    assert sum(one.cut == 0 for one in found) >= 36
    assert all(one.steady for one in found)
    assert max(one.cut for one in found) <= 150


@pytest.mark.parametrize("seed", range(5))
def test_a_slow_beginning_is_cut_where_it_ends(seed: int) -> None:
    found = judge(block(300, lambda index: 1.3 if index < 60 else 1.0, seed=seed))
    assert 55 <= found.cut <= 65
    assert found.steady


@pytest.mark.parametrize("seed", range(5))
def test_a_beginning_that_fades_is_cut_in_several_steps(seed: int) -> None:
    found = judge(block(300, lambda index: 1 + 0.5 * 0.9**index, seed=seed))
    assert 15 <= found.cut <= 60
    assert found.steady


def test_a_change_in_the_second_half_is_no_warm_up() -> None:
    found = judge(block(300, lambda index: 1.2 if index >= 200 else 1.0))
    assert found == Judgement(0, steady=False)


def test_both_a_slow_beginning_and_a_late_change_are_told() -> None:
    found = judge(block(400, lambda index: 1.5 if index < 50 else 1.2 if index >= 300 else 1.0))
    assert 45 <= found.cut <= 55
    assert found.steady is False


def test_a_drift_is_not_steady() -> None:
    assert judge(block(300, lambda index: 1 + 0.1 * index / 300)).steady is False


def test_a_change_below_two_per_cent_is_left_alone() -> None:
    exact = [1_000_000 if index < 100 else 990_000 for index in range(300)]
    assert judge(exact) == Judgement(0, steady=True)
    assert judge([1_030_000 if index < 100 else 1_000_000 for index in range(300)]).cut == 100


def test_few_samples_are_not_judged() -> None:
    assert judge([5] * 39) == Judgement(0, steady=None)
    assert judge([]) == Judgement(0, steady=None)
    assert judge([5] * 40) == Judgement(0, steady=True)


def test_the_work_is_bounded_whatever_the_count() -> None:
    found = judge(block(20_000, lambda index: 1.3 if index < 4_000 else 1.0))
    assert found.cut == 4_000
    assert found.steady


def test_a_clock_that_stands_still_is_survived() -> None:
    assert judge([0] * 100) == Judgement(0, steady=True)


def test_a_slow_beginning_is_cut_though_a_larger_change_comes_late() -> None:
    found = judge(block(1000, lambda index: 1.5 if index < 100 else 1.3 if index >= 800 else 1.0))
    assert found == Judgement(100, steady=False)


@pytest.mark.parametrize("count", [40, 60, 100, 300])
@pytest.mark.parametrize(("noise", "modes"), [(0.02, 0.0), (0.10, 0.0), (0.30, 0.0), (0.01, 0.1), (0.01, 0.5)])
def test_noise_alone_is_rarely_taken_for_a_change(count: int, noise: float, modes: float) -> None:
    chance = random.Random(count)
    flat = [
        [round(LEVEL * (1 + modes * (chance.random() < 0.5)) * chance.lognormvariate(0, noise)) for _ in range(count)]
        for _ in range(100)
    ]
    found = [judge(samples) for samples in flat]
    assert sum(one.cut > 0 for one in found) <= 10  # of 100; the rate is under 5 %
    assert sum(one.steady is False for one in found) <= 10
