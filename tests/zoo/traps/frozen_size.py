"""Trap: a batch that Python counts, any size declared."""

import torch
from torch import nn

KIND = "trap: a batch that Python counts, any size declared"
VERDICT = "refused"
EXIT, SAYS = 1, "frozen_size.py:"
FLAGS = ("--dynamic", "x:0=batch")
FAST = False


class Net(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(int(x.shape[0]), -1) / int(x.shape[0])


def build() -> tuple[nn.Module, torch.Tensor]:
    return Net(), torch.ones(4, 2, 3)
