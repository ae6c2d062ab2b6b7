"""Statistics of latencies: pure functions on the standard library, since boards need them too.

Percentiles are latencies that happened. The unit of inference is the launch (one fresh process), because samples
within one process are strongly correlated: an interval from pooled samples is far too narrow.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean, stdev

from edge_runtime.errors import UsageError

CONFIDENCE = 0.95  # of every interval in this project


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its 95 % confidence limits; `low` and `high` are None where one launch can't give them."""

    estimate: float
    low: float | None
    high: float | None


def percentile(samples_ns: Sequence[int], rank: float) -> int:
    """Return the nearest-rank percentile, in nanoseconds.

    samples_ns: at least one, in any order; left as it was.   rank: 0 < rank <= 100.
    The answer is a latency that happened; interpolation would invent one between two modes.
    Raises UsageError on an empty sample or a rank out of range.
    Source: Hyndman & Fan (1996), definition 1.
    """
    if not samples_ns or not 0 < rank <= 100:  # noqa: PLR2004 - per cent
        raise UsageError(
            f"no percentile {rank} of {len(samples_ns)} samples",
            "stats.percentile",
            "give at least one sample and a rank in (0, 100]",
        )
    # Multiply first: 7 / 100 * 100 is 7.000000000000001, and ceil would take the eighth sample.
    return sorted(samples_ns)[math.ceil(rank * len(samples_ns) / 100) - 1]


def supports(count: int, rank: float) -> bool:
    """Return whether `count` samples can bound this percentile from both sides with 95 % confidence.

    The order-statistic interval is finite when neither all samples below nor all above the percentile has a
    probability over 2.5 %: p50 needs 6 samples, p90 36, p99 368, p99.9 3688.
    Source: Hahn & Meeker, Statistical Intervals (1991), section 5.2.
    """
    share, tail = rank / 100, (1 - CONFIDENCE) / 2
    return share**count <= tail and (1 - share) ** count <= tail


@cache
def least_samples(rank: float) -> int:
    """Return how many samples bound this percentile from both sides: the fewest that `supports` it."""
    return next(count for count in itertools.count(1) if supports(count, rank))


def order_interval(ordered_ns: Sequence[int], rank: float) -> Interval:
    """Return a percentile of sorted samples with the order-statistic interval of at least 95 % confidence.

    ordered_ns: sorted, and enough of them for `supports`. The limits are samples too: the number that lie below the
    true percentile is binomial, whatever the distribution, as long as the samples are independent.
    Source: Hahn & Meeker, Statistical Intervals (1991), section 5.2.
    """
    count, share = len(ordered_ns), rank / 100
    low, high = _binomial_quantiles(count, share, (1 - CONFIDENCE) / 2)
    # ranks count from 1; the upper limit is the sample after the quantile
    limits = ordered_ns[max(low, 1) - 1], ordered_ns[min(high, count - 1)]
    return Interval(percentile(ordered_ns, rank), *limits)


@cache
def _binomial_quantiles(count: int, share: float, tail: float) -> tuple[int, int]:
    """Return the least k with P(X <= k) >= tail, and the least with P(X <= k) >= 1 - tail, X binomial."""
    total, found = 0.0, -1
    for k in range(count + 1):
        log_choices = math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1)
        total += math.exp(log_choices + k * math.log(share) + (count - k) * math.log1p(-share))
        if found < 0 and total >= tail:
            found = k
        if total >= 1 - tail:
            return found, k
    return found, count


def launch_interval(values: Sequence[float]) -> Interval:
    """Return the geometric mean of one positive value per launch, with a t interval on the logarithms.

    With fewer than two launches, or a value of zero, the limits are None.
    """
    if len(values) < 2 or min(values) <= 0:  # noqa: PLR2004 - a spread needs two
        return Interval(fmean(values), None, None)
    logs = [math.log(value) for value in values]
    centre, half = fmean(logs), half_width(logs)
    return Interval(math.exp(centre), math.exp(centre - half), math.exp(centre + half))


def half_width(values: Sequence[float]) -> float:
    """Return half the width of the 95 % t interval of the mean of at least two values."""
    degrees = len(values) - 1
    return t_quantile(1 - (1 - CONFIDENCE) / 2, degrees) * stdev(values) / math.sqrt(len(values))


