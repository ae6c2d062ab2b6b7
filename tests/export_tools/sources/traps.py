"""Modules that look right and aren't: what a module does beside computing its outputs from its inputs."""

import os
import random
import sys
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional


class Tiny(nn.Module):
    """Noise below any tolerance is noise."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.randn_like(x) * 1e-7


class DeadNoise(nn.Module):
    """Draws a number and makes nothing of it, as a layer that is skipped in training does."""

    def forward(self, x: Tensor) -> Tensor:
        share = torch.rand([])
        return x * 3 if self.training and share < 0.5 else x * 2


class Skips(nn.Module):
    """Takes another path once in a thousand calls."""

    def forward(self, x: Tensor) -> Tensor:
        return -x if torch.rand(1) < 0.001 else x * 2


class UntilSmall(nn.Module):
    """Draws until it likes what it gets."""

    def forward(self, x: Tensor) -> Tensor:
        value = torch.rand(1)
        while value > 0.5:
            value = torch.rand(1)
        return x + value


class Shuffled(nn.Module):
    """Random integers."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, torch.randperm(x.shape[1])]


class DropoutOn(nn.Module):
    """Dropout by function, which no eval() reaches."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.dropout(x, 0.5, training=True)


class StaysInTraining(nn.Module):
    """A part that eval() doesn't reach."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def train(self, mode: bool = True) -> "StaysInTraining":
        self.training = mode
        return self

    def forward(self, x: Tensor) -> Tensor:
        dropped: Tensor = self.drop(x)
        return dropped


class NoiseInDouble(nn.Module):
    """Quiet in float32, noisy in float64, where the tolerance comes from."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.randn_like(x) if x.dtype == torch.float64 else x * 1


class PythonsNoise(nn.Module):
    """Numbers that torch doesn't see being drawn."""

    def forward(self, x: Tensor) -> Tensor:
        return x + random.random() + float(np.random.rand())  # noqa: NPY002 - as people write it


class Counts(nn.Module):
    """A buffer that counts calls, and an answer that depends on it."""

    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        return x + self.count


class CountsSilently(Counts):
    """The same, but the answer doesn't depend on it: until it overflows, or is read after a thousand calls."""

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        return x * 2


class NormTraining(nn.Module):
    """Batch statistics that are still being learnt."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3)

    def forward(self, x: Tensor) -> Tensor:
        self.norm.train()
        normed: Tensor = self.norm(x)
        return normed


class Remembers(nn.Module):
    """The last input in a plain attribute; the second call with the same input answers as the first."""

    def __init__(self) -> None:
        super().__init__()
        self.last: Tensor | None = None
        self.largest = 0.0

    def forward(self, x: Tensor) -> Tensor:
        self.last = x.clone()
        self.largest = max(self.largest, float(x.abs().max()))
        return x + self.largest


class CachesTable(nn.Module):
    """A buffer that is made at the first forward, and then stays."""

    table: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.zeros(0), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.table.shape[0] != x.shape[1]:
            self.table = torch.arange(x.shape[1], dtype=x.dtype)
        return x + self.table


class WritesInput(nn.Module):
    """Works on its input in place."""

    def forward(self, x: Tensor) -> Tensor:
        x += 1
        return x * 2


class WidensSilently(nn.Module):
    """A float64 constant, as numpy makes them."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.from_numpy(np.array([0.5, 1.0, 2.0]))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class Tied(nn.Module):
    """One table for reading and for writing words."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.read, self.write = nn.Embedding(500, 64), nn.Linear(64, 500, bias=False)
        self.write.weight = self.read.weight

    def forward(self, ids: Tensor) -> Tensor:
        scores: Tensor = self.write(self.read(ids))
        return scores


class Unregistered(nn.Module):
    """Random weights that no state_dict holds."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.randn(3)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.table


