"""Trap: a cell whose state only one exporter takes."""

import torch
from torch import nn

KIND = "trap: a cell whose state only one exporter takes"
VERDICT = "equal"
FLAGS = ("--state", "h:h_next", "--state", "c:c_next", "--output-names", "h_next,c_next")
FAST = False


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(4, 8)

    def forward(self, x: torch.Tensor, h: torch.Tensor, c: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        h, c = self.cell(x, (h, c))
        return h, c


def build() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    torch.manual_seed(0)
    return Net(), (torch.ones(1, 4), torch.zeros(1, 8), torch.zeros(1, 8))
