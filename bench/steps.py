"""Where a series of figures changed its level: pure, on logarithms, so that a step is a ratio.

Segments of constant level with the least weighted absolute error, their number chosen by the Bayesian information
criterion for Laplace noise; then steps smaller than the margin are joined again. One bad run is no step: a segment
has at least two points, and its level is a median.
Source of the segmentation: Potts functional in L1 (Friedrich et al., 2008), as asv's step_detect.py; of the
criterion: Schwarz (1978), with each break counted as two parameters, its place and its level.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

MIN_SEGMENT, MAX_SEGMENTS, MAX_POINTS = 2, 12, 200
LEAST_NOISE = 1e-3  # of the logarithm: without a floor, two equal runs would make any third one a step


@dataclass(frozen=True, slots=True)
class Segment:
    """Points [start, end) at one level, in the unit of the series."""

    start: int
    end: int
    level: float


def segments(values: Sequence[float], weights: Sequence[float] | None = None, *, margin: float) -> tuple[Segment, ...]:
    """Return the segments of a series in order of time; at most the last MAX_POINTS values are looked at.

    values: positive.   weights: how sure each is, positive; all the same when None.
    margin: neighbouring levels nearer to each other than this share are one.
    """
    skipped = max(0, len(values) - MAX_POINTS)
    logs = np.log(np.asarray(values[skipped:], dtype=np.float64))
    sure = np.ones(len(logs)) if weights is None else np.asarray(weights[skipped:], dtype=np.float64)
    if not len(logs):
        return ()
    sure = sure * (len(sure) / sure.sum())
    bounds = _bounds(logs, sure)
    while len(bounds) > 2:  # noqa: PLR2004 - a start and an end are one segment
        levels = [_level(logs[a:b], sure[a:b])[0] for a, b in pairwise(bounds)]
        gaps = [abs(one - other) for one, other in pairwise(levels)]
        least = min(range(len(gaps)), key=gaps.__getitem__)
        if gaps[least] > math.log1p(margin):
            break
        del bounds[least + 1]
    return tuple(
        Segment(a + skipped, b + skipped, math.exp(_level(logs[a:b], sure[a:b])[0])) for a, b in pairwise(bounds)
    )


def _bounds(logs: npt.NDArray[np.float64], sure: npt.NDArray[np.float64]) -> list[int]:
    """Return where segments begin, and the end, for the number of segments that the criterion likes best."""
    count = len(logs)
    most = min(MAX_SEGMENTS, count // MIN_SEGMENT)
    if most < 2:  # noqa: PLR2004 - one segment leaves nothing to choose
        return [0, count]
    error = np.full((count + 1, count + 1), math.inf)
    for a in range(count):
        for b in range(a + MIN_SEGMENT, count + 1):
            error[a, b] = _level(logs[a:b], sure[a:b])[1]
    best = [error[0].copy()]
    origins: list[npt.NDArray[np.int64]] = []
    for _ in range(1, most):
        total = best[-1][:, None] + error
        origins.append(total.argmin(axis=0))
        best.append(total.min(axis=0))
    scores = [
        2 * count * math.log(max(row[count] / count, LEAST_NOISE)) + 2 * (2 * k + 1) * math.log(count)
        for k, row in enumerate(best)
    ]
    chosen = min(range(most), key=scores.__getitem__)
    bounds = [count]
    for k in range(chosen, 0, -1):
        bounds.append(int(origins[k - 1][bounds[-1]]))
    return [0, *reversed(bounds)]


def _level(logs: npt.NDArray[np.float64], sure: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return the weighted median and the weighted absolute error around it."""
    order = np.argsort(logs, kind="stable")
    summed = np.cumsum(sure[order])
    level = float(logs[order[int(np.searchsorted(summed, summed[-1] / 2))]])
    return level, float(np.abs(logs - level) @ sure)
