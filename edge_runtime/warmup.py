"""Was the warm-up long enough? Judged afterwards, from the samples themselves.

No rule that looks on while calls are made can know a change of level that comes later, such as a governor's step. So
the warm-up before a block has a minimum only, and what of the block still belongs to it is cut off here: left of the
last change of level in the first half. For a change after that the worker takes the block as long again (`ends_late`),
so that a late end of the warm-up comes to lie in the first half. If there is one still, it is no warm-up, and nor is a
drift: neither cuts anything, but the block is said not to be steady.

Samples are judged in batches, by the logarithm of each batch's median, so that a few slow calls are no level.
Source of the split: two segments of least squares, binary segmentation (Scott & Knott, 1974); of the slope: Theil
(1950), Sen (1968); of its significance: Mann (1945), Kendall (1975).
`SIGMAS` is the critical value of the largest of many splits, by simulation: for independent noise of 2 to 30 %, normal
or of two modes, and 40 to 2,000 samples, at most 5 % of flat blocks are cut or called unsteady
(`tests/edge_runtime/test_warmup.py` repeats it).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean, median

BATCH, MAX_BATCHES = 5, 200  # samples to a batch, at least; more batches would cost a slow board seconds
MIN_BATCHES = 8  # fewer tell a level from noise by luck
LEAST_LEFT, LEAST_RIGHT = 2, 4  # batches of a segment: a single one has no spread to be judged by
LEAST_SHIFT = 0.02  # a change of level that matters, as a share
SIGMAS = 4.0
DRIFT = 0.03  # over the whole block, as a share
DRIFT_SIGMAS = 3.0


@dataclass(frozen=True, slots=True)
class Judgement:
    """How many samples at the block's beginning are warm-up; whether the rest keeps its level, None if too few."""

    cut: int
    steady: bool | None


def judge(block_ns: Sequence[int]) -> Judgement:
    """Judge the samples of one launch, nanoseconds in order of time."""
    levels, size = _levels(block_ns)
    if len(levels) < MIN_BATCHES:
        return Judgement(0, None)
    cut, late = _cut(levels)
    return Judgement(cut * size, not late and not _drifts(levels[cut:]))


def ends_late(block_ns: Sequence[int]) -> bool:
    """Return whether a level changed in the second half: in a block of twice the length it may be a warm-up's end."""
    levels, _ = _levels(block_ns)
    return _cut(levels)[1]


def _levels(block_ns: Sequence[int]) -> tuple[list[float], int]:
    """Return the logarithm of each batch's median, and how many samples make a batch."""
    size = max(BATCH, math.ceil(len(block_ns) / MAX_BATCHES))
    starts = range(0, len(block_ns) // size * size, size)
    # a clock may tick too slowly for a call: zero has no logarithm
    return [math.log(max(1, median(block_ns[start : start + size]))) for start in starts], size


def _cut(levels: Sequence[float]) -> tuple[int, bool]:
    """Return how many batches are warm-up, and whether a level changed in the second half."""
    cut, end, late = 0, len(levels), False
    while (split := level_change(levels[cut:end])) is not None:
        if cut + split > len(levels) // 2:
            late, end = True, cut + split  # what came before it may still hold a warm-up
        else:
            cut += split
    return cut, late


def level_change(levels: Sequence[float]) -> int | None:
    """Return where the level of logarithms changes most, or None where that is no more than noise.

    levels: of batches, in order of time.
    """
    if len(levels) < MIN_BATCHES:
        return None
    count, total = len(levels), sum(levels)
    best, split, before = -1.0, 0, sum(levels[: LEAST_LEFT - 1])
    for place in range(LEAST_LEFT, count - LEAST_RIGHT + 1):
        before += levels[place - 1]
        # what the split explains of the sum of squares
        explained = (before / place - (total - before) / (count - place)) ** 2 * place * (count - place)
        if explained > best:
            best, split = explained, place
    left, right = levels[:split], levels[split:]
    noise = math.sqrt((_squares(left) + _squares(right)) / (count - 2))
    least = SIGMAS * noise * math.sqrt(1 / len(left) + 1 / len(right))
    return split if abs(fmean(left) - fmean(right)) > max(math.log1p(LEAST_SHIFT), least) else None


def _squares(levels: Sequence[float]) -> float:
    centre = fmean(levels)
    return sum((level - centre) ** 2 for level in levels)


def _drifts(levels: Sequence[float]) -> bool:
    """Return whether the level climbs or falls by more than `DRIFT` over the block, and that is not luck."""
    count = len(levels)
    steps = [(later - early, j - i) for (i, early), (j, later) in combinations(enumerate(levels), 2)]
    slope = median(rise / run for rise, run in steps)
    signs = sum((rise > 0) - (rise < 0) for rise, _ in steps)
    luck = math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    return abs(slope) * count > math.log1p(DRIFT) and abs(signs) > DRIFT_SIGMAS * luck
