"""What a module does beside computing its outputs from its inputs, found by calling it twice."""

import random
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from export_tools.errors import SourceError
from export_tools.kept_state import changes, checksums, kept
from export_tools.pickled import import_file
from export_tools.repeatability import Forward, Repeated
from export_tools.source import user_code

SOURCES = Path(__file__).parent / "sources"
pytestmark = pytest.mark.usefixtures("import_state")


@pytest.fixture
def traps(import_state: None) -> ModuleType:
    return import_file(SOURCES / "traps.py")


def line_of(text: str) -> int:
    lines = (SOURCES / "traps.py").read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


def forward(module: nn.Module, example: Tensor | None = None) -> Forward:
    module.eval()
    given = torch.linspace(-1, 1, 12).reshape(4, 3) if example is None else example

    def run(tensors: list[Tensor]) -> list[Tensor]:
        with user_code("here", "forward"), torch.no_grad():
            return [module(*tensors)]

    return Forward(run, module, [given], "here")


def repeated(module: nn.Module, example: Tensor | None = None) -> Repeated:
    return forward(module, example).repeated(["x"])


@pytest.mark.parametrize(
    ("kind", "line", "hint"),
    [
        ("Tiny", "torch.randn_like(x) * 1e-7", "if self.training:"),
        ("Skips", "torch.rand(1) < 0.001", "if self.training:"),
        ("Shuffled", "torch.randperm", "if self.training:"),
        ("UntilSmall", "value = torch.rand(1)", "if self.training:"),
        ("DropoutOn", "functional.dropout(x, 0.5", "use nn.Dropout"),
        (
            "StaysInTraining",
            "dropped: Tensor = self.drop(x)",
            "after eval() still in training mode: drop (Dropout)",
        ),
    ],
)
def test_random_numbers_that_reach_the_answer_are_named_with_operator_and_line(
    traps: ModuleType, kind: str, line: str, hint: str
) -> None:
    torch.manual_seed(1)
    with pytest.raises(SourceError, match=rf"draws random numbers at traps\.py:{line_of(line)}, by aten\.") as caught:
        repeated(getattr(traps, kind)())
    assert hint in caught.value.hint


def test_random_numbers_that_reach_nothing_are_no_matter(traps: ModuleType) -> None:
    module = traps.DeadNoise()
    assert torch.equal(repeated(module).outputs[0], torch.linspace(-1, 1, 12).reshape(4, 3) * 2)


@pytest.mark.parametrize("module", [nn.Dropout(0.5), nn.LSTM(3, 4, 2, dropout=0.5), nn.RReLU()])
def test_what_eval_switches_off_draws_nothing(module: nn.Module) -> None:
    module.eval()

    def run(tensors: list[Tensor]) -> list[Tensor]:
        with torch.no_grad():
            found: Any = module(*tensors)
        return [found] if isinstance(found, Tensor) else [found[0]]

    assert len(Forward(run, module, [torch.ones(2, 3)], "here").repeated(["x"]).outputs) == 1


def test_noise_in_float64_alone_would_widen_the_tolerance_and_is_found(traps: ModuleType) -> None:
    module = traps.NoiseInDouble()
    repeated(module)
    with pytest.raises(SourceError, match="draws random numbers"):
        forward(module, torch.ones(2, 3, dtype=torch.float64)).refuse_random()


def test_numbers_drawn_behind_torchs_back_are_found_by_the_answers_and_named(traps: ModuleType) -> None:
    with pytest.raises(SourceError, match=r"answers differently at each call: the same input gives output\[") as caught:
        repeated(traps.PythonsNoise())
    assert "Python's random or numpy.random" in caught.value.hint


@pytest.mark.parametrize("draw", [random.random, np.random.rand], ids=["random", "numpy"])
def test_numbers_drawn_behind_torchs_back_that_change_nothing_this_time_are_told(draw: Callable[[], float]) -> None:
    class Rarely(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * (2 if draw() > 1e-9 else 3)

    notes = repeated(Rarely()).notes
    assert len(notes) == 1
    assert "draws numbers by Python's random or numpy.random" in notes[0]


def test_a_buffer_that_changes_in_forward_is_named_with_both_answers(traps: ModuleType) -> None:
    with pytest.raises(
        SourceError,
        match=r"this module keeps state between calls: forward changes its buffer 'count' \(1 → 2\); "
        r"the same input gives output\[\d, \d\] = \S+, then ",
    ) as caught:
        repeated(traps.Counts())
    assert "--state" in caught.value.hint


def test_a_buffer_that_changes_without_another_answer_is_named_too(traps: ModuleType) -> None:
    with pytest.raises(SourceError, match=r"buffer 'count' \(1 → 2\); the answers to the example are the same this"):
        repeated(traps.CountsSilently())


def test_statistics_that_are_still_learnt_are_named(traps: ModuleType) -> None:
    with pytest.raises(SourceError, match=r"forward changes its buffer 'norm\.running_mean' \(\["):
        repeated(traps.NormTraining(), torch.arange(12.0).reshape(4, 3))


def test_a_table_that_is_made_once_is_no_state(traps: ModuleType) -> None:
    assert repeated(traps.CachesTable()).notes == ()


def test_an_input_that_forward_writes_to_is_told_and_not_changed(traps: ModuleType) -> None:
    example = torch.ones(2, 3)
    found = repeated(traps.WritesInput(), example)
    assert found.notes == ("forward writes to its input x; the artifact leaves what it is given as it is",)
    assert torch.equal(example, torch.ones(2, 3))
    assert torch.equal(found.outputs[0], torch.full((2, 3), 4.0))


def test_a_float64_constant_is_told_with_its_line(traps: ModuleType) -> None:
    (note,) = repeated(traps.WidensSilently()).notes
    assert note == (
        f"a float64 constant meets float32 at traps.py:{line_of('return x * self.scale')}, and what follows is "
        "float64: was it meant?"
    )
    assert repeated(nn.Linear(3, 3)).notes == ()


def test_whatever_a_module_holds_can_be_looked_at() -> None:
    module: Any = nn.Linear(2, 2)
    module.itself = [1]
    module.itself.append(module.itself)
    module.sparse = torch.eye(3).to_sparse()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, and still in people's modules
        module.rounded = torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)
    module.waves = torch.ones(3, dtype=torch.complex64).conj()
    module.flag = torch.tensor(True)
    module.nowhere = torch.ones(2, device="meta")
    held = kept(module)
    assert {"weight", "bias", "sparse", "rounded", "waves", "flag", "nowhere"} <= held.keys()
    module.flag = torch.tensor(False)
    assert changes(held, kept(module)) == ["attribute 'flag' (1 → 0)"]
    assert checksums(module)["weight"] != 0


def test_a_large_table_that_changes_is_seen_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export_tools.kept_state.LARGE_BYTES", 8)
    module = nn.Linear(4, 4)
    held = kept(module)
    with torch.no_grad():
        module.weight[0, 0] += 1
    assert [one.partition(" (")[0] for one in changes(held, kept(module))] == ["parameter 'weight'"]
