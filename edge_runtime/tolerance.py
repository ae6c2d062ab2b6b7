"""How far apart two arrays may be. Pure functions; the limits themselves are derived at export."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """An element passes when ``|got - wanted| <= abs + rel * |wanted|``; both zero means equal to the bit.

    abs: one limit for all elements, or an array with one for each.
    """

    abs: "float | Array"
    rel: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How `got` departs from `wanted`.

    ok: within the tolerance.   max_abs: largest absolute difference.   max_rel: the same over the largest magnitude
    of `wanted` (not element by element: an element near zero would make any ratio).   ratio: largest difference as
    a share of what its element was allowed (infinite where nothing was).   index: where the ratio is largest.
    problem: a sentence when the arrays can't be compared at all, else "".
    """

    ok: bool
    max_abs: float
    max_rel: float
    ratio: float
    index: tuple[int, ...]
    problem: str = ""


def compare(got: Array, wanted: Array, tolerance: Tolerance) -> Difference:
    """Compare two arrays of any numeric or boolean dtype.

    Shapes and dtypes must agree. NaN and infinities must stand in the same places with the same sign; the finite
    rest is compared in float64 (complex in complex128), where float32 differences are exact.
    """
    if got.dtype != wanted.dtype or got.shape != wanted.shape:
        return _refused(f"is {describe(got)}, expected {describe(wanted)}")
    if got.size == 0:
        return Difference(ok=True, max_abs=0.0, max_rel=0.0, ratio=0.0, index=())
    if got.dtype.kind not in "fc":
        return _compare_exactly(got, wanted)
    finite = np.isfinite(wanted)
    same_oddities = np.where(finite, np.isfinite(got), (got == wanted) | (np.isnan(got) & np.isnan(wanted)))
    if not same_oddities.all():
        index = _position(int(np.argmin(same_oddities)), got.shape)
        return _refused(f"is {got[index]} at {list(index)}, expected {wanted[index]}")
    wide = np.complex128 if got.dtype.kind == "c" else np.float64
    with np.errstate(over="ignore"):  # two ends of float64 are infinitely apart, which is the right answer
        difference = np.abs(np.where(finite, got, 0).astype(wide) - np.where(finite, wanted, 0).astype(wide))
    magnitude = np.abs(np.where(finite, wanted, 0).astype(wide))
    allowed = tolerance.abs + tolerance.rel * magnitude
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = np.where(difference == 0, 0.0, difference / allowed)
    worst = int(np.argmax(ratio))
    largest, scale = float(difference.max()), float(magnitude.max())
    return Difference(
        ok=bool((difference <= allowed).all()),
        max_abs=largest,
        max_rel=_share(largest, scale),
        ratio=float(ratio.flat[worst]),
        index=_position(worst, got.shape),
    )


def signal_to_noise_db(got: Array, wanted: Array) -> float:
    """Return how far the signal stands above the error, in decibels: infinite where they are equal.

    Minus infinite when they can't be compared: other shapes, or something not finite.
    """
    if got.shape != wanted.shape or not (np.isfinite(got).all() and np.isfinite(wanted).all()):
        return float("-inf")
    noise = float(np.square(got.astype(np.float64) - wanted.astype(np.float64)).sum())
    signal = float(np.square(wanted.astype(np.float64)).sum())
    if noise == 0:
        return float("inf")
    return 10 * math.log10(signal / noise) if signal > 0 else float("-inf")


def compare_coarsely(got: Array, wanted: Array, tolerance: Tolerance, *, least_snr_db: float) -> Difference:
    """Compare as `compare`, for an engine that computes in few bits: floats pass by their signal-to-noise ratio.

    What is no float must agree as ever. The ratio is that of the noise to the most that is allowed.
    """
    difference = compare(got, wanted, tolerance)
    if difference.problem or got.dtype.kind != "f":
        return difference
    found = signal_to_noise_db(got, wanted)
    ok = found >= least_snr_db
    problem = "" if ok else f"has a signal-to-noise ratio of {found:.1f} dB, at least {least_snr_db:.0f} are asked"
    ratio = 10 ** ((least_snr_db - found) / 20)
    return replace(difference, ok=ok, ratio=ratio, problem=problem)


def describe(array: Array) -> str:
    """Return dtype and shape as messages show them: ``float32[1, 8000]``."""
    dtype = array.dtype.name if array.dtype.isnative else array.dtype.str  # ">f4" is no float32 of this machine
    return f"{dtype}[{', '.join(map(str, array.shape))}]"


def _compare_exactly(got: Array, wanted: Array) -> Difference:
    differs = got != wanted
    if not differs.any():
        return Difference(ok=True, max_abs=0.0, max_rel=0.0, ratio=0.0, index=())
    index = _position(int(np.argmax(differs)), got.shape)
    if got.dtype.kind not in "biu":
        return _refused(f"is {got[index]!r} at {list(index)}, expected {wanted[index]!r}")
    # modulo 2**64 the difference of the larger and the smaller is exact, where float64 loses it beyond 2**53
    with np.errstate(over="ignore"):
        gap = np.maximum(got, wanted).astype(np.uint64) - np.minimum(got, wanted).astype(np.uint64)
    largest, scale = float(gap.max()), float(np.abs(wanted.astype(np.float64)).max())
    return Difference(ok=False, max_abs=largest, max_rel=_share(largest, scale), ratio=float("inf"), index=index)


def _refused(problem: str) -> Difference:
    infinite = float("inf")
    return Difference(ok=False, max_abs=infinite, max_rel=infinite, ratio=infinite, index=(), problem=problem)


def _share(part: float, whole: float) -> float:
    if part == 0:
        return 0.0
    return part / whole if whole > 0 else float("inf")


def _position(flat: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(axis) for axis in np.unravel_index(flat, shape))
