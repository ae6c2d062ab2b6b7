"""Modules that fail on the way: what the tests of failure cases take as SOURCE."""

import os
import resource
import signal
import time

import torch
from torch import Tensor, nn


class Bessel(nn.Module):
    """An operator that ONNX does not have."""

    def forward(self, x: Tensor) -> Tensor:
        shifted = x + 1
        found: Tensor = torch.special.bessel_j0(shifted)
        return found


class Sampled(nn.Module):
    """An operator that ONNX has from opset 16 on."""

    def forward(self, x: Tensor) -> Tensor:
        grid = x[:, :, :2, :2].permute(0, 2, 3, 1).expand(-1, -1, -1, 2)
        return nn.functional.grid_sample(x, grid, align_corners=False)


class Late(nn.Module):
    """Runs, and does something else when it is exported."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what

    def forward(self, x: Tensor) -> Tensor:
        exporting = torch.compiler.is_exporting() or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        if exporting and self.what == "hang":
            time.sleep(600)
        if self.what == "crash under dynamo" and torch.compiler.is_exporting():
            os.kill(os.getpid(), signal.SIGSEGV)
        if exporting and self.what == "fill":
            resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
        return x * 2


def bessel() -> tuple[nn.Module, Tensor]:
    return Bessel(), torch.ones(2, 3)


def sampled() -> tuple[nn.Module, Tensor]:
    return Sampled(), torch.rand(2, 1, 4, 4)


def hangs() -> tuple[nn.Module, Tensor]:
    return Late("hang"), torch.ones(2, 3)


def crashes_under_dynamo() -> tuple[nn.Module, Tensor]:
    return Late("crash under dynamo"), torch.ones(2, 3)


def fills() -> tuple[nn.Module, Tensor]:
    return Late("fill"), torch.ones(2, 3)


def huge() -> nn.Module:
    resource.setrlimit(resource.RLIMIT_AS, (2**34, 2**34))
    return nn.Linear(2**20, 2**20)


def killed() -> nn.Module:
    os.kill(os.getpid(), signal.SIGKILL)
    return Late("")


def aborts() -> nn.Module:
    os.write(2, b"terminate called after throwing an instance of 'std::bad_alloc'\n")
    os.abort()
