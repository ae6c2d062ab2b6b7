"""Attempts to fool the proof, each from the command to the refusal: an export takes seconds, so there are few."""

from collections.abc import Callable
from pathlib import Path

import pytest

from export_tools import ExportRequest
from export_tools.errors import ParityLost, depends_on_values
from export_tools.pipeline import run

Requested = Callable[..., ExportRequest]


def test_a_size_that_forward_decides_by_is_tried_though_no_usual_case_has_it(
    requested: Requested, tmp_path: Path
) -> None:
    asked = requested("sceptic.py:other_at_64", tmp_path / "a.edge", exporter="torchscript", dynamic=("x:0=batch",))
    with pytest.raises(ParityLost, match="the worst is output of the case decisive-batch-64") as caught:
        run(asked)
    assert "this case has batch=64" in caught.value.hint


def test_a_short_cut_of_torchs_own_transformer_has_a_remedy_of_its_own(requested: Requested, tmp_path: Path) -> None:
    with pytest.raises(ParityLost, match="the exported model is not the module") as caught:
        run(requested("sceptic.py:padded", tmp_path / "a.edge"))
    assert "build nn.TransformerEncoder with enable_nested_tensor=False" in caught.value.hint
    told = depends_on_values("model.py:12", "here", "ones", nested=True)
    assert "enable_nested_tensor=False" in told.hint
    assert "--allow-frozen-branch" in told.hint
