"""Trap: an operator in place on the input."""

import torch
from torch import nn

KIND = "trap: an operator in place on the input"
VERDICT = "equal"
FLAGS: tuple[str, ...] = ()
FAST = True


class Net(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x.mul_(2)
        return x + 1


def build() -> tuple[nn.Module, torch.Tensor]:
    return Net(), torch.ones(2, 3)
