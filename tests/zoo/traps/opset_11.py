"""Trap: opset 11 asked, which torch's own call no longer writes."""

import torch
from torch import nn

KIND = "trap: opset 11 asked, which torch's own call no longer writes"
VERDICT = "equal"
FLAGS = ("--opset", "11")
FAST = False


def build() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(13, 8), nn.ReLU(), nn.Linear(8, 1)), torch.ones(64, 13)
