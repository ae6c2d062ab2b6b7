"""Values that leave torch on the way through a forward: seen by what differs from input to input."""

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from export_tools import ExportRequest
from export_tools.errors import ParityLost
from export_tools.escapes import Escape, Escapes, departure
from export_tools.op_trace import Operation, OpTrace
from export_tools.op_trace import departure as path_departure
from export_tools.pipeline import run

Requested = Callable[..., ExportRequest]
TABLE = torch.arange(3.0)


def left(forward: Callable[[torch.Tensor], Any], x: torch.Tensor) -> list[Escape]:
    leaving = Escapes()
    with leaving:
        forward(x)
    return leaving.found


@pytest.mark.parametrize(
    "forward",
    [
        lambda x: x.detach().numpy().max(),
        lambda x: np.asarray(x).max(),
        lambda x: max(x.tolist()),
        lambda x: (ctypes.c_float * x.numel()).from_address(x.data_ptr())[0],
        lambda x: np.from_dlpack(x).max(),
        lambda x: [x.numpy() for _ in range(int(x.sum() > 2) + 1)],
    ],
)
def test_values_of_the_input_that_leave_torch_are_told_with_their_line(forward: Callable[..., Any]) -> None:
    place = departure(left(forward, torch.ones(2)), left(forward, torch.ones(2) * 2))
    assert place is not None
    assert place.startswith("test_escapes.py:")


@pytest.mark.parametrize(
    "forward", [lambda x: x + TABLE.numpy().max(), lambda x: x.sum().item(), lambda x: x + sum(TABLE.tolist())]
)
def test_constants_that_leave_torch_are_no_matter_and_single_numbers_are_op_traces(forward: Callable[..., Any]) -> None:
    assert departure(left(forward, torch.ones(2)), left(forward, torch.ones(2) * 2)) is None


def test_a_path_that_numpy_decides_departs_at_the_line_that_asks_it() -> None:
    def forward(x: torch.Tensor) -> torch.Tensor:
        if x.numpy().max() > 1:
            x = x * 2
        return x + 1

    def ran(x: torch.Tensor) -> list[Operation]:
        trace = OpTrace()
        with trace, Escapes(trace.operations):
            forward(x)
        return trace.operations

    line = forward.__code__.co_firstlineno + 1
    assert path_departure(ran(torch.ones(2)), ran(torch.ones(2) * 2)) == f"test_escapes.py:{line}"
    assert path_departure(ran(torch.ones(2)), ran(torch.zeros(2))) is None


def test_a_branch_that_is_hidden_in_numpy_is_refused_though_no_case_takes_it(
    requested: Requested, tmp_path: Path
) -> None:
    lines = (Path(__file__).parent / "sources" / "traps.py").read_text().splitlines()
    line = next(number for number, text in enumerate(lines, 1) if "x.detach().numpy().max() > 1e6" in text)
    with pytest.raises(ParityLost, match=rf"depends on input values at traps\.py:{line}: they leave PyTorch") as caught:
        run(requested("traps.py:asks_numpy", tmp_path / "a.edge", exporter="torchscript"))
    assert "--allow-frozen-branch" in caught.value.hint
    assert list(tmp_path.iterdir()) == []
    frozen = run(
        requested("traps.py:asks_numpy", tmp_path / "a.edge", exporter="torchscript", allow_frozen_branch=True)
    )
    assert frozen.artifact.path.is_dir()


def test_a_constant_that_goes_through_numpy_exports(requested: Requested, tmp_path: Path) -> None:
    exported = run(requested("traps.py:looks_up", tmp_path / "a.edge", exporter="torchscript"))
    assert exported.verification.wrong == ()
    assert exported.artifact.path.is_dir()
