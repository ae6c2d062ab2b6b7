"""Whose voice is it: three LSTM layers over mel spectra of any length (Resemblyzer, Apache-2.0)."""

import os
from pathlib import Path

import torch
from torch import nn

KIND = "LSTM, any length"
PACKAGE = "Resemblyzer"
FILE = "resemblyzer/pretrained.pt"
FLAGS = (
    *("--dynamic", "mels:0=batch:1..8", "--dynamic", "mels:1=frames:1..200", "--range", "mels=0..2"),
    *("--output-names", "embedding"),
)
VERDICT = "equal"
FAST = False


class VoiceEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.linear = nn.LSTM(40, 256, 3, batch_first=True), nn.Linear(256, 256)

    def forward(self, mels: torch.Tensor) -> torch.Tensor:
        _, (hidden, _) = self.lstm(mels)
        embedding = self.linear(hidden[-1]).relu()
        unit: torch.Tensor = embedding / torch.linalg.vector_norm(embedding, dim=1, keepdim=True)
        return unit


def build() -> tuple[nn.Module, torch.Tensor]:
    module = VoiceEncoder()
    saved = torch.load(Path(os.environ["EDGE_ZOO"], FILE), weights_only=True, map_location="cpu")["model_state"]
    module.load_state_dict({key: value for key, value in saved.items() if not key.startswith("similarity")})
    return module, torch.rand(2, 160, 40, generator=torch.Generator().manual_seed(0))
