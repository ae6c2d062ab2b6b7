"""Is it really equal? Inputs that no proof has seen, PyTorch on one side and our runtime on the other.

``python tests/zoo/fresh.py SOURCE ARTIFACT`` prints the largest error, as a share of the largest value of its output.
Nothing of the verification is used: neither its cases nor its tolerances.
"""

import json
import sys

import numpy as np
import torch

import edge_runtime
from edge_runtime.manifest import Port
from export_tools.request import SourceSpec
from export_tools.source import inputs_of, open_source

ROUNDS = 4
SMALLEST = float(np.finfo(np.float32).tiny)


def main() -> None:
    """Compare, and print one JSON document."""
    entry, path = sys.argv[1:]
    source = open_source(SourceSpec(entry=entry))
    example = inputs_of(source, None, ())
    random = np.random.default_rng(20_261_128)
    worst = 0.0
    with edge_runtime.load(path) as model:
        dynamic = {name: sizes for port in model.inputs for name, sizes in port.tested or ()}
        for turn in range(ROUNDS):
            chosen = {name: int(random.integers(min(sizes), max(sizes) + 1)) for name, sizes in dynamic.items()}
            given = [
                one.tensor.numpy() if turn == 0 and not dynamic else made(port, one.tensor.numpy(), chosen, random)
                for port, one in zip(model.inputs, example, strict=True)
            ]
            with torch.no_grad():
                wanted = source.module(*(torch.from_numpy(array.copy()) for array in given))
            leaves = [wanted] if isinstance(wanted, torch.Tensor) else [one for one in wanted if one is not None]
            got = model(**{port.name: array for port, array in zip(model.inputs, given, strict=True)})
            for port, leaf in zip(model.outputs, leaves, strict=True):
                worst = max(worst, error(got[port.name], leaf.numpy()))
    print(json.dumps({"worst": worst, "rounds": ROUNDS}))


def made(port: Port, like: np.ndarray, sizes: dict[str, int], random: np.random.Generator) -> np.ndarray:
    """Return random values of an input, within its declared range or the example's own."""
    shape = tuple(sizes[size] if isinstance(size, str) else size for size in port.shape)
    low, high = port.ranges or (float(like.min()), float(like.max()))
    if like.dtype.kind == "b":
        return random.integers(0, 2, shape).astype(bool)
    if like.dtype.kind in "iu":
        return random.integers(int(low), int(high) + 1, shape).astype(like.dtype)
    return random.uniform(low, high if high > low else low + 1, shape).astype(like.dtype)


def error(got: np.ndarray, wanted: np.ndarray) -> float:
    """Return the largest error as a share of the largest value; infinity where they can't be compared."""
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        return float("inf")
    if wanted.dtype.kind != "f" or not wanted.size:
        return 0.0 if np.array_equal(got, wanted) else float("inf")
    scale = max(float(np.abs(wanted).max()), SMALLEST)
    return float(np.abs(got.astype("f8") - wanted.astype("f8")).max()) / scale


if __name__ == "__main__":
    main()
