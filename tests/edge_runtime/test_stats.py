"""Statistics, with scipy as the oracle and simulation as the judge of intervals."""

import math
import random
import statistics

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from edge_runtime import stats
from edge_runtime.errors import UsageError
from edge_runtime.stats import Interval

MARGIN = 0.02


@given(st.lists(st.integers(0, 10**12), min_size=1), st.floats(0.1, 100))
def test_percentile_is_the_smallest_sample_that_covers_its_rank(samples_ns: list[int], rank: float) -> None:
    before = list(samples_ns)
    cut, wanted = stats.percentile(samples_ns, rank), rank * len(samples_ns) / 100
    assert sum(s < cut for s in samples_ns) < wanted <= sum(s <= cut for s in samples_ns)
    assert samples_ns == before


@pytest.mark.parametrize(("rank", "value"), [(50, 5), (90, 9), (99, 10), (100, 10), (10, 1), (10.1, 2)])
def test_percentiles_of_ten_are_those_one_counts_by_hand(rank: float, value: int) -> None:
    assert stats.percentile([10, 9, 8, 7, 6, 5, 4, 3, 2, 1], rank) == value


@pytest.mark.parametrize(("samples", "rank"), [([], 50), ([1], 0), ([1], 100.1), ([1], -1), ([1], math.nan)])
def test_a_percentile_of_nothing_or_beyond_the_scale_is_refused(samples: list[int], rank: float) -> None:
    with pytest.raises(UsageError, match="no percentile"):
        stats.percentile(samples, rank)


@pytest.mark.parametrize(("rank", "least"), [(50, 6), (90, 36), (99, 368), (99.9, 3688), (10, 36)])
def test_a_percentile_needs_as_many_samples_as_the_book_says(rank: float, least: int) -> None:
    assert stats.supports(least, rank)
    assert not stats.supports(least - 1, rank)
    # the binomial law behind it: all samples on one side of the percentile
    sides = scipy_stats.binom.pmf([0, least], least, rank / 100)
    assert max(sides) <= 0.025


@given(st.floats(0.501, 0.9999), st.floats(1, 500))
def test_the_t_quantile_is_scipys(probability: float, degrees: float) -> None:
    expected = scipy_stats.t.ppf(probability, degrees)
    assert stats.t_quantile(probability, degrees) == pytest.approx(expected, rel=1e-7)


@given(st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=20))
def test_a_launch_interval_is_the_t_interval_of_the_logarithms(values: list[float]) -> None:
    found = stats.launch_interval(values)
    logs = [math.log(value) for value in values]
    spread = scipy_stats.sem(logs)
    half = scipy_stats.t.ppf(0.975, len(logs) - 1) * spread
    assert found.estimate == pytest.approx(statistics.geometric_mean(values), rel=1e-9)
    assert found.low == pytest.approx(math.exp(statistics.fmean(logs) - half), rel=1e-6)
    assert found.high == pytest.approx(math.exp(statistics.fmean(logs) + half), rel=1e-6)


def test_one_launch_or_a_zero_gives_no_interval() -> None:
    assert stats.launch_interval([7.0]) == Interval(7.0, None, None)
    assert stats.launch_interval([0, 4]) == Interval(2.0, None, None)


def test_a_paired_ratio_cancels_what_both_sides_suffer() -> None:
    drift = [1.0, 2.0, 4.0, 8.0]
    found = stats.paired_ratio([3 * step for step in drift], drift)
    assert found.estimate == pytest.approx(3.0)
    assert found.low == pytest.approx(3.0)
    assert found.high == pytest.approx(3.0)
    with pytest.raises(UsageError, match="not paired"):
        stats.paired_ratio([1.0], [1.0, 2.0])


