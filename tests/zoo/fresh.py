"""Is it really equal? Inputs that no proof has seen, PyTorch on one side and our runtime on the other.

``python -m tests.zoo.fresh SOURCE ARTIFACT`` prints the largest error, as a share of the largest value of its output.
Nothing of the verification is used: neither its cases nor its tolerances. What carries state is stepped as well, by
`with_state` on our side and by hand on PyTorch's.
"""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

import edge_runtime
from edge_runtime.manifest import Port
from export_tools.request import SourceSpec
from export_tools.source import Source, inputs_of, open_source

ROUNDS, STEPS = 6, 40
SMALLEST = float(np.finfo(np.float32).tiny)
SPREADS = (1.0, 30.0, 1e-3)  # of inputs without a declared range, in turns

Arrays = Mapping[str, np.ndarray]


def worst(entry: str, path: Path | str) -> float:
    """Return the largest error of an artifact against its source, as a share of the largest value of its output."""
    source = open_source(SourceSpec(entry=entry))
    example = inputs_of(source, None, ())
    random = np.random.default_rng(20_261_128)
    errors: list[float] = []
    with edge_runtime.load(path) as model:
        examples = {port.name: one.tensor.numpy() for port, one in zip(model.inputs, example, strict=True)}

        def fresh(turn: int, sizes: dict[str, int]) -> dict[str, np.ndarray]:
            return {port.name: made(port, examples[port.name], sizes, turn, random) for port in model.inputs}

        for turn in range(ROUNDS):
            given = fresh(turn, sizes_of(model.inputs, turn, random))
            errors += compared(model(**given), wanted(source, list(given.values())), model.outputs)
        state = {pair.input: pair.output for pair in model.artifact.manifest.state or ()}
        if state:
            given = fresh(0, {})
            carried = model.with_state(**given)
            for _ in range(STEPS):
                answers = wanted(source, list(given.values()))
                step = {name: array for name, array in given.items() if name not in state}
                errors += compared(carried(**step), answers, model.outputs)
                named = dict(zip((port.name for port in model.outputs), answers, strict=True))
                given = fresh(0, {}) | {taken: named[left] for taken, left in state.items()}
    return max(errors)


def wanted(source: Source, given: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return what PyTorch answers; the arrays stay as they are, whatever forward does to its inputs."""
    with torch.no_grad():
        answer = source.module(*(torch.from_numpy(array.copy()) for array in given))
    leaves = [answer] if isinstance(answer, torch.Tensor) else [one for one in answer if one is not None]
    return [leaf.numpy().copy() for leaf in leaves]


def compared(got: Arrays, answers: Sequence[np.ndarray], ports: Sequence[Port]) -> list[float]:
    """Return the error of each output."""
    return [error(got[port.name], answer) for port, answer in zip(ports, answers, strict=True)]


def sizes_of(ports: Sequence[Port], turn: int, random: np.random.Generator) -> dict[str, int]:
    """Return a size for each dynamic dimension: the smallest, the largest, then any that was promised between."""
    promised = {name: sizes for port in ports for name, sizes in port.tested or ()}
    if turn < 2:
        return {name: (min(sizes), max(sizes))[turn] for name, sizes in promised.items()}
    return {name: int(random.integers(min(sizes), max(sizes) + 1)) for name, sizes in promised.items()}


def made(port: Port, like: np.ndarray, sizes: dict[str, int], turn: int, random: np.random.Generator) -> np.ndarray:
    """Return random values of an input: within its declared range, else of several spreads around zero."""
    shape = tuple(
        size if isinstance(size, int) else sizes.get(str(size), usual)
        for size, usual in zip(port.shape, like.shape, strict=True)
    )
    if like.dtype.kind == "b":
        return random.integers(0, 2, shape).astype(bool)
    if like.dtype.kind in "iu":
        low, high = port.ranges or (like.min(), like.max())
        return random.integers(int(low), int(high) + 1, shape).astype(like.dtype)
    if port.ranges:
        return random.uniform(*port.ranges, shape).astype(like.dtype)
    return (random.normal(size=shape) * SPREADS[turn % len(SPREADS)]).astype(like.dtype)


def error(got: np.ndarray, wanted: np.ndarray) -> float:
    """Return the largest error as a share of the largest value; infinity where they can't be compared.

    What isn't finite must be the same in both: a NaN of ours would win every comparison by losing it.
    """
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        return math.inf
    if wanted.dtype.kind != "f" or not wanted.size:
        return 0.0 if np.array_equal(got, wanted) else math.inf
    finite = np.isfinite(wanted)
    if not np.array_equal(np.isfinite(got), finite) or not np.array_equal(
        got[~finite], wanted[~finite], equal_nan=True
    ):
        return math.inf
    if not finite.any():
        return 0.0
    scale = max(float(np.abs(wanted[finite]).max()), SMALLEST)
    return float(np.abs(got[finite].astype("f8") - wanted[finite].astype("f8")).max()) / scale


if __name__ == "__main__":
    print(json.dumps({"worst": worst(*sys.argv[1:])}))
