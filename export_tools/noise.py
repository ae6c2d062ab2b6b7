"""How far apart two right answers may be: derived from what float32 does to the module itself. Pure numpy.

Float32 arithmetic has no one right answer: another order of additions rounds differently. How much that may be is
measured on the module itself, as the distance between its answers in float32 and in float64.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edge_runtime.npz import Array
from edge_runtime.tolerance import Tolerance

EPS = float(np.finfo(np.float32).eps)
# Even a module that happens to round like float64 is not expected to be matched better than a few roundings
LEAST_NOISE = 8 * EPS
# onnxruntime's kernels sum in another order than PyTorch's, and fuse; their distance from the truth is like
# PyTorch's own, their distance from PyTorch at most the sum of both, and the noise that a few cases show is a sample
# of its distribution, not its end: 16 leaves room for all three, and a wrong result is off by thousands
FACTOR = 16.0
# Where rounding alone moves this much of the answer (all of it cancelled, say), a case says nothing of the others
ILL_CONDITIONED = 1e-2
# ... and so where it moves so many times more of it than in half of the cases: an even image through a normalisation
OUTLYING = 32.0
# For modules that can't run in float64: the relative tolerance that torch.onnx's own verification uses by default
FALLBACK_NOISE = 1e-3 / FACTOR
WEAK_TOLERANCE = 1e-2  # beyond it, a subtle fault could pass, and people are told
TINY = float(np.finfo(np.float32).tiny)  # what an all-zero output may be off by: rounding to a denormal


@dataclass(frozen=True, slots=True)
class Answers:
    """PyTorch's outputs for one case, by name: float32 as the module is, and of its float64 copy if that can run.

    shaken: how far the float64 answers move when each operator is as far off as onnxruntime's kernels may be
    (`kernel_noise`); None where no operator of the module is.
    """

    plain: Mapping[str, Array]
    precise: Mapping[str, Array] | None
    shaken: Mapping[str, Array] | None = None


@dataclass(frozen=True, slots=True)
class Granted:
    """What one output of one case may be off by. relative: the same as a share of its largest magnitude, for people."""

    tolerance: Tolerance
    relative: float


@dataclass(frozen=True, slots=True)
class Profile:
    """What rounding does to a module, as some cases showed it; it grants tolerances to these and to further cases.

    An element of magnitude m is granted ``FACTOR * LEAST_NOISE * m``, its own rounding, and beyond it `FACTOR` times
    the noise of its place: the largest ``|y32 - y64|`` that its own rounding doesn't explain, as a share of the
    case's largest magnitude, over all cases that round as is usual for it. A place is an index along an axis that has
    one size in every case (a class, a channel), so that large values beside small ones excuse nothing there. Outputs
    near 1e-9 are judged by 1e-9. What the kernels' own noise does to a case (`Answers.shaken`) comes on top, for that
    case alone. Integers and booleans must be equal.
    """

    places: Mapping[str, Mapping[int, Array]]
    rounding: float
    usual: Mapping[str, float]  # what noise of a case, as a share of its magnitude, says something of the others

    def grants(self, answers: Answers) -> dict[str, Granted]:
        """Return what each output of one case may be off by, element by element."""
        return {name: self._granted(answers, name) for name in answers.plain}

    def including(self, answers: Answers) -> "Profile":
        """Return the profile with what one more case shows of the same places."""
        places: dict[str, Mapping[int, Array]] = {}
        for name, known in self.places.items():
            share, scale = _share(answers, name)
            if share > self.usual[name] or not scale:
                places[name] = known
                continue
            array, extra = answers.plain[name], _unexplained(answers, name)
            shown = {axis: _noise_at(axis, array, extra) / scale for axis in known if axis < array.ndim}
            places[name] = {
                axis: np.maximum(shares, shown[axis])
                if axis in shown and np.shape(shown[axis]) == np.shape(shares)
                else shares
                for axis, shares in known.items()
            }
        return replace(self, places=places)

    def _granted(self, answers: Answers, name: str) -> Granted:
        array = answers.plain[name]
        if array.dtype.kind != "f":
            return Granted(Tolerance(abs=0.0, rel=0.0), 0.0)
        share, scale = _share(answers, name)
        noise = _spread(self.places[name], array.shape) * scale
        if share > self.usual[name]:
            noise = np.maximum(noise, share * scale)
        # an all-zero answer has no magnitude to be judged by: it may be off by a denormal
        limit = FACTOR * noise if scale else np.full(array.shape, TINY)
        if answers.shaken is not None:
            limit += FACTOR * _at_places(answers.shaken[name])
        relative = max(self.rounding, float(limit.max(initial=0)) / scale if scale else 0.0)
        return Granted(Tolerance(abs=limit, rel=self.rounding), relative)


def profile(answers: Sequence[Answers]) -> Profile:
    """Return the profile that these answers show."""
    places: dict[str, Mapping[int, Array]] = {}
    usual: dict[str, float] = {}
    for name, shown in answers[0].plain.items():
        if shown.dtype.kind == "f":
            shares = [_share(answer, name)[0] for answer in answers]
            usual[name] = min(ILL_CONDITIONED, max(LEAST_NOISE, OUTLYING * float(np.median(shares))))
            steady = [answer for answer, share in zip(answers, shares, strict=True) if share <= usual[name]]
            plain = [answer.plain[name] for answer in steady]
            extra = [_unexplained(answer, name) for answer in steady]
            places[name] = _noise_of_places(plain, extra, [_magnitude(array) for array in plain])
    return Profile(places, FACTOR * max(LEAST_NOISE, 0.0 if is_precise(answers) else FALLBACK_NOISE), usual)


def tolerances(answers: Sequence[Answers]) -> tuple[dict[str, Granted], ...]:
    """Return what each output of each case may be off by, by the profile of all of them."""
    found = profile(answers)
    return tuple(found.grants(answer) for answer in answers)


def is_precise(answers: Sequence[Answers]) -> bool:
    """Return whether there is a float64 answer to every case."""
    return all(answer.precise is not None for answer in answers)


def _share(answers: Answers, name: str) -> tuple[float, float]:
    """Return the largest noise that rounding doesn't explain as a share of the largest magnitude, and that."""
    scale = _magnitude(answers.plain[name])
    return (float(_unexplained(answers, name).max(initial=0)) / scale if scale else 0.0), scale


