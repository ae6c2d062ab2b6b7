"""Trap: dropout that eval does not turn off."""

import torch
from torch import nn

KIND = "trap: dropout that eval does not turn off"
VERDICT = "refused"
EXIT, SAYS = 3, "dropout_left_on.py:15"
FLAGS: tuple[str, ...] = ()
FAST = False


class Net(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(x, 0.5, training=True) * 2


def build() -> tuple[nn.Module, torch.Tensor]:
    return Net(), torch.ones(2, 3)
