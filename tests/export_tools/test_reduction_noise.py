"""Sums of equal values: what PyTorch happens to be exact at, and onnxruntime is not."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from export_tools import ExportRequest
from export_tools.kernel_noise import KernelNoise, deviation
from export_tools.pipeline import run
from export_tools.reduction_noise import share

Requested = Callable[..., ExportRequest]
EVEN = torch.full((2, 4, 100), 0.6, dtype=torch.float64)
UNEVEN = torch.linspace(-1, 1, 800, dtype=torch.float64).reshape(2, 4, 100)


def moved(forward: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    with KernelNoise() as noise:
        shaken = forward(x.clone())
    found = deviation(shaken, forward(x.clone()))
    assert noise.met or not found.any()
    return found


@pytest.mark.parametrize(
    ("forward", "most"),
    [
        (lambda x: x.mean(2), 0.6 * share(100)),
        (lambda x: x.sum((1, 2), keepdim=True), 0.6 * 400 * share(400)),
        (torch.sum, 0.6 * 800 * share(800)),
        (lambda x: x.std(-1), 0.6 * share(100)),
        (lambda x: x.var(2), (0.6 * share(100)) ** 2),
        (lambda x: x - x.mean(2, keepdim=True), 0.6 * share(100)),
        (lambda x: functional.layer_norm(x, (100,)), 0.6 * share(100) / 1e-5**0.5),
        (functional.instance_norm, 0.6 * share(100) / 1e-5**0.5),
        (lambda x: functional.group_norm(x, 2), 0.6 * share(200) / 1e-5**0.5),
        (lambda x: functional.batch_norm(x, None, None, training=True), 0.6 * share(200) / 1e-5**0.5),
    ],
)
def test_a_sum_of_equal_values_moves_and_any_other_does_not(
    forward: Callable[[torch.Tensor], torch.Tensor], most: float
) -> None:
    torch.testing.assert_close(float(moved(forward, EVEN).max()), most, rtol=1e-3, atol=1e-18)
    assert not moved(forward, UNEVEN).any()
    assert not moved(forward, EVEN * 0).any()


def test_only_the_groups_that_are_even_move() -> None:
    mixed = torch.cat([EVEN[:, :1], UNEVEN[:, 1:]], 1)
    for forward in (lambda x: x.mean(2), lambda x: functional.layer_norm(x, (100,)).amax(2), lambda x: x.std(2)):
        assert [bool(one) for one in moved(forward, mixed)[0]] == [True, False, False, False]


def test_batch_norm_by_its_own_statistics_and_integers_do_not_move() -> None:
    norm = nn.BatchNorm1d(4).double().eval()
    assert not moved(norm, EVEN).any()
    with KernelNoise() as noise:
        torch.ones(3, 4, dtype=torch.int64).sum(1)
    assert not noise.met


def test_an_even_signal_through_a_normalisation_is_no_false_alarm(requested: Requested, tmp_path: Path) -> None:
    exported = run(requested("traps.py:normalises", tmp_path / "a.edge", ranges=()))
    assert exported.verification.worst.difference.ratio < 1
