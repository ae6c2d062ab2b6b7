"""Trap: state that forward keeps in a buffer."""

import torch
from torch import nn

KIND = "trap: state that forward keeps in a buffer"
VERDICT = "refused"
EXIT, SAYS = 3, "keeps state between calls"
FLAGS: tuple[str, ...] = ()
FAST = True


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.total: torch.Tensor
        self.register_buffer("total", torch.zeros(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.total = self.total + x.sum(0)
        return x + self.total


def build() -> tuple[nn.Module, torch.Tensor]:
    return Net(), torch.ones(2, 3)
