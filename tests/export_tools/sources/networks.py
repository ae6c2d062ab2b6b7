"""Small modules with known behaviour: what the tests of exporting and of opening sources take as SOURCE."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn


class Linear(nn.Module):
    """relu(x @ weights + bias): float32[batch, 13] to float32[batch, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.linspace(-1, 1, 13).reshape(13, 1))
        self.bias = nn.Parameter(torch.full((1,), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x @ self.weights + self.bias)


class Branch(nn.Module):
    """A Python branch on the data, which tracing freezes."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if x.sum() > 0 else -x


class Averaged(nn.Module):
    """A size that the TorchScript exporter keeps."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sum(0) / int(x.shape[0])


class Unlikely(nn.Module):
    """Probabilities near 1e-6, by a sigmoid."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(x.clamp(-1, 1) - 13)


class BothBranches(nn.Module):
    """The same decision as a part of the graph."""

    def forward(self, x: Tensor) -> Tensor:
        chosen: Tensor = torch.cond(x.sum() > 0, lambda x: x * 2, lambda x: -x, (x,))
        return chosen


class Masked(nn.Module):
    """An output whose size depends on values."""

    def forward(self, x: Tensor) -> Tensor:
        return x[x > 0] * 2


class Cached(nn.Module):
    """Keeps a table at its first forward: exported once rightly, and frozen by a second forward before it."""

    def __init__(self) -> None:
        super().__init__()
        self.table: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.table is None or self.table.shape[0] != x.shape[0]:
            self.table = torch.arange(x.shape[0], dtype=x.dtype)[:, None] * 0.5
        return x + self.table


class Spectrum(nn.Module):
    """An operator that neither exporter knows."""

    def forward(self, x: Tensor) -> Tensor:
        values: Tensor = torch.linalg.eigvalsh(x @ x.T)
        return values


class Noisy(nn.Module):
    """Random numbers in forward, in eval mode too."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.nn.functional.dropout(x, 0.5, training=True)


class Counter(nn.Module):
    """State that grows when it sees a large input."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0.0

    def forward(self, x: Tensor) -> Tensor:
        self.seen = max(self.seen, float(x.abs().max()))
        return x + self.seen


class Evens(nn.Module):
    """Refuses an odd number of rows."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[0] % 2:
            raise ValueError("the rows must come in pairs")
        return x.reshape(x.shape[0] // 2, 2, -1).sum(1)


class Several(nn.Module):
    """Two inputs that share a dimension; outputs of the joint size, of integers, and of float32 whatever comes in."""

    def forward(self, ids: Tensor, values: Tensor) -> dict[str, Tensor]:
        both = torch.cat([values, values], dim=0)
        return {"both": both, "next": ids + 1, "first": values[:1].float().exp()}


def averaged() -> tuple[nn.Module, Tensor]:
    return Averaged(), torch.ones(4, 3, 2)


def unlikely() -> tuple[nn.Module, Tensor]:
    return Unlikely(), torch.linspace(-1, 1, 64).reshape(4, 16)


def linear() -> tuple[nn.Module, Tensor]:
    return Linear(), torch.linspace(0, 1, 4 * 13).reshape(4, 13)


def linear_of_one() -> tuple[nn.Module, Tensor]:
    return Linear(), torch.linspace(0, 1, 13).reshape(1, 13)


def linear_of_fours() -> nn.Module:
    module = Linear()
    nn.init.constant_(module.weights, 4.0)
    return module


def linear_without_example() -> nn.Module:
    return Linear()


def unseeded() -> tuple[nn.Module, Tensor]:
    return nn.Linear(3, 3), torch.ones(2, 3)


def branch() -> tuple[nn.Module, Tensor]:
    return Branch(), torch.ones(2, 3)


def both_branches() -> tuple[nn.Module, Tensor]:
    return BothBranches(), torch.ones(2, 3)


def masked() -> tuple[nn.Module, Tensor]:
    return Masked(), torch.linspace(-1, 1, 6).reshape(2, 3)


class FarBranch(nn.Module):
    """Decides by values, but alike for every input that a proof would generate."""

    def forward(self, x: Tensor) -> Tensor:
        if x.abs().max() > 1e6:
            return -x
        return x * 2


def far_branch() -> tuple[nn.Module, Tensor]:
    return FarBranch(), torch.ones(2, 3)


def cached() -> tuple[nn.Module, Tensor]:
    return Cached(), torch.ones(4, 3)


def spectrum() -> tuple[nn.Module, Tensor]:
    return Spectrum(), torch.eye(3)


def noisy() -> tuple[nn.Module, Tensor]:
    return Noisy(), torch.ones(8, 8)


def counter() -> tuple[nn.Module, Tensor]:
    return Counter(), torch.ones(2, 2)


def evens() -> tuple[nn.Module, Tensor]:
    return Evens(), torch.ones(4, 3)


def several() -> tuple[nn.Module, dict[str, Tensor]]:
    return Several(), {"values": torch.linspace(0, 1, 8).reshape(4, 2), "ids": torch.arange(4)}


def not_finite() -> tuple[nn.Module, Tensor]:
    return Linear(), torch.full((2, 13), float("nan"))


def raises() -> nn.Module:
    raise LookupError("no weights in the drawer")


def leaves() -> nn.Module:
    sys.exit("not today")


def text() -> str:
    return "a module"


def prints() -> tuple[nn.Module, Tensor]:
    print("hello from the builder")  # noqa: T201 - what its caller must survive
    os.write(1, b"and from the descriptor\n")
    subprocess.run(["echo", "and from a child"], check=True)
    return linear()


def sleeps() -> nn.Module:
    time.sleep(600)
    return Linear()


def kills_itself() -> nn.Module:
    os.kill(os.getpid(), signal.SIGSEGV)
    return Linear()


def starts_another_and_sleeps() -> nn.Module:
    # a child that leaves a trace of being alive, in the file named by the variable
    with Path(os.environ["EDGE_TEST_TRACE"]).open("w", encoding="utf-8") as trace:
        child = subprocess.Popen(["sleep", "600"])
        trace.write(f"{os.getpid()} {child.pid}")
    time.sleep(600)
    return Linear()


class Ranks(nn.Module):
    """Indices of the largest values."""

    def forward(self, x: Tensor) -> Tensor:
        return x.topk(4, dim=1).indices


def ranks() -> tuple[nn.Module, Tensor]:
    return Ranks(), torch.linspace(0, 1, 24).reshape(2, 12)


class Convolved(nn.Module):
    """Layers that an exporter merges, and a line for each."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm, self.head = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(8, 5)
        self.reads = False

    def forward(self, image: Tensor) -> Tensor:
        x = self.norm(self.conv(image))
        x = torch.relu(x).mean((2, 3))
        if self.reads:
            x = x * (1 + x.detach().numpy().max())  # a number that tracing can't see being read
        x = self.head(x)
        scores: Tensor = x.softmax(1)
        return scores


def convolved() -> tuple[Convolved, Tensor]:
    return Convolved(), torch.linspace(-1, 1, 2 * 3 * 8 * 8).reshape(2, 3, 8, 8).sin()


def convolved_and_read() -> tuple[nn.Module, Tensor]:
    module, example = convolved()
    module.reads = True
    return module, example


class ReadsSparsity(nn.Module):
    """Decides by what Python reads behind torch's back, and alike for everything but a sparse input."""

    def forward(self, x: Tensor) -> Tensor:
        share = (x.detach().numpy() == 0).mean()
        return x * (2.0 if 0 < share < 1 else 1.0)


def reads_sparsity() -> tuple[nn.Module, Tensor]:
    return ReadsSparsity(), torch.linspace(1, 2, 60).reshape(3, 20)