def paired_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Interval:
    """Return the ratio of two contenders measured in the same rounds, with its interval (`ratio_of_logs`).

    Raises UsageError when there isn't one value a round for each.
    """
    if len(numerators) != len(denominators):
        raise UsageError("rounds are not paired", "stats.paired_ratio", "give one value a round for each contender")
    return ratio_of_logs([math.log(one / other) for one, other in zip(numerators, denominators, strict=True)])


def ratio_of_logs(logs: Sequence[float]) -> Interval:
    """Return the ratio of two contenders measured in the same rounds, with its interval.

    logs: of each round, the logarithm of one's time over the other's, at least one. The ratio is the exponential of
    their mean, the limits those of a t interval with one degree of freedom less than rounds. What drifts slowly hits
    both contenders of a round alike and cancels.
    """
    return launch_interval([math.exp(one) for one in logs])


def unpaired_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Interval:
    """Return the ratio of the geometric means of launches from two separate runs, with a Welch t interval.

    Limits are None with fewer than two launches on either side.
    Source: Welch (1947), degrees of freedom after Satterthwaite (1946).
    """
    above, below = [math.log(value) for value in numerators], [math.log(value) for value in denominators]
    centre = fmean(above) - fmean(below)
    if min(len(above), len(below)) < 2:  # noqa: PLR2004 - a spread needs two
        return Interval(math.exp(centre), None, None)
    shares = [stdev(side) ** 2 / len(side) for side in (above, below)]
    total = sum(shares)
    if total == 0:
        return Interval(math.exp(centre), math.exp(centre), math.exp(centre))
    degrees = total**2 / sum(share**2 / (len(side) - 1) for share, side in zip(shares, (above, below), strict=True))
    half = t_quantile(1 - (1 - CONFIDENCE) / 2, degrees) * math.sqrt(total)
    return Interval(math.exp(centre), math.exp(centre - half), math.exp(centre + half))


def verdict(speedup: Interval, *, margin: float) -> str:
    """Return "faster", "slower", "same" or "inconclusive" for a speed-up (baseline's time over contender's).

    Faster: the interval lies above 1 and the estimate above 1 + margin; slower: the mirror image; same: the interval
    lies inside the margin on both sides. Everything else is inconclusive, which more rounds may settle.
    """
    if speedup.low is None or speedup.high is None:
        return "inconclusive"
    # in logarithms the margin is the same in both directions: 1.02 times faster mirrors 1.02 times slower
    effect, band = math.log(speedup.estimate), math.log1p(margin)
    if math.log(speedup.low) > 0 and effect > band:
        return "faster"
    if math.log(speedup.high) < 0 and effect < -band:
        return "slower"
    if -band < math.log(speedup.low) and math.log(speedup.high) < band:
        return "same"
    return "inconclusive"


def mean_p(values: Sequence[float]) -> float:
    """Return the two-sided p of the mean of at least two values being zero, by Student's t.

    Of the logarithms of paired ratios it is below 0.05 exactly where their 95 % interval excludes 1.
    """
    centre, spread = fmean(values), stdev(values)
    if spread == 0:
        return 1.0 if centre == 0 else 0.0
    t = abs(centre) * math.sqrt(len(values)) / spread
    return min(1.0, 2 * (1 - _t_probability(t, len(values) - 1)))


def signed_rank_p(values: Sequence[float]) -> float:
    """Return the exact two-sided p of Wilcoxon's signed-rank test; zeros are left out, ties share their mean rank.

    With fewer than 6 values it can't be below 0.05, whatever they are. At most 30 values: it counts all sign patterns.
    Source: Wilcoxon (1945); the count of patterns by the generating function of Hollander & Wolfe, section 3.1.
    """
    magnitudes = sorted(abs(value) for value in values if value)
    if not magnitudes:
        return 1.0
    # ranks times two, so that halves stay whole
    doubled = {size: 2 * magnitudes.index(size) + magnitudes.count(size) + 1 for size in magnitudes}
    above = sum(doubled[abs(value)] for value in values if value > 0)
    total = sum(doubled[size] for size in magnitudes)
    ways = [1] + [0] * total
    for size in magnitudes:
        for place in range(total, doubled[size] - 1, -1):
            ways[place] += ways[place - doubled[size]]
    tail = sum(ways[: min(above, total - above) + 1])
    return min(1.0, 2.0 * tail / float(2 ** len(magnitudes)))


