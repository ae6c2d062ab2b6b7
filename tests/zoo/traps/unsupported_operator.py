"""Trap: what no exporter knows."""

import torch
from torch import nn

KIND = "trap: what no exporter knows"
VERDICT = "refused"
EXIT, SAYS = 5, "unsupported_operator.py:15"
FLAGS: tuple[str, ...] = ()
FAST = True


class Net(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        values: torch.Tensor = torch.linalg.eigvalsh(x @ x.T)
        return values


def build() -> tuple[nn.Module, torch.Tensor]:
    return Net(), torch.ones(2, 3)
