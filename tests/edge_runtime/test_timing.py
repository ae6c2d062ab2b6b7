"""The measuring loop on a clock that moves only when told to."""

import itertools
from functools import partial

import pytest

from edge_runtime.errors import UnsupportedSystem, UsageError
from edge_runtime.timing import GROUP_NS, BlockPlan, take_block
from edge_runtime.warmup import Judgement, judge
from tests.fakes import FakeClock

MS = 1_000_000
SHORT = BlockPlan(warmup_s=0, warmup_calls=2, block_s=0, min_samples=3, max_samples=10)


def test_warm_up_calls_are_kept_apart_from_samples() -> None:
    clock = FakeClock()
    block = take_block([clock.costing([9 * MS, 8 * MS, 1 * MS, 2 * MS, 3 * MS])], SHORT, clock=clock)
    assert block.warmup_ns == (9 * MS, 8 * MS)
    assert block.block_ns == (1 * MS, 2 * MS, 3 * MS)
    assert block.calls_per_sample == 1


def test_sampling_goes_on_for_its_time_and_its_count_whichever_is_longer() -> None:
    clock = FakeClock()
    plan = BlockPlan(warmup_s=0, warmup_calls=1, block_s=0.010, min_samples=3, max_samples=100)
    assert len(take_block([clock.costing([1 * MS])], plan, clock=clock).block_ns) == 10
    assert len(take_block([clock.costing([9 * MS])], plan, clock=clock).block_ns) == 3


def test_sampling_stops_at_the_most_samples_however_fast() -> None:
    clock = FakeClock()
    plan = BlockPlan(warmup_s=0, warmup_calls=1, block_s=10.0, min_samples=1, max_samples=7)
    assert len(take_block([clock.costing([1 * MS])], plan, clock=clock).block_ns) == 7


def test_the_warm_up_lasts_its_seconds() -> None:
    clock = FakeClock()
    plan = BlockPlan(warmup_s=0.020, warmup_calls=2, block_s=0, min_samples=1, max_samples=10)
    block = take_block([clock.costing([1 * MS])], plan, clock=clock)
    # groups of the warm-up are sized so that at most max_samples are kept: 20 ms / 10 = 2 ms, two calls each
    assert block.warmup_ns == (1 * MS,) * 11
    assert clock.now_ns == (2 + 9 * 2 + 1) * MS


def test_fast_calls_are_timed_in_groups_and_told_by_the_call() -> None:
    clock = FakeClock()
    block = take_block([clock.costing([50_000, 2_000])], SHORT, clock=clock)
    assert block.calls_per_sample == GROUP_NS // 2_000
    assert block.block_ns == (2_000, 2_000, 2_000)


def test_a_slow_first_call_does_not_make_the_groups_too_small() -> None:
    clock = FakeClock()
    assert take_block([clock.costing([500 * MS, 1_000])], SHORT, clock=clock).calls_per_sample == 20


def test_a_clock_too_coarse_to_see_a_call_still_ends() -> None:
    clock = FakeClock()
    block = take_block([clock.costing([0])], SHORT, clock=clock)
    assert block.calls_per_sample == GROUP_NS
    assert block.block_ns == (0, 0, 0)


@pytest.mark.parametrize("cost_ns", [MS, 2_000])
def test_steps_take_turns_from_call_to_call_whatever_the_size_of_a_group(cost_ns: int) -> None:
    clock, called = FakeClock(), list[str]()

    def step(name: str) -> None:
        called.append(name)
        clock.advance(cost_ns)

    block = take_block([partial(step, name) for name in "abc"], SHORT, clock=clock)
    assert block.calls_per_sample == max(1, GROUP_NS // cost_ns)
    assert len(called) > 3
    assert called == list(itertools.islice(itertools.cycle("abc"), len(called)))


def test_a_block_that_changes_late_is_taken_as_long_again_once() -> None:
    plan = BlockPlan(warmup_s=0, warmup_calls=1, block_s=0, min_samples=100, max_samples=100)
    clock = FakeClock()
    late = [MS] + [2 * MS] * 80 + [MS]  # after the warm-up's one call, the level falls at 80 of 100
    block = take_block([clock.costing(late)], plan, clock=clock)
    assert len(block.block_ns) == 200
    assert judge(block.block_ns) == Judgement(80, steady=True)
    assert len(take_block([clock.costing([MS] + [2 * MS] * 30 + [MS])], plan, clock=clock).block_ns) == 100
    assert len(take_block([clock.costing(late)], plan, clock=clock, extend=False).block_ns) == 100


def test_what_is_not_steady_after_twice_the_length_is_left_at_that() -> None:
    plan = BlockPlan(warmup_s=0, warmup_calls=1, block_s=0, min_samples=100, max_samples=100)
    clock = FakeClock()
    block = take_block([clock.costing([MS] + [2 * MS] * 80 + [MS] * 80 + [3 * MS])], plan, clock=clock)
    assert len(block.block_ns) == 200
    assert judge(block.block_ns).steady is False


def test_what_the_step_raises_goes_through() -> None:
    def step() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        take_block([step], SHORT, clock=FakeClock())


@pytest.mark.parametrize(
    "wrong",
    [
        {"warmup_s": -1.0},
        {"warmup_calls": 0},
        {"block_s": -0.1},
        {"min_samples": 0},
        {"min_samples": 20, "max_samples": 10},
    ],
)
def test_a_plan_that_would_measure_nothing_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        BlockPlan(**wrong)  # type: ignore[arg-type]


def test_a_clock_that_goes_backwards_is_an_error_and_no_sample() -> None:
    clock = FakeClock()
    with pytest.raises(UnsupportedSystem, match="went back by 5 ns"):
        take_block([clock.costing([MS, MS, -5])], SHORT, clock=clock)


def test_a_clock_that_jumps_ahead_moves_one_sample_and_no_median() -> None:
    clock = FakeClock()
    block = take_block([clock.costing([MS, MS, MS, 3_600_000 * MS, MS])], SHORT, clock=clock)
    assert sorted(block.block_ns)[1] == MS
