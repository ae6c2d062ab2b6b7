"""Trap: dicts, with one key on both sides."""

import torch
from torch import nn

KIND = "trap: dicts, with one key on both sides"
VERDICT = "equal"
FLAGS = ("--dynamic", "x:0=batch", "--dynamic", "y:0=batch")
FAST = True


class Net(nn.Module):
    def forward(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"x": batch["x"] * 2, "sum": batch["x"] + batch["y"]}


def build() -> tuple[nn.Module, dict[str, dict[str, torch.Tensor]]]:
    return Net(), {"batch": {"x": torch.ones(2, 3), "y": torch.zeros(2, 3)}}
