"""Trap: float16 weights."""

import torch
from torch import nn

KIND = "trap: float16 weights"
VERDICT = "equal"
FLAGS: tuple[str, ...] = ()
FAST = False
CLOSE = 2e-3  # it computes in float16


def build() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    return nn.Linear(16, 4).half(), torch.ones(2, 16, dtype=torch.float16)
