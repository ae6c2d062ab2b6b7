"""Trap: outputs near 1e-9, where any absolute tolerance passes."""

import torch
from torch import nn

KIND = "trap: outputs near 1e-9, where any absolute tolerance passes"
VERDICT = "equal"
FLAGS: tuple[str, ...] = ()
FAST = True


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        small: torch.Tensor = self.head(x).tanh() * 1e-9
        return small


def build() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    return Net(), torch.ones(2, 6)
