"""Defines a module and pickles it whenever it is run or imported."""

import sys

import torch
from torch import Tensor, nn

WIDTH = 1 + 2


class Unguarded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.arange(WIDTH, dtype=torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + WIDTH


torch.save(Unguarded(), sys.argv[1])