@given(
    st.lists(st.floats(0.5, 2.0), min_size=2, max_size=12),
    st.lists(st.floats(0.5, 2.0), min_size=2, max_size=12),
)
def test_an_unpaired_ratio_is_welchs_test(above: list[float], below: list[float]) -> None:
    logs = [[math.log(value) for value in side] for side in (above, below)]
    assume(all(statistics.variance(side) > 1e-6 for side in logs))  # below, scipy itself warns of lost precision
    found = stats.unpaired_ratio(above, below)
    theirs = scipy_stats.ttest_ind(*logs, equal_var=False).confidence_interval(0.95)
    assert found.low is not None
    assert found.high is not None
    assert math.log(found.low) == pytest.approx(theirs.low, rel=1e-6, abs=1e-9)
    assert math.log(found.high) == pytest.approx(theirs.high, rel=1e-6, abs=1e-9)


def test_an_unpaired_ratio_without_spread_or_launches_says_so() -> None:
    assert stats.unpaired_ratio([4.0], [2.0, 2.0]).low is None
    same = stats.unpaired_ratio([4.0, 4.0], [2.0, 2.0])
    assert [same.low, same.high] == pytest.approx([2.0, 2.0])


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        (Interval(1.5, 1.4, 1.6), "faster"),
        (Interval(0.5, 0.4, 0.6), "slower"),
        (Interval(1.0, 0.99, 1.01), "same"),
        (Interval(1.01, 1.005, 1.015), "same"),  # surely more than one, and not worth a word
        (Interval(1.5, 0.9, 2.5), "inconclusive"),
        (Interval(1.0, 0.9, 1.1), "inconclusive"),
        (Interval(1.5, None, None), "inconclusive"),
        (Interval(1.015, 1.001, 1.04), "inconclusive"),  # the estimate has to pass the margin itself
    ],
)
def test_verdicts(interval: Interval, verdict: str) -> None:
    assert stats.verdict(interval, margin=MARGIN) == verdict


@given(st.floats(0.2, 5), st.floats(1, 2))
def test_a_verdict_mirrors_when_the_contenders_change_places(estimate: float, spread: float) -> None:
    there = stats.verdict(Interval(estimate, estimate / spread, estimate * spread), margin=MARGIN)
    back = stats.verdict(Interval(1 / estimate, 1 / estimate / spread, spread / estimate), margin=MARGIN)
    assert {"faster": "slower", "slower": "faster"}.get(there, there) == back


def rounds_of_noise(source: random.Random, ratio: float, rounds: int) -> tuple[list[float], list[float]]:
    """Two contenders in turn on a machine that drifts and whose noise remembers (AR(1), 0.6)."""
    slow, fast, noise, time = [], [], 0.0, 0
    for index in range(rounds):
        pair: dict[int, float] = {}
        for contender in (0, 1) if index % 2 == 0 else (1, 0):
            noise = 0.6 * noise + source.gauss(0, 0.01)
            time += 1
            pair[contender] = (ratio if contender == 0 else 1.0) * math.exp(noise + 0.005 * time)
        slow.append(pair[0])
        fast.append(pair[1])
    return slow, fast


def test_intervals_hold_the_truth_as_often_as_they_promise_on_a_drifting_machine() -> None:
    source, runs, held = random.Random(7), 600, 0
    for _ in range(runs):
        found = stats.paired_ratio(*rounds_of_noise(source, 1.3, 8))
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 1.3 <= found.high
    assert held / runs >= 0.92


def test_equal_contenders_are_called_different_in_at_most_one_run_of_twenty() -> None:
    source, runs = random.Random(8), 600
    verdicts = [stats.verdict(stats.paired_ratio(*rounds_of_noise(source, 1.0, 8)), margin=MARGIN) for _ in range(runs)]
    assert sum(verdict in {"faster", "slower"} for verdict in verdicts) / runs <= 0.05


def test_a_real_difference_is_found() -> None:
    source = random.Random(9)
    assert stats.verdict(stats.paired_ratio(*rounds_of_noise(source, 1.3, 8)), margin=MARGIN) == "faster"


