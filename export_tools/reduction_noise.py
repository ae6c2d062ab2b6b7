"""What onnxruntime's sums may be off by where all that they add is equal. Pure torch; `kernel_noise` asks.

Equal values round the same way at every addition, so the errors of a long sum add up and don't cancel: onnxruntime's
mean of 50,000 times 0.6 is off by 700 roundings, its mean of other values by 7. PyTorch, in float32 as in float64,
happens to be exact there, and shows nothing. It matters where the mean is taken off again: ``x - x.mean()`` of an even
image is 0 in PyTorch and 0.00005 elsewhere, and a normalisation divides that by the root of its epsilon.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch

EPS = 2.0**-23
# Of the value that is added n times. onnxruntime 1.32 on x86-64 shows up to 2 + n/73 roundings for a mean, and as much
# within an InstanceNormalization; `noise` grants sixteen times this, which is about twice as much
FEW, EACH = 0.5, 1 / 512

Move = tuple[torch.Tensor, torch.Tensor]  # a result, and how far it may be off; always more than what it is


def moved(name: str, arguments: Mapping[str, Any], found: Any) -> Move | None:  # noqa: ANN401 - whatever an operator gives
    """Return what of an operator's result its sums may move, and how far; None where nothing is summed, or is even."""
    rule = RULES.get(name)
    return None if rule is None else rule(arguments, found)


def share(count: int) -> float:
    """Return what the mean of `count` equal values may be off by, as a share of them."""
    return EPS * (FEW + EACH * count)


def _reduced(arguments: Mapping[str, Any], found: Any) -> Move | None:  # noqa: ANN401 - as above
    given, axes = arguments["self"], _axes(arguments)
    even = _even(given, axes)
    if even is None:
        return None
    count = math.prod(given.shape[axis] for axis in axes)
    noise = (even * share(count)).reshape(found.shape)
    return found, noise * found.abs()


def _spread(arguments: Mapping[str, Any], found: Any) -> Move | None:  # noqa: ANN401 - as above
    """Of a standard deviation; a variance moves by the square."""
    given, axes = arguments["self"], _axes(arguments)
    even = _even(given, axes)
    if even is None:
        return None
    count = math.prod(given.shape[axis] for axis in axes)
    return found, (even * given.abs().amax(axes, keepdim=True) * share(count)).reshape(found.shape)


def _variance(arguments: Mapping[str, Any], found: Any) -> Move | None:  # noqa: ANN401 - as above
    move = _spread(arguments, found)
    return None if move is None else (found, move[1].square())


def _normalised(arguments: Mapping[str, Any], found: Any) -> Move | None:  # noqa: ANN401 - as above
    """Of a normalisation by the mean of each group of values, which gives its result, the means, and 1/deviation."""
    result, mean, inverse = found[0], found[1], found[2]
    given = arguments["input"]
    if not mean.numel() or not mean.is_floating_point():  # by statistics of its own: nothing is summed
        return None
    count = given.numel() // mean.numel()
    lead = (1,) if mean.ndim == 1 else ()  # batch_norm: a mean for each channel, over all of the batch
    if mean.ndim == 2 and given.ndim > 2 and mean.shape[1] != given.shape[1]:  # noqa: PLR2004 - group_norm: n, groups
        mean, inverse = (one.repeat_interleave(given.shape[1] // one.shape[1], 1) for one in (mean, inverse))
    wide = [one.reshape(*lead, *one.shape, *[1] * (given.ndim - len(lead) - one.ndim)) for one in (mean, inverse)]
    even = (given - wide[0]).abs() <= 1e-12 * wide[0].abs()
    if not bool(even.any()):
        return None
    weight = arguments.get("weight")
    largest = 1.0 if weight is None else float(weight.abs().max())
    return result, even * wide[0].abs() * wide[1].abs() * largest * share(count)


RULES: Mapping[str, Callable[[Mapping[str, Any], Any], Move | None]] = {
    "mean": _reduced,
    "sum": _reduced,
    "std": _spread,
    "var": _variance,
    "native_batch_norm": _normalised,
    "_native_batch_norm_legit": _normalised,
    "native_group_norm": _normalised,
    "native_layer_norm": _normalised,
}


def _axes(arguments: Mapping[str, Any]) -> list[int]:
    given, named = arguments["self"], arguments.get("dim")
    axes = [named] if isinstance(named, int) else list(named or range(given.ndim))
    return [axis % max(1, given.ndim) for axis in axes]


def _even(given: torch.Tensor, axes: list[int]) -> torch.Tensor | None:
    """Return 1 where all that is reduced to one value is equal and not zero, else 0; None where nothing is."""
    if not given.is_floating_point() or not given.numel() or not given.ndim:
        return None
    most, least = given.amax(axes, keepdim=True), given.amin(axes, keepdim=True)
    even = ((most - least).abs() <= 1e-12 * most.abs()) & (most != 0)
    return even.to(given.dtype) if bool(even.any()) else None
