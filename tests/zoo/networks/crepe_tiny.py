"""CREPE (tiny): the pitch of 64 ms of sound, 360 classes (torchcrepe, MIT)."""

import itertools
import os
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

KIND = "audio CNN"
PACKAGE = "torchcrepe"
FILE = "torchcrepe/assets/tiny.pth"
FLAGS = ("--dynamic", "frames:0=batch", "--range", "frames=-6..6", "--output-names", "pitches")
VERDICT = "equal"
FAST = False


class Crepe(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        sizes = (1, 128, 16, 16, 16, 32, 64)
        for place, (taken, given) in enumerate(itertools.pairwise(sizes), 1):
            kernel, stride = (512, 4) if place == 1 else (64, 1)
            self.add_module(f"conv{place}", nn.Conv2d(taken, given, (kernel, 1), (stride, 1)))
            self.add_module(f"conv{place}_BN", nn.BatchNorm2d(given, eps=0.0010000000474974513))
        self.classifier = nn.Linear(256, 360)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        x = frames[:, None, :, None]
        for place in range(1, 7):
            x = functional.pad(x, (0, 0, 254, 254) if place == 1 else (0, 0, 31, 32))
            x = functional.relu(self.get_submodule(f"conv{place}")(x))
            x = functional.max_pool2d(self.get_submodule(f"conv{place}_BN")(x), (2, 1))
        pitches: torch.Tensor = self.classifier(x.permute(0, 2, 1, 3).reshape(-1, 256)).sigmoid()
        return pitches


def build() -> tuple[nn.Module, torch.Tensor]:
    module = Crepe()
    module.load_state_dict(torch.load(Path(os.environ["EDGE_ZOO"], FILE), weights_only=True))
    return module, torch.randn(2, 1024, generator=torch.Generator().manual_seed(0))
