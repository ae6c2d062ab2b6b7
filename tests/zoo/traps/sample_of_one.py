"""Trap: traced with a batch of one, used with any."""

import torch
from torch import nn

KIND = "trap: traced with a batch of one, used with any"
VERDICT = "equal"
FLAGS = ("--dynamic", "x:0=batch")
FAST = True


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.head(x.flatten(1))
        return scores + x.mean(dim=(1, 2))[:, None]


def build() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    return Net(), torch.ones(1, 2, 3)
