"""Trap: a GRU over any number of steps."""

import torch
from torch import nn

KIND = "trap: a GRU over any number of steps"
VERDICT = "equal"
FLAGS = ("--dynamic", "x:0=batch:1..4", "--dynamic", "x:1=steps:1..40")
FAST = False


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(4, 8, batch_first=True, bidirectional=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        states: torch.Tensor = self.gru(x)[0]
        return states


def build() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    return Net(), torch.ones(2, 5, 4)
