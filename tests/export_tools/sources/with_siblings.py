"""A builder whose example comes from its neighbours."""

import torch
from torch import Tensor, nn


class Scaled(nn.Module):
    def forward(self, image: Tensor, *, gain: Tensor) -> Tensor:
        return image * gain


def build() -> nn.Module:
    return Scaled()


def example_inputs() -> tuple[Tensor, ...]:
    return (torch.ones(2, 3),)


def example_kwargs() -> dict[str, Tensor]:
    return {"gain": torch.full((1,), 2.0)}
