from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from edge_runtime import npz
from export_tools.in_double import InDouble
from export_tools.request import SourceSpec
from export_tools.torch_worker import Worker

CONSTANT = torch.full((3, 3), 1 / 3)  # float32, and no buffer of anything
X = torch.linspace(-1, 1, 6, dtype=torch.float64).reshape(2, 3)
THIRD = float(torch.tensor(1 / 3))


class Quantised(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 2).half()

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x.half()).float()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("forward", "wanted"),
    [
        (lambda x: x.float() * 1.1, X * 1.1),
        (lambda x: x.half().sum(1), X.sum(1)),
        (lambda x: x @ CONSTANT, X.sum(1, keepdim=True).expand(2, 3) * THIRD),
        (lambda x: x.softmax(1, dtype=torch.float32), X.softmax(1)),
        (lambda x: x + torch.full((3,), 0.1, dtype=torch.float32), X + 0.1),
        (lambda x: x.type(torch.float32).type_as(CONSTANT) / 3, X / 3),
        (lambda x: x.bfloat16().cumsum(1), X.cumsum(1)),
        (lambda x: torch.cond(x.sum() > -9, lambda x: x / 3, lambda x: x, (x,)), X / 3),
    ],
)
def test_whatever_type_is_named_it_is_computed_in_float64(forward: Callable[[Tensor], Tensor], wanted: Tensor) -> None:
    with InDouble(), torch.no_grad():
        found = forward(X.clone())
    assert found.dtype == torch.float64
    assert torch.allclose(found, wanted, rtol=1e-15, atol=1e-15)


def test_a_module_of_another_precision_is_the_same_with_exact_weights() -> None:
    module = Quantised()
    wide = Quantised().double()
    wide.load_state_dict(module.state_dict())
    with InDouble(), torch.no_grad():
        found = wide(X)
    weight, bias = module.inner.weight.double(), module.inner.bias.double()
    assert torch.allclose(found, X @ weight.T + bias, rtol=1e-14)


def test_integers_and_what_is_written_in_place_stay_what_they_are() -> None:
    with InDouble():
        kept = torch.tensor([1, 2], dtype=torch.int32)
        assert (kept + 1).dtype == torch.int32
        narrow = CONSTANT.clone()
        narrow.mul_(3)
        buffer = torch.zeros(2, 3)
        buffer[:, 1] = X[:, 1]
    assert torch.allclose(buffer[:, 1].double(), X[:, 1])


def test_the_noise_of_a_module_that_is_half_inside_is_measured_and_not_guessed(
    tmp_path: Path, spec: Callable[..., SourceSpec], import_state: None
) -> None:
    opening: dict[str, Any] = {
        "spec": asdict(spec("traps.py:half_inside")),
        "example": None,
        "example_out": str(tmp_path / "example.npz"),
        "input_names": [],
        "precise": True,
    }
    worker = Worker(opening, lambda _: None)
    worker.describe(opening)
    paths = {part: str(tmp_path / f"{part}.npz") for part in ("outputs", "precise", "shaken")}
    told = worker.answer({**paths, "inputs": opening["example_out"], "compare": "none"})
    assert told["precise"]
    plain, precise = (npz.read(Path(paths[part]))["0"] for part in ("outputs", "precise"))
    assert (plain.dtype.name, precise.dtype.name) == ("float32", "float64")
    noise = abs(plain - precise).max() / abs(precise).max()
    assert 1e-5 < noise < 1e-2  # float16's, and no float32's
