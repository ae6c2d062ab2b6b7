"""Trap: a float64 constant that makes its surroundings double."""

import torch
from torch import nn

KIND = "trap: a float64 constant that makes its surroundings double"
VERDICT = "equal"
FLAGS: tuple[str, ...] = ()
FAST = True


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)
        scores: torch.Tensor = self.head((x * scale).float())
        return scores


def build() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    return Net(), torch.ones(2, 3)
