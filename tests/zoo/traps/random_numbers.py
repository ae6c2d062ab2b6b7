"""Trap: noise far below any tolerance."""

import torch
from torch import nn

KIND = "trap: noise far below any tolerance"
VERDICT = "refused"
EXIT, SAYS = 3, "random_numbers.py:15"
FLAGS: tuple[str, ...] = ()
FAST = True


class Net(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.randn_like(x) * 1e-9


def build() -> tuple[nn.Module, torch.Tensor]:
    return Net(), torch.ones(2, 3)
