"""How an English word is spoken, second half: one sound a step, the memory carried on (g2p-en, Apache-2.0)."""

import os
from pathlib import Path

import numpy as np
import torch
from torch import nn

KIND = "GRU cell with state, integer inputs"
PACKAGE = "g2p-en"
FILE = "g2p_en/checkpoint20.npz"
FLAGS = ("--state", "memory:memory_next", "--range", "sound=0..73", "--output-names", "sounds,memory_next")
VERDICT = "equal"
FAST = False


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.sounds, self.cell, self.scores = nn.Embedding(74, 256), nn.GRUCell(256, 256), nn.Linear(256, 74)

    def forward(self, sound: torch.Tensor, memory: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        memory = self.cell(self.sounds(sound), memory)
        return self.scores(memory), memory


def build() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    module = Decoder()
    with np.load(Path(os.environ["EDGE_ZOO"], FILE)) as saved:
        weights = {"sounds.weight": "dec_emb", "cell.weight_ih": "dec_w_ih", "cell.weight_hh": "dec_w_hh"}
        weights |= {"cell.bias_ih": "dec_b_ih", "cell.bias_hh": "dec_b_hh"}
        weights |= {"scores.weight": "fc_w", "scores.bias": "fc_b"}
        module.load_state_dict({ours: torch.from_numpy(saved[theirs]) for ours, theirs in weights.items()})
    return module, (torch.tensor([2]), torch.zeros(1, 256))
