"""A small convolutional network for handwritten digits, 8x8 pixels: what `edge export model.py:build` needs."""

import torch
from torch import nn


class DigitsNet(nn.Module):
    """Three convolutions and two linear layers: float32[batch, 1, 8, 8] in 0..1 to scores float32[batch, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(64, 64, 3, padding=1),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classify = nn.Sequential(nn.Flatten(), nn.Linear(256, 64), nn.ReLU(), nn.Dropout(0.25), nn.Linear(64, 10))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return one score per digit."""
        scores: torch.Tensor = self.classify(self.features(image))
        return scores


def build() -> nn.Module:
    """Return the network; its trained weights come with --weights."""
    return DigitsNet()


def example_inputs() -> tuple[torch.Tensor, ...]:
    """Return one image: a ramp from black to white."""
    return (torch.linspace(0, 1, 64).reshape(1, 1, 8, 8),)