@pytest.mark.parametrize(("count", "rank"), [(368, 99), (1000, 99), (5000, 90), (72, 95), (40, 50)])
def test_order_statistic_limits_are_those_of_the_binomial(count: int, rank: float) -> None:
    ordered = range(1, count + 1)  # a sample's value is its rank
    found = stats.order_interval(ordered, rank)
    assert found.low == scipy_stats.binom.ppf(0.025, count, rank / 100)
    assert found.high == scipy_stats.binom.ppf(0.975, count, rank / 100) + 1
    assert found.estimate == stats.percentile(ordered, rank)


def test_order_statistic_intervals_of_p99_cover_what_they_promise() -> None:
    source, covered, trials = random.Random(99), 0, 400
    truth = 1e6 * float(scipy_stats.lognorm.ppf(0.99, 0.3))
    for _ in range(trials):
        found = stats.order_interval(sorted(round(1e6 * source.lognormvariate(0, 0.3)) for _ in range(1000)), 99)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= truth <= found.high
    assert covered / trials >= 0.94


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=20))
def test_the_p_of_a_mean_is_scipys_and_agrees_with_the_interval(values: list[float]) -> None:
    assume(statistics.pvariance(values) > 1e-12)
    found = stats.mean_p(values)
    assert found == pytest.approx(scipy_stats.ttest_1samp(values, 0).pvalue, rel=1e-6, abs=1e-12)
    excluded = abs(statistics.fmean(values)) > stats.half_width(values)
    assert excluded == (found < 0.05) or found == pytest.approx(0.05, rel=1e-6)


def test_the_p_of_values_without_spread_is_certain() -> None:
    assert stats.mean_p([0.0, 0.0]) == 1
    assert stats.mean_p([0.1, 0.1]) == 0


@given(st.lists(st.integers(-20, 20).filter(bool), min_size=1, max_size=12, unique_by=abs))
def test_the_signed_rank_p_is_scipys_exact_one(values: list[int]) -> None:
    expected = scipy_stats.wilcoxon(values, method="exact").pvalue
    assert stats.signed_rank_p([float(value) for value in values]) == pytest.approx(expected, rel=1e-9)


def test_the_signed_rank_p_counts_ties_by_their_mean_rank_and_drops_zeros() -> None:
    # 1, 1 and 2 have the ranks 1.5, 1.5 and 3: of 8 sign patterns 2 are as far out as all positive
    assert stats.signed_rank_p([0.0, 1.0, 1.0, 2.0]) == pytest.approx(2 / 8)
    assert stats.signed_rank_p([0.0]) == 1


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_discoveries_are_those_whose_adjusted_p_is_small(values: list[float]) -> None:
    adjusted = scipy_stats.false_discovery_control(values, method="bh")
    assume(all(abs(one - 0.05) > 1e-9 for one in adjusted))
    assert stats.discoveries(values) == [bool(one <= 0.05) for one in adjusted]


def test_more_rounds_are_asked_for_until_the_interval_fits_the_margin() -> None:
    logs = [0.01, -0.01, 0.02, -0.02, 0.01, -0.01]
    needed = stats.rounds_needed(logs, margin=0.02)
    t = scipy_stats.t.ppf(0.975, 5)
    assert needed == max(7, math.ceil((t * statistics.stdev(logs) / math.log1p(0.02)) ** 2))
    assert stats.rounds_needed([0.01], margin=0.02) is None


@given(st.integers(1, 200).flatmap(lambda count: st.tuples(st.integers(0, count), st.just(count))))
def test_binomial_bounds_are_scipys_exact_ones(seen: tuple[int, int]) -> None:
    found, count = seen
    expected = scipy_stats.binomtest(found, count).proportion_ci(0.95, method="exact")
    bounds = stats.binomial_bounds(found, count)
    assert bounds.low == pytest.approx(expected.low, abs=1e-9)
    assert bounds.high == pytest.approx(expected.high, abs=1e-9)


@pytest.mark.parametrize(("found", "count"), [(0, 0), (-1, 3), (4, 3)])
def test_bounds_of_impossible_counts_are_refused(found: int, count: int) -> None:
    with pytest.raises(UsageError, match="trials"):
        stats.binomial_bounds(found, count)