def discoveries(p_values: Sequence[float], *, rate: float = 1 - CONFIDENCE) -> list[bool]:
    """Return which of a family of tests stand when at most `rate` of those that stand may be false, on average.

    Twenty comparisons of equals have one p below 0.05; one test alone stands exactly when its p is at most `rate`.
    Source: Benjamini & Hochberg (1995), the step-up procedure.
    """
    count = len(p_values)
    limit = max(
        (p for rank, p in enumerate(sorted(p_values), start=1) if p <= rate * rank / count),
        default=-1.0,
    )
    return [p <= limit for p in p_values]


def rounds_needed(log_ratios: Sequence[float], *, margin: float) -> int | None:
    """Return about how many rounds would narrow the interval to the margin on each side; None for fewer than two."""
    if len(log_ratios) < 2:  # noqa: PLR2004 - a spread needs two
        return None
    t = t_quantile(1 - (1 - CONFIDENCE) / 2, len(log_ratios) - 1)
    return max(len(log_ratios) + 1, math.ceil((t * stdev(log_ratios) / math.log1p(margin)) ** 2))


def binomial_bounds(found: int, count: int) -> Interval:
    """Return the share of `found` in `count` independent trials, with exact 95 % limits.

    Source: Clopper & Pearson (1934): the shares at which what was seen has a tail of 2.5 %.
    """
    if count < 1 or not 0 <= found <= count:
        raise UsageError(f"{found} of {count} trials", "stats.binomial_bounds", "count at least one trial")
    tail = (1 - CONFIDENCE) / 2
    # the chance of at least k in n grows with the share, as the incomplete beta function of (k, n - k + 1)
    low = 0.0 if found == 0 else _root(lambda share: _incomplete_beta(share, found, count - found + 1) - tail)
    high = 1.0 if found == count else _root(lambda share: _incomplete_beta(share, found + 1, count - found) - 1 + tail)
    return Interval(found / count, low, high)


def _root(rising: Callable[[float], float]) -> float:
    """Return where a function that rises from 0 to 1 crosses zero, to the last bit of a double."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return (low + high) / 2


def half_share(interval: Interval | None) -> float:
    """Return the half-width of an interval as a share of its estimate; infinite where there is none yet."""
    if interval is None or interval.high is None:
        return math.inf
    return interval.high / interval.estimate - 1


@cache
def t_quantile(probability: float, degrees: float) -> float:
    """Return Student's t quantile for 0.5 < probability < 1, by bisection of the distribution function.

    Source of the distribution function: Abramowitz & Stegun 26.7.1, through the incomplete beta function.
    """
    low, high = 0.0, 1.0
    while _t_probability(high, degrees) < probability:
        high *= 2
    for _ in range(200):  # halves to the last bit of a double
        middle = (low + high) / 2
        if middle in {low, high}:
            break
        low, high = (middle, high) if _t_probability(middle, degrees) < probability else (low, middle)
    return high


def _t_probability(t: float, degrees: float) -> float:
    return 1 - 0.5 * _incomplete_beta(degrees / (degrees + t * t), degrees / 2, 0.5)


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """Return the regularised incomplete beta function, by Lentz's continued fraction (DLMF 8.17.22)."""
    if x in {0.0, 1.0}:
        return x
    if x > (a + 1) / (a + b + 2):  # the fraction converges quickly only on the other side
        return 1 - _incomplete_beta(1 - x, b, a)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)) / a
    tiny = 1e-300
    fraction, c, d = 1.0, 1.0, 0.0
    for step in range(400):
        m = step // 2
        if step == 0:
            term = 1.0
        elif step % 2 == 0:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        else:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d = 1 / (1 + term * d or tiny)
        c = 1 + term / c or tiny
        fraction *= c * d
        if abs(1 - c * d) < 1e-15:  # noqa: PLR2004 - a few units in the last place
            break
    return front * (fraction - 1)
