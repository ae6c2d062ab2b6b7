"""Tensors as they travel between the child that holds the module and its parent: plain arrays in ``.npz`` files.

A torch door.
"""

from pathlib import Path

import numpy as np
import torch

from edge_runtime import npz
from export_tools.errors import SourceError


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Return the arrays of an ``.npz`` as tensors."""
    return {name: torch.from_numpy(array) for name, array in npz.read(path).items()}


def numbered(tensors: list[torch.Tensor]) -> dict[str, npz.Array]:
    """Return tensors as arrays by their place, ``0``, ``1`` and so on."""
    return {str(index): array(f"output {index}", tensor) for index, tensor in enumerate(tensors)}


def _spelled(tensor: torch.Tensor) -> str:
    words = (tensor.dtype, *(() if tensor.layout is torch.strided else (tensor.layout,)))
    return ", ".join(str(word).removeprefix("torch.") for word in words)


def array(name: str, tensor: torch.Tensor) -> npz.Array:
    """Return a tensor as an array of its shape; raise SourceError where numpy has nothing like it."""
    try:
        return np.ascontiguousarray(tensor.detach().cpu().numpy()).reshape(tuple(tensor.shape))
    except (TypeError, RuntimeError) as problem:
        raise SourceError(
            f"{name} is {_spelled(tensor)}, which has no plain array",
            "the module",
            "take and return float32, and convert inside of forward"
            if tensor.is_floating_point()
            else "convert it inside of forward",
        ) from problem
