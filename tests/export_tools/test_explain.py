from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge_runtime import npz
from export_tools import ExportRequest
from export_tools.errors import ParityLost
from export_tools.pipeline import run

Requested = Callable[..., ExportRequest]


def line_of(text: str) -> str:
    lines = (Path(__file__).parent / "sources" / "networks.py").read_text().splitlines()
    return f"networks.py:{next(number for number, line in enumerate(lines, 1) if text in line)}"


def test_a_failure_names_the_operator_and_saves_a_small_input_that_fails_again(
    requested: Requested, tmp_path: Path
) -> None:
    with pytest.raises(ParityLost) as caught:
        run(requested("convolved_and_read", tmp_path / "net.edge", exporter="torchscript"))
    line = line_of("x = x * (1 + x.detach().numpy().max())")
    assert f"the first operator that departs is aten.mul.Tensor at {line} (inputs from 0 to " in caught.value.what
    assert ", in the graph Mul " in caught.value.what
    saved = tmp_path / "tested-failing.npz"
    assert [path.name for path in tmp_path.iterdir()] == [saved.name]
    source = Path(__file__).parent / "sources" / "networks.py"
    assert f"replay it: edge export {source}:convolved_and_read -o {tmp_path / 'net.edge'} " in caught.value.hint
    image = npz.read(saved)["image"]
    assert (image.shape, image.dtype) == ((2, 3, 8, 8), np.dtype("float32"))
    assert (image == 0).mean() > 0.5
    with pytest.raises(ParityLost) as again:
        run(requested("convolved_and_read", tmp_path / "net.edge", exporter="torchscript", data=saved))
    assert again.value.failing is not None
    assert not next(row for row in again.value.failing.proof.rows if row.case.startswith("data-0-")).difference.ok


def test_a_small_input_with_equal_values_by_chance_still_names_the_operator(
    requested: Requested, tmp_path: Path
) -> None:
    # shrunk to one row, the sum and what it is divided to are the same number
    asked = requested("averaged", tmp_path / "net.edge", exporter="torchscript", dynamic=("x:0=batch",))
    with pytest.raises(ParityLost) as caught:
        run(asked)
    line = line_of("return x.sum(0) / int(x.shape[0])")
    assert f"the first operator that departs is aten.div.Tensor at {line}" in caught.value.what


def test_an_input_that_no_case_shows_is_found_by_searching(requested: Requested, tmp_path: Path) -> None:
    with pytest.raises(ParityLost, match=r"the worst is output of the case search-\d+: it is off by") as caught:
        run(requested("reads_sparsity", tmp_path / "net.edge", exporter="torchscript"))
    assert f"aten.mul.Tensor at {line_of('return x * (2.0 if 0 < share < 1 else 1.0)')}" in caught.value.what
    x = npz.read(tmp_path / "tested-failing.npz")["x"]
    assert 0 < (x == 0).mean() < 1
