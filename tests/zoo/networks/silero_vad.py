"""Does somebody speak in these 32 ms: convolutions and an LSTM cell with its memory (silero-vad, MIT)."""

import os
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

KIND = "LSTM cell with state"
PACKAGE = "silero-vad"
FILE = "silero_vad/data/silero_vad_16k.safetensors"
FLAGS = (
    *("--state", "h:h_next", "--state", "c:c_next", "--range", "audio=-1..1"),
    *("--output-names", "speech,h_next,c_next"),
)
VERDICT = "equal"
FAST = True
CLOSE = 5e-4  # onnxruntime's sigmoid is right to a part of 1: of a probability of 6e-5 that is this much


class Vad(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stft_conv = nn.Conv1d(1, 258, 256, stride=128, bias=False)
        self.conv1, self.conv2 = nn.Conv1d(129, 128, 3, padding=1), nn.Conv1d(128, 64, 3, 2, padding=1)
        self.conv3, self.conv4 = nn.Conv1d(64, 64, 3, 2, padding=1), nn.Conv1d(64, 128, 3, padding=1)
        self.lstm_cell, self.final_conv = nn.LSTMCell(128, 128), nn.Conv1d(128, 1, 1)

    def forward(self, audio: torch.Tensor, h: torch.Tensor, c: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x = self.stft_conv(functional.pad(audio, (0, 64), "reflect")[:, None])
        x = (x[:, :129] ** 2 + x[:, 129:] ** 2).sqrt()
        for layer in (self.conv1, self.conv2, self.conv3, self.conv4):
            x = layer(x).relu()
        h, c = self.lstm_cell(x.squeeze(-1), (h, c))
        return self.final_conv(h[..., None].relu()).sigmoid()[:, :, 0], h, c


def build() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    module = Vad()
    module.load_state_dict(load_file(Path(os.environ["EDGE_ZOO"], FILE)))
    audio = torch.rand(1, 576, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return module, (audio, torch.zeros(1, 128), torch.zeros(1, 128))
