"""Weights come out of whatever training loops save, and another module's are refused with every key that differs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from export_tools.checkpoint import load_weights
from export_tools.errors import SourceError

WANTED = {"weights": torch.ones(13, 1), "bias": torch.ones(1)}


class Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weights, self.bias = nn.Parameter(torch.zeros(13, 1)), nn.Parameter(torch.zeros(1))


class Nested(nn.Module):
    """Has a part called module, and one that may have been compiled alone."""

    def __init__(self) -> None:
        super().__init__()
        self.module, self.head = nn.Linear(2, 3), nn.Linear(3, 1)


class Trap:
    sprung: list[str] = []  # noqa: RUF012 - what the pickle does to it is the test

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return self.sprung.append, ("sprung",)


def prefixed(prefix: str, weights: dict[str, torch.Tensor] = WANTED) -> dict[str, torch.Tensor]:
    return {f"{prefix}{key}": value for key, value in weights.items()}


@pytest.mark.parametrize(
    ("saved", "told"),
    [
        (WANTED, []),
        ({"epoch": 3, "state_dict": WANTED}, ["the weights were found under state_dict"]),
        ({"model": WANTED, "optimizer": {"state": {}}}, ["the weights were found under model"]),
        (
            {"model_state_dict": prefixed("module.")},
            ["the weights were found under model_state_dict", "the prefix module. was taken off its keys"],
        ),
        ({"model": {"state_dict": WANTED}}, ["the weights were found under model → state_dict"]),
        (
            prefixed("_orig_mod.module."),
            ["the prefix _orig_mod. was taken off its keys", "the prefix module. was taken off its keys"],
        ),
        (
            {"state_dict": prefixed("model."), "ema": prefixed("model.")},
            [
                "the weights were found under state_dict (it also holds ema)",
                "the prefix model. was taken off its keys",
            ],
        ),
        (
            {key: value.half() for key, value in WANTED.items()},
            ["float16 weights became float32, as the module's are"],
        ),
    ],
)
def test_what_training_loops_save_is_unwrapped_and_told(tmp_path: Path, saved: Any, told: list[str]) -> None:
    torch.save(saved, tmp_path / "w.pt")
    module = Linear()
    assert list(load_weights(module, tmp_path / "w.pt")) == [f"w.pt: {sentence}" for sentence in told]
    assert float(module.weights.detach().sum()) == 13
    assert float(module.bias.detach()) == 1


def test_a_prefix_that_is_the_modules_own_stays(tmp_path: Path) -> None:
    weights = {key: torch.full_like(value, 2.0) for key, value in Nested().state_dict().items()}
    torch.save({key.replace("head.", "head._orig_mod."): value for key, value in weights.items()}, tmp_path / "w.pt")
    module = Nested()
    assert load_weights(module, tmp_path / "w.pt") == ("w.pt: the prefix _orig_mod. was taken off its keys",)
    assert all(bool((value == 2).all()) for value in module.state_dict().values())


@pytest.mark.parametrize("name", ["w.safetensors", "w.npz"])
def test_files_that_can_hold_no_code_serve_as_well(tmp_path: Path, name: str) -> None:
    if name.endswith("npz"):
        np.savez(tmp_path / name, weights=WANTED["weights"].numpy(), bias=WANTED["bias"].numpy())
    else:
        save_file(WANTED, tmp_path / name)
    module = Linear()
    assert load_weights(module, tmp_path / name) == ()
    assert float(module.weights.detach().sum()) == 13


def test_another_modules_weights_are_refused_with_every_key_in_one_error(tmp_path: Path) -> None:
    given = {"weights": torch.ones(12, 1), **{f"head.{index}": torch.ones(1) for index in range(9)}}
    torch.save(given, tmp_path / "w.pt")
    module = Linear()
    with pytest.raises(SourceError) as caught:
        load_weights(module, tmp_path / "w.pt")
    assert caught.value.what == (
        "the weights are not this module's: 1 missing: bias; 9 unexpected: head.0, head.1, head.2, head.3, head.4, "
        "head.5, head.6, head.7 and 1 more; 1 of another shape: weights (12, 1) for (13, 1)"
    )
    assert float(module.weights.detach().sum()) == 0  # nothing was half loaded


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("w.pt", b"import torch", "no state_dict"),
        ("w.safetensors", b"\xff" * 100, "no safetensors file"),
        ("w.npz", b"PK no zip", "no weights"),
    ],
)
def test_files_that_are_no_weights_are_refused(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=said):
        load_weights(Linear(), tmp_path / name)


@pytest.mark.parametrize(
    ("saved", "said"),
    [
        ([torch.ones(1)], "it holds a list, no state_dict"),
        ({"epoch": 3, "step": 7}, "no weights under any of its keys: epoch, step"),
        ({3: torch.ones(1)}, "it holds a dict, no state_dict"),
    ],
)
def test_what_torch_saved_but_is_no_weights_is_refused(tmp_path: Path, saved: Any, said: str) -> None:
    torch.save(saved, tmp_path / "w.pt")
    with pytest.raises(SourceError, match=said):
        load_weights(Linear(), tmp_path / "w.pt")


def test_weights_that_would_run_code_are_not_opened(tmp_path: Path) -> None:
    torch.save(Trap(), tmp_path / "trap.pt")
    with pytest.raises(SourceError, match="no state_dict"):
        load_weights(Linear(), tmp_path / "trap.pt")
    assert Trap.sprung == []


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file of weights"):
        load_weights(Linear(), tmp_path / "nothing.pt")
