"""Handwritten digits, 28x28: three convolutions and two linear layers (digit-recognizer-py, MIT)."""

import itertools
import os
from pathlib import Path

import torch
from torch import nn

KIND = "image CNN"
PACKAGE = "digit-recognizer-py"
FILE = "digit_recognizer/models/handwriting_model.pth"
FLAGS = ("--dynamic", "image:0=batch", "--range", "image=0..1", "--output-names", "scores")
VERDICT = "equal"
FAST = True


class Digits(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        sizes = (1, 32, 64, 128)
        layers: list[nn.Module] = []
        for taken, given in itertools.pairwise(sizes):
            layers += [nn.Conv2d(taken, given, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        self.conv_layers = nn.Sequential(*layers)
        self.fc_layers = nn.Sequential(nn.Linear(128 * 3 * 3, 256), nn.ReLU(), nn.Linear(256, 10))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.fc_layers(self.conv_layers(image).flatten(1))
        return scores


def build() -> tuple[nn.Module, torch.Tensor]:
    module = Digits()
    module.load_state_dict(torch.load(Path(os.environ["EDGE_ZOO"], FILE), weights_only=True))
    return module, torch.rand(1, 1, 28, 28, generator=torch.Generator().manual_seed(0))
