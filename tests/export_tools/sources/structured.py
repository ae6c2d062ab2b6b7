"""Modules whose forward takes and gives more than tensors: dicts, dataclasses, nested tuples, options and constants."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn


@dataclass
class Batch:
    """Text as a data loader gives it."""

    ids: Tensor
    mask: Tensor | None = None


class Memory(NamedTuple):
    """State of two layers."""

    lower: Tensor
    upper: Tensor


@dataclass(frozen=True)
class Answer:
    """What a model returns, of which not all is always there."""

    logits: Tensor
    hidden: tuple[Tensor, ...]
    attention: Tensor | None = None


class Everything(nn.Module):
    """A dataclass, a named tuple, a dict, a flag and a number in; a dataclass with a tuple out."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table, self.head = nn.Embedding(10, 4), nn.Linear(4, 3)

    def forward(
        self,
        batch: Batch,
        memory: Memory,
        extra: dict[str, Tensor],
        *,
        gain: float = 1.0,
        doubled: bool = False,
        unused: Tensor | None = None,
    ) -> Answer:
        found = self.table(batch.ids) * gain + memory.lower
        if batch.mask is not None:
            found = found * batch.mask[..., None].float()
        if unused is not None:
            found = found + unused
        found = found + extra["bias"]
        hidden = (found, found + memory.upper)
        return Answer(self.head(hidden[1]) * (2 if doubled else 1), hidden)


class Named(nn.Module):
    """A dict in, a dict with the same key and a nested one out."""

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor | dict[str, Tensor]]:
        x, y = batch["x"], batch["y"]
        return OrderedDict(x=x * 2, parts={"sum": x + y, "difference": x - y})


class Odd(nn.Module):
    """Takes what no graph can."""

    def forward(self, x: Tensor, how: object) -> Tensor:
        return x if how is None else -x


def everything() -> tuple[nn.Module, dict[str, object]]:
    batch = Batch(torch.tensor([[1, 2, 3]]), torch.tensor([[True, True, False]]))
    memory = Memory(torch.ones(1, 3, 4), torch.full((1, 3, 4), 0.5))
    example = {"batch": batch, "memory": memory, "extra": {"bias": torch.ones(4)}, "gain": 0.5, "doubled": True}
    return Everything(), example


def named() -> tuple[nn.Module, dict[str, object]]:
    return Named(), {"batch": {"x": torch.ones(2, 3), "y": torch.zeros(2, 3)}}


def odd() -> tuple[nn.Module, tuple[object, ...]]:
    return Odd(), (torch.ones(2), object())
