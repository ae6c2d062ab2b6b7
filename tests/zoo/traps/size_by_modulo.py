"""Trap: a size that decides by its remainder."""

import torch
from torch import nn

KIND = "trap: a size that decides by its remainder"
VERDICT = "refused"
EXIT, SAYS = 1, "batch-36"
FLAGS = ("--dynamic", "x:0=batch:1..64")
FAST = False


class Net(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * (3.0 if x.shape[0] % 37 == 36 else 2.0)


def build() -> tuple[nn.Module, torch.Tensor]:
    return Net(), torch.ones(2, 3)
