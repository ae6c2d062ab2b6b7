"""Trap: a size that is looked up in a table."""

import torch
from torch import nn

KIND = "trap: a size that is looked up in a table"
VERDICT = "refused"
EXIT, SAYS = 1, "batch-37"
FLAGS = ("--dynamic", "x:0=batch:1..64")
FAST = False


class Net(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * ({37: 3.0}.get(x.shape[0], 2.0))


def build() -> tuple[nn.Module, torch.Tensor]:
    return Net(), torch.ones(2, 3)