def _unexplained(answer: Answers, name: str) -> Array:
    """Return ``|y32 - y64|`` less what the rounding of each element itself explains; zeros without a float64 answer."""
    plain = answer.plain[name]
    if answer.precise is None:
        return np.zeros(plain.shape)
    precise = answer.precise[name]
    both = np.isfinite(plain) & np.isfinite(precise)
    wide, exact = np.where(both, plain, 0).astype(np.float64), np.where(both, precise, 0)
    return np.maximum(np.abs(wide - exact) - LEAST_NOISE * np.abs(wide), 0.0)


def _noise_of_places(plain: Sequence[Array], extra: Sequence[Array], scales: Sequence[float]) -> dict[int, Array]:
    """Return, for each axis of one size over all cases, the noise of each index, as a share of a case's magnitude.

    At least one rounding of what is found at the index: a few cases may be exact by luck. Axis -1 stands for an
    output that has no such axis: one noise for all of it.
    """
    rank = plain[0].ndim if plain else 0
    sizes = [{array.shape[axis] for array in plain} for axis in range(rank)]
    fixed = [axis for axis, seen in enumerate(sizes) if len(seen) == 1 and seen != {1}]
    found: dict[int, Array] = {}
    for axis in fixed or [-1]:
        shares = [
            _noise_at(axis, array, noise) / scale
            for array, noise, scale in zip(plain, extra, scales, strict=True)
            if scale
        ]
        if shares:
            found[axis] = np.max(np.stack([np.asarray(share) for share in shares]), axis=0)
    return found


def _noise_at(axis: int, array: Array, noise: Array) -> Array:
    """Return the noise of each index of an axis, at least one rounding of what is found there; of all for axis -1."""
    rest = None if axis < 0 else tuple(other for other in range(array.ndim) if other != axis)
    largest = np.abs(_finite(array)).max(axis=rest, initial=0)
    return np.asarray(np.maximum(noise.max(axis=rest, initial=0), EPS * largest))


def _spread(places: Mapping[int, Array], shape: tuple[int, ...]) -> Array:
    """Return the noise of every element: the least that any of its indices is known for."""
    noise = np.full(shape, float(places[-1]) if -1 in places else np.inf)
    for axis, shares in places.items():
        # a case that was left out of the profile, for being ill-conditioned, may have another size there
        if axis >= 0 and shape[axis] == shares.shape[0]:
            noise = np.minimum(noise, shares.reshape([-1 if other == axis else 1 for other in range(len(shape))]))
    return np.where(np.isfinite(noise), noise, LEAST_NOISE)


def _at_places(noise: Array) -> Array:
    """Return the noise that any element of the same place shows: one alone may be still by luck."""
    axes = [axis for axis, size in enumerate(noise.shape) if size > 1]
    found = np.full(noise.shape, noise.max(initial=0))
    for axis in axes:
        rest = tuple(other for other in range(noise.ndim) if other != axis)
        found = np.minimum(found, noise.max(axis=rest, keepdims=True, initial=0))
    return np.asarray(found)


def _finite(array: Array) -> Array:
    return np.where(np.isfinite(array), array, 0).astype(np.float64)


def stored(granted: Granted, got: Array, wanted: Array) -> Tolerance:
    """Return the one absolute limit that a golden case stores for all elements of an output.

    The least that any element is granted, or eight times what onnxruntime needs here if that is more: strict enough
    that a small element is not hidden by a large one, and no false alarm on a CPU that sums in another order.
    """
    limit, rel = np.asarray(granted.tolerance.abs), granted.tolerance.rel
    if wanted.dtype.kind != "f" or wanted.size == 0:
        return Tolerance(abs=0.0, rel=0.0)
    gap = np.abs(_finite(got) - _finite(wanted)) - rel * np.abs(_finite(wanted))
    return Tolerance(abs=float(max(limit.min(), 8 * gap.max(initial=0), TINY)), rel=rel)


def _magnitude(array: Array) -> float:
    finite = array[np.isfinite(array)]
    return float(np.abs(finite.astype(np.float64)).max()) if finite.size else 0.0
