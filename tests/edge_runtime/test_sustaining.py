"""Minutes of load on a clock that moves only when a call or a sleep moves it."""

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.environment import Conditions
from edge_runtime.sustained import Sustained, Window, document, lines, ratio, slower_from_ns
from edge_runtime.sustaining import Thinned, windows
from tests.fakes import FakeClock

MS = 1_000_000


@given(st.lists(st.integers(1, 10**9), max_size=200), st.sampled_from([2, 4, 16]))
def test_thinned_samples_are_evenly_spread_and_no_more_than_allowed(samples: list[int], most: int) -> None:
    thinned = Thinned(most)
    for sample in samples:
        thinned.add(sample)
    every = 1
    while -(-len(samples) // every) > most:
        every *= 2
    assert list(thinned.kept) == samples[::every]
    assert (thinned.seen, thinned.largest) == (len(samples), max(samples, default=0))


def calm() -> Conditions:
    return Conditions()


def ran(costs_ms: Sequence[float], *, total_s: float, window_s: float, rate: float | None = None) -> list[Window]:
    clock = FakeClock()

    def sleep(seconds: float) -> None:
        clock.advance(round(seconds * 1e9) + 200_000)

    step = clock.costing([round(cost * MS) for cost in costs_ms])
    return list(
        windows(
            itertools.repeat(step),
            total_s=total_s,
            window_s=window_s,
            rate_per_s=rate,
            calls_per_sample=1,
            look=calm,
            clock=clock,
            sleep=sleep,
        )
    )


def test_calls_follow_one_another_and_each_window_has_its_own_figures() -> None:
    found = ran([1] * 900 + [5] * 100 + [2] * 1000, total_s=4, window_s=1)
    assert [one.begin_ns for one in found] == [0, 1000 * MS, 2000 * MS, 3000 * MS]
    assert [one.calls for one in found] == [920, 380, 500, 500]
    assert [(one.p50_ns, one.p90_ns, one.max_ns) for one in found[:2]] == [(MS, MS, 5 * MS), (2 * MS, 5 * MS, 5 * MS)]
    assert {one.elapsed_ns for one in found} == {1000 * MS}


def test_a_call_longer_than_a_window_is_a_window_and_the_run_ends_in_time() -> None:
    found = ran([2500], total_s=10, window_s=1)
    assert [(one.begin_ns // MS, one.calls) for one in found] == [(0, 1), (2500, 1), (5000, 1), (7500, 1)]


def test_windows_end_on_the_grid_though_calls_pass_it() -> None:
    found = ran([300], total_s=10, window_s=1)
    assert len(found) == 10
    assert found[-1].begin_ns + found[-1].elapsed_ns == 10_200 * MS, "34 calls, not ten windows of 1.2 s"


def test_at_a_rate_a_latency_counts_from_when_the_call_was_due() -> None:
    (first, second) = ran([5] * 10 + [30, *[5] * 100], total_s=0.4, window_s=0.2, rate=50)
    assert first.calls == 10
    assert (first.p50_ns, second.max_ns) == (5_000_000, 30 * MS)
    assert sorted({first.p50_ns, second.p50_ns}) == [5 * MS]


def test_what_holds_the_machine_back_is_told_and_null_where_nothing_tells() -> None:
    looks = iter(
        [
            Conditions(cooling_steps=1),
            Conditions(cooling_steps=1, frequency_khz=1_800_000, temperature_millicelsius=60_000),
            Conditions(cooling_steps=2),
            Conditions(cooling_steps=1, throttled_bits=0x50000),
            Conditions(cooling_steps=1, throttled_bits=0x4),
            Conditions(undervoltage=True),
            Conditions(),
        ]
    )
    clock = FakeClock()
    found = windows(
        itertools.repeat(clock.costing([MS])),
        total_s=0.06,
        window_s=0.01,
        rate_per_s=None,
        calls_per_sample=1,
        look=lambda: next(looks),
        clock=clock,
    )
    told = list(found)
    assert [one.throttled for one in told] == [False, True, False, True, True, None]
    assert (told[0].frequency_khz, told[0].temperature_millicelsius) == (1_800_000, 60_000)
    assert (told[5].frequency_khz, told[5].temperature_millicelsius) == (None, None)


def long_run(p50s_us: Sequence[float], throttled: bool | None = None) -> Sustained:
    made = [
        Window(
            begin_ns=index * 60 * 10**9,
            elapsed_ns=60 * 10**9,
            calls=100,
            p50_ns=round(p50 * 1000),
            p90_ns=round(p50 * 1100),
            max_ns=round(p50 * 2000),
            frequency_khz=1_800_000 - index,
            temperature_millicelsius=50_000 + 1000 * index,
            throttled=throttled,
        )
        for index, p50 in enumerate(p50s_us)
    ]
    return Sustained(contender="edge", rate_per_s=None, windows=tuple(made))


NOISE = [1.0, 1.002, 0.999, 1.001, 1.0, 0.998, 1.001, 1.0, 1.002, 0.999, 1.0, 1.001]


def test_a_slowdown_is_dated_by_the_window_it_began_with() -> None:
    hot = long_run([100 * noise * (1.3 if index >= 5 else 1) for index, noise in enumerate(NOISE)])
    assert slower_from_ns(hot) == 5 * 60 * 10**9
    assert ratio(hot) == pytest.approx(1.3, rel=0.005)
    (told,) = lines([hot])
    assert told.startswith("edge: 12 min in 12 windows, p50 100 us at first, 1.30 times that in the last 3 windows")
    assert "slower from 5 min on, 50 to 61 °C, 1800 to 1799 MHz" in told


def test_the_first_of_two_slowdowns_counts_and_a_speed_up_is_none() -> None:
    steps = [100 * noise * (1 if i < 4 else 1.2 if i < 8 else 2) for i, noise in enumerate(NOISE)]
    assert slower_from_ns(long_run(steps)) == 4 * 60 * 10**9
    assert slower_from_ns(long_run([2 * one if i < 4 else one for i, one in enumerate(NOISE)])) is None


def test_a_steady_run_has_no_slowdown_and_a_short_one_no_ratio() -> None:
    assert slower_from_ns(long_run([100 * one for one in NOISE])) is None
    assert ratio(long_run([100, 100, 100])) is None
    (told,) = lines([long_run([100, 100, 100])])
    assert told.startswith("edge: 3 min in 3 windows, p50 100 us, too short to tell how it goes on")
    assert lines([long_run([])]) == ()


def test_the_summary_says_whether_the_machine_ever_held_back() -> None:
    assert document(long_run([100] * 4, throttled=True)) == {
        "rate_per_s": None,
        "windows": 4,
        "ratio": pytest.approx(1.0),
        "time_to_throttle_ns": None,
        "throttled": True,
    }
    assert document(long_run([100] * 4))["throttled"] is None
