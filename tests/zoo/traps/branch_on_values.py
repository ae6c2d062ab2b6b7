"""Trap: a Python if on the input."""

import torch
from torch import nn

KIND = "trap: a Python if on the input"
VERDICT = "refused"
EXIT, SAYS = 1, "forward depends on input values at branch_on_values.py:15"
FLAGS: tuple[str, ...] = ()
FAST = True


class Net(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.sum() > 0:
            return x * 2
        return -x


def build() -> tuple[nn.Module, torch.Tensor]:
    return Net(), torch.ones(2, 3)
