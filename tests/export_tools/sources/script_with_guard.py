"""Defines a module, and pickles it when run as a script."""

import sys

import torch
from torch import Tensor, nn

WIDTH = 3


class Guarded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.arange(WIDTH, dtype=torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + WIDTH


if __name__ == "__main__":
    torch.save(Guarded(), sys.argv[1])
