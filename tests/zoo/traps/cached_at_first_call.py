"""Trap: a table kept at the first forward."""

import torch
from torch import nn

KIND = "trap: a table kept at the first forward"
VERDICT = "equal"
FLAGS: tuple[str, ...] = ()
FAST = False


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.table is None:
            self.table = torch.arange(x.shape[1], dtype=x.dtype)
        return x + self.table


def build() -> tuple[nn.Module, torch.Tensor]:
    return Net(), torch.ones(2, 3)
