"""How an English word is spoken, first half: a GRU over its letters (g2p-en, Apache-2.0), which numpy runs there."""

import os
from pathlib import Path

import numpy as np
import torch
from torch import nn

KIND = "GRU, integer inputs, any length"
PACKAGE = "g2p-en"
FILE = "g2p_en/checkpoint20.npz"
FLAGS = ("--dynamic", "letters:1=length:1..30", "--range", "letters=0..28", "--output-names", "states,last")
VERDICT = "equal"
FAST = True


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.letters, self.gru = nn.Embedding(29, 256), nn.GRU(256, 256, batch_first=True)

    def forward(self, letters: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        states, last = self.gru(self.letters(letters))
        return states, last


def build() -> tuple[nn.Module, torch.Tensor]:
    module = Encoder()
    with np.load(Path(os.environ["EDGE_ZOO"], FILE)) as saved:
        weights = {"letters.weight": "enc_emb", "gru.weight_ih_l0": "enc_w_ih", "gru.weight_hh_l0": "enc_w_hh"}
        weights |= {"gru.bias_ih_l0": "enc_b_ih", "gru.bias_hh_l0": "enc_b_hh"}
        module.load_state_dict({ours: torch.from_numpy(saved[theirs]) for ours, theirs in weights.items()})
    return module, torch.tensor([[9, 6, 13, 13, 16, 2]])