class LeavesInForward(nn.Module):
    """Ends the process, politely or not."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "sys.exit":
            sys.exit(3)
        if self.how == "os._exit":
            os._exit(3)
        if self.how == "input":
            input("go on? ")
        print("forward was here")  # noqa: T201 - what its caller must survive
        return x * 2


def _example() -> Tensor:
    return torch.linspace(-1, 1, 12).reshape(4, 3)


def _with_example(kind: type[nn.Module]) -> Any:
    def build() -> tuple[nn.Module, Tensor]:
        return kind(), _example()

    return build


tiny, writes_input, counts = (_with_example(kind) for kind in (Tiny, WritesInput, Counts))
widens, unregistered, remembers = (_with_example(kind) for kind in (WidensSilently, Unregistered, Remembers))


def tied() -> tuple[nn.Module, Tensor]:
    return Tied(), torch.arange(8).reshape(2, 4)


def leaves_politely() -> tuple[nn.Module, Tensor]:
    return LeavesInForward("sys.exit"), _example()


def leaves_at_once() -> tuple[nn.Module, Tensor]:
    return LeavesInForward("os._exit"), _example()


def reads_stdin() -> tuple[nn.Module, Tensor]:
    return LeavesInForward("input"), _example()


def prints_in_forward() -> tuple[nn.Module, Tensor]:
    return LeavesInForward(""), _example()


class AsksNumpy(nn.Module):
    """Decides by NumPy, in a region that no generated case reaches."""

    def forward(self, x: Tensor) -> Tensor:
        if x.detach().numpy().max() > 1e6:
            return x * 2
        return x + 1


class LooksUp(nn.Module):
    """Takes a constant out of torch and back: nothing of the input."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.arange(3.0))

    def forward(self, x: Tensor) -> Tensor:
        assert isinstance(self.table, Tensor)
        table: list[float] = self.table.detach().numpy().tolist()
        return x + torch.tensor(table) * float(len(table))


asks_numpy = _with_example(AsksNumpy)
looks_up = _with_example(LooksUp)


class Convolving(nn.Module):
    """Layers of a dtype of their own."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head = nn.Conv2d(3, 8, 3, dtype=dtype), nn.Linear(8, 5, dtype=dtype)
        self.dtype = dtype

    def forward(self, image: Tensor) -> Tensor:
        x = torch.relu(self.conv(image.to(self.dtype))).mean((2, 3))
        scores: Tensor = self.head(x)
        return scores.softmax(1).to(image.dtype)


def _picture() -> Tensor:
    return torch.linspace(-1, 1, 2 * 3 * 8 * 8).reshape(2, 3, 8, 8)


def doubles() -> tuple[nn.Module, Tensor]:
    return Convolving(torch.float64), _picture().double()


class HalfInside(nn.Module):
    """Float32 outside, float16 inside: its rounding is a thousand times that of float32."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 2).half()

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.inner(x.half()).float()
        return found


half_inside = _with_example(HalfInside)


class Adds(nn.Module):
    """Two inputs of one size, which is theirs to say."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.cat([a, b], 1) * 2


def adds() -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    return Adds(), (_example(), _example())


class Normalises(nn.Module):
    """Takes the mean off: of an even signal nothing is left but what sums are off by, over a small number."""

    def forward(self, x: Tensor) -> Tensor:
        return (x - x.mean(1, keepdim=True)) / (x.std(1, keepdim=True) + 1e-5)


def normalises() -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    return Normalises(), torch.randn(2, 400)


class NoisyInBatches(nn.Module):
    """Noise that the example of one row doesn't show, and that is below any tolerance for the others."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.randn_like(x) * 1e-8 if x.shape[0] > 1 else x * 1


def noisy_in_batches() -> tuple[nn.Module, Tensor]:
    return NoisyInBatches(), _example()[:1]


class PassesOn(nn.Module):
    """Returns an input as it came, and what it computes of it twice, as language models do with their last layer."""

    def forward(self, x: Tensor, mask: Tensor) -> dict[str, Any]:
        kept = x * mask
        return {"mask": mask, "kept": kept, "all": (x, kept), "again": x}


def passes_on() -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    return PassesOn(), (_example(), torch.tensor([[True, False, True]]))
