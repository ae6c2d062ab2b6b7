"""Was the warm-up long enough? Judged afterwards, from the samples themselves.

No rule that looks on while calls are made can know a change of level that comes later, such as a governor's step. So
the warm-up before a block has a minimum only, and what of the block still belongs to it is cut off here: left of the
last change of level in the first half. A change after that is no warm-up, and nor is a drift: nothing is cut then,
and the block is said not to be steady.

Source of the split: two segments of least absolute deviation, one step of binary segmentation (Scott & Knott, 1974)
with medians in the place of means; of the slope: Theil (1950), Sen (1968).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

BATCH, MAX_BATCHES = 5, 200  # samples to a batch, at least; more batches would cost a slow board seconds
MIN_BATCHES = 8  # fewer tell a level from noise by luck
LEAST_SHIFT = 0.02  # a change of level that matters, as a share
SIGMAS = 3.0
SIGMA_OF_MAD = 1.4826  # of normal noise
DRIFT = 0.03  # over the whole block, as a share


@dataclass(frozen=True, slots=True)
class Judgement:
    """How many samples at the block's beginning are warm-up; whether the rest keeps its level, None if too few."""

    cut: int
    steady: bool | None


def judge(block_ns: Sequence[int]) -> Judgement:
    """Judge the samples of one launch, nanoseconds in order of time."""
    size = max(BATCH, math.ceil(len(block_ns) / MAX_BATCHES))
    whole = len(block_ns) // size
    if whole < MIN_BATCHES:
        return Judgement(0, None)
    # a clock may tick too slowly for a call: zero has no logarithm
    levels = [math.log(max(1, median(block_ns[start : start + size]))) for start in range(0, whole * size, size)]
    cut, steady = 0, True
    while (split := _change(levels[cut:])) is not None:
        if cut + split > whole // 2:
            steady = False
            break
        cut += split
    rest = levels[cut:]
    return Judgement(cut * size, steady and abs(_slope(rest)) * len(rest) <= math.log1p(DRIFT))


def _change(levels: Sequence[float]) -> int | None:
    """Return where the right segment begins, or None where both have one level."""
    if len(levels) < MIN_BATCHES:
        return None
    split = min(range(1, len(levels) - 1), key=lambda place: _spread(levels[:place]) + _spread(levels[place:]))
    left, right = levels[:split], levels[split:]
    shift, centre = abs(median(left) - median(right)), median(right)
    noise = SIGMA_OF_MAD * median(abs(level - centre) for level in right)
    least = SIGMAS * noise * math.sqrt(1 / len(left) + 1 / len(right))
    return split if shift > max(math.log1p(LEAST_SHIFT), least) else None


def _spread(levels: Sequence[float]) -> float:
    centre = median(levels)
    return sum(abs(level - centre) for level in levels)


def _slope(levels: Sequence[float]) -> float:
    return median((late - early) / (j - i) for (i, early), (j, late) in combinations(enumerate(levels), 2))
