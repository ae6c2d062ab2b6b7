"""Trap: a mask picks as many values as it likes."""

import torch
from torch import nn

KIND = "trap: a mask picks as many values as it likes"
VERDICT = "equal"
FLAGS: tuple[str, ...] = ()
FAST = True


class Net(nn.Module):
    def forward(self, x: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
        return x[keep] * 2


def build() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    x = torch.linspace(-1, 1, 12).reshape(3, 4)
    return Net(), (x, x > 0)
