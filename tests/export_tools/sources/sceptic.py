"""Modules that try to fool the proof."""

from typing import Any

import torch
from torch import Tensor, nn


class OtherAt64(nn.Module):
    """Another function for batches of 64 alone, which no usual size shows."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if x.shape[0] == 64 else x + 1


def _with_example(kind: type[nn.Module]) -> Any:
    return lambda: (kind(), torch.linspace(-1, 1, 12).reshape(4, 3))


other_at_64 = _with_example(OtherAt64)
