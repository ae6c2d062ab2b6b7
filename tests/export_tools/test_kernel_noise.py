"""What onnxruntime's kernels may do beyond float32's rounding is granted where it comes from, and nowhere else."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from export_tools import ExportRequest
from export_tools.kernel_noise import EXPONENTIAL, SIGMOID, TANH, KernelNoise, deviation
from export_tools.noise import FACTOR, Answers, tolerances
from export_tools.pipeline import run

Requested = Callable[..., ExportRequest]
X = torch.linspace(-12, 12, 64, dtype=torch.float64).reshape(4, 16)


def moved(forward: Callable[[torch.Tensor], torch.Tensor]) -> tuple[torch.Tensor, bool]:
    with KernelNoise() as noise:
        shaken = forward(X.clone())
    return deviation(shaken, forward(X.clone())), noise.met


@pytest.mark.parametrize(
    ("forward", "most"),
    [
        (torch.sigmoid, torch.full_like(X, SIGMOID)),
        (lambda x: x.sigmoid_(), torch.full_like(X, SIGMOID)),
        (torch.tanh, X.tanh().abs() * TANH),
        (functional.silu, X.abs() * SIGMOID),
        (lambda x: functional.silu(x, inplace=True), X.abs() * SIGMOID),
        (lambda x: functional.glu(x, 1), X[:, :8].abs() * SIGMOID),
        (functional.gelu, torch.full_like(X, EXPONENTIAL)),
        (functional.elu, torch.full_like(X, EXPONENTIAL)),
    ],
)
def test_each_operator_moves_by_its_own_noise(
    forward: Callable[[torch.Tensor], torch.Tensor], most: torch.Tensor
) -> None:
    found, met = moved(forward)
    assert met
    torch.testing.assert_close(found, most, rtol=1e-6, atol=1e-15)
    assert torch.equal(found, moved(forward)[0])  # the same way each time


def test_operators_that_are_right_relatively_do_not_move() -> None:
    found, met = moved(lambda x: (x @ x.T).relu().exp().softmax(1))
    assert not met
    assert not found.any()


def test_noise_goes_through_what_comes_after_it() -> None:
    found, _ = moved(lambda x: torch.sigmoid(x) * 1000)
    assert float(found.max()) == pytest.approx(1000 * SIGMOID)


@pytest.mark.parametrize("network", [torch.nn.LSTM(16, 8), torch.nn.GRU(16, 8)])
def test_recurrent_networks_are_seen_as_their_parts(network: torch.nn.Module) -> None:
    double = network.double()
    assert moved(lambda x: double(x[:, None])[0].detach())[1]


def test_a_case_is_granted_its_own_noise_and_the_others_none() -> None:
    plain = np.array([[0.5, 0.25], [0.5, 0.25]], np.float32)
    still = Answers({"y": plain}, {"y": plain.astype("f8")})
    shaken = Answers({"y": plain}, {"y": plain.astype("f8")}, {"y": np.array([[0.0, 1e-4], [0.0, 0.0]])})
    granted = [np.asarray(one["y"].tolerance.abs) for one in tolerances([still, shaken])]
    assert granted[0].max() < 1e-5
    # of a place, not of an element: one alone may be still by luck; the other column and row stay strict
    np.testing.assert_allclose(granted[1] - granted[0], FACTOR * np.array([[0, 1e-4], [0, 0]]), atol=1e-12)


def test_a_sigmoid_far_from_its_middle_is_proven(requested: Requested, tmp_path: Path) -> None:
    exported = run(requested("unlikely", tmp_path / "a.edge"))
    # about 1e-6: beside it onnxruntime's own 1e-7 is no rounding
    assert exported.verification.worst.difference.ratio < 1
    assert exported.verification.summary.worst_rel > 1e-4
