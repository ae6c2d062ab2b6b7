"""The inputs that are timed: several that take turns, the same for every contender and in the same order.

One tensor over and over would show an engine at its best: in its caches, with branches that always go one way. The
first is what was asked for, or the first golden case; then come the golden cases of the same sizes, which are real
samples; then variants of these, drawn by a seed. A variant is a sample rolled along its longest axis: it has the very
values of the sample, so that an index stays an index that was seen and a mask stays a mask, and all but its place is
as real as before.
"""

import hashlib
import random
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from edge_runtime import npz
from edge_runtime.artifact import Artifact
from edge_runtime.errors import UsageError
from edge_runtime.npz import Array

COUNT = 8
MAX_BYTES = 64 * 2**20  # of all together: a board of 512 MB has to hold them beside the engine
TRIES = 32  # of rolls for each variant wanted: a constant or a single number has no other

Inputs = Mapping[str, Array]


def timed_inputs(
    artifact: Artifact,
    variant: str,
    given: Path | None,
    *,
    batch: int | None = None,
    most: int | None = None,
    count: int = COUNT,
    seed: int = 0,
) -> tuple[Inputs, ...]:
    """Return at most `count` different inputs of one size, in the order in which they take turns.

    given: an ``.npz`` of arrays by input name that come first; None begins with the first golden case.   batch: gives
    each this many samples, its own over and over.   most: the largest batch of a sweep, for which `MAX_BYTES` must do.
    seed: draws the variants.
    There are fewer than `count`, and one at least, where a sample has no different variants or memory would be short.
    Raises UsageError where nothing is given and the artifact has no golden case, and what reading raises.
    """
    cases: Iterator[Inputs] = (case.inputs for case in artifact.golden(artifact.variant(variant)))
    first = next(cases, None) if given is None else npz.read(given)
    if first is None:
        raise UsageError("the artifact has no golden case", str(artifact.path), "give inputs with --input")
    count = max(1, min(count, MAX_BYTES // max(1, _bytes(first, most))))
    found = {_identity(first): first}
    while len(found) < count and (case := next(cases, None)) is not None:
        if _sizes(case) == _sizes(first):
            found.setdefault(_identity(case), case)
    real = tuple(found.values())
    chance = random.Random(seed)  # noqa: S311 - Python's own stays the same from version to version
    for turn in range(TRIES * count):
        if len(found) == count:
            break
        rolled = _rolled(real[turn % len(real)], chance)
        found.setdefault(_identity(rolled), rolled)
    return tuple(one if batch is None else _batched(one, batch) for one in found.values())


def _rolled(sample: Inputs, chance: random.Random) -> Inputs:
    return {name: _rolled_array(array, chance.random()) for name, array in sorted(sample.items())}


def _rolled_array(array: Array, share: float) -> Array:
    """Return the array shifted by a share of its longest axis, of which the first is only taken where it is alone."""
    if array.ndim == 0:
        return array
    axis = max(range(min(1, array.ndim - 1), array.ndim), key=lambda place: array.shape[place])
    return np.roll(array, int(share * array.shape[axis]), axis)


def _batched(inputs: Inputs, size: int) -> Inputs:
    """Return inputs of another batch size: their first dimension's samples, over and over."""
    return {name: np.take(array, np.arange(size) % len(array), axis=0) for name, array in inputs.items()}


def _bytes(inputs: Inputs, batch: int | None) -> int:
    """Return what the inputs take, of another batch size where there is one."""
    return sum(
        array.nbytes if batch is None else array.nbytes // max(1, len(array)) * batch for array in inputs.values()
    )


def _sizes(inputs: Inputs) -> dict[str, tuple[object, tuple[int, ...]]]:
    return {name: (array.dtype, array.shape) for name, array in inputs.items()}


def _identity(inputs: Inputs) -> bytes:
    content = hashlib.sha256()
    for _, array in sorted(inputs.items()):
        content.update(np.ascontiguousarray(array).data)
    return content.digest()
