"""Modules that try to fool the proof."""

from typing import Any

import torch
from torch import Tensor, nn


class OtherAt64(nn.Module):
    """Another function for batches of 64 alone, which no usual size shows."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if x.shape[0] == 64 else x + 1


def _with_example(kind: type[nn.Module]) -> Any:
    return lambda: (kind(), torch.linspace(-1, 1, 12).reshape(4, 3))


other_at_64 = _with_example(OtherAt64)


class Padded(nn.Module):
    """What torch's own encoder does with a mask: other operators for a mask that isn't aligned to the left."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 1)

    def forward(self, x: Tensor, pad: Tensor) -> Tensor:
        found: Tensor = self.encoder(x, src_key_padding_mask=pad)
        return found


def padded() -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    torch.manual_seed(0)
    return Padded(), (torch.randn(2, 4, 8), torch.tensor([[False] * 4, [False, False, True, True]]))
