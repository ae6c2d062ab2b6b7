"""Trap: other weights at each call of the builder."""

import torch
from torch import nn

KIND = "trap: other weights at each call of the builder"
VERDICT = "refused"
EXIT, SAYS = 3, "not deterministic"
FLAGS: tuple[str, ...] = ()
FAST = False


def build() -> tuple[nn.Module, torch.Tensor]:
    return nn.Linear(3, 2), torch.ones(2, 3)
