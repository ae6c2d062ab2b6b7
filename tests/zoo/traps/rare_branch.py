"""Trap: an if that no usual input decides otherwise."""

import torch
from torch import nn

KIND = "trap: an if that no usual input decides otherwise"
VERDICT = "refused"
EXIT, SAYS = 1, "forward depends on input values at rare_branch.py:15"
FLAGS: tuple[str, ...] = ()
FAST = False


class Net(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.max() > 1e4:
            return x.clamp(max=1e4)
        return x * 2


def build() -> tuple[nn.Module, torch.Tensor]:
    return Net(), torch.ones(2, 3)
