from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from export_tools import ExportRequest
from export_tools.errors import OperatorUnknown, OpsetUnavailable
from export_tools.op_trace import place_of
from export_tools.pipeline import run
from export_tools.unsupported import FOREIGN, FOURIER, INVERSE, MATRICES, OTHERWISE, SPECIAL, Missing, missing, remedy

Requested = Callable[..., ExportRequest]
DYNAMO = "No ONNX function found for <OpOverload(op='{}', overload='default')>. Failure message: No decompositions"
TORCHSCRIPT = "Exporting the operator '{}' to ONNX opset version 9 is not supported"


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (DYNAMO.format("aten._linalg_svd"), Missing("aten._linalg_svd", None)),
        (TORCHSCRIPT.format("aten::searchsorted"), Missing("aten.searchsorted", None)),
        (
            TORCHSCRIPT.format("aten::grid_sampler") + ". Support for this operator was added in version 16, try",
            Missing("aten.grid_sampler", 16),
        ),
        ("export failed on an operator with unrecognized namespace mylib::foo. If you", Missing("mylib.foo", None)),
        ("aten_histc with min == max (0.0) is not supported in this export path", None),
        ("", None),
    ],
)
def test_the_operator_is_read_out_of_what_an_exporter_says(said: str, found: Missing | None) -> None:
    assert missing(said) == found


@pytest.mark.parametrize(
    ("operator", "told"),
    [
        ("aten.linalg_inv_ex", INVERSE),
        ("aten._linalg_svd", MATRICES),
        ("aten.fft_fft2", FOURIER),
        ("prims.bessel_j0", SPECIAL),
        ("aten.something_else", OTHERWISE),
        ("mylib.foo", FOREIGN),
    ],
)
def test_each_kind_of_operator_has_a_remedy(operator: str, told: str) -> None:
    assert remedy(operator) == told


def sampled(x: torch.Tensor) -> torch.Tensor:
    grid = x[None, :2, :2, None].repeat(1, 1, 1, 2)
    return torch.nn.functional.grid_sample(x[None, None], grid, align_corners=False)  # there


@pytest.mark.parametrize(
    ("operator", "call"),
    [
        ("aten._linalg_svd", torch.linalg.svdvals),  # what it runs as
        ("aten.linalg_svdvals", torch.linalg.svdvals),  # what it is called
        ("prims.bessel_j0", torch.special.bessel_j0),
        ("aten.linalg_inv", torch.linalg.inv),
        ("aten.fft_fft2", torch.fft.fft2),
        ("aten.grid_sampler", sampled),  # runs as grid_sampler_2d
    ],
)
def test_the_line_that_calls_an_operator_is_found(operator: str, call: Callable[[torch.Tensor], torch.Tensor]) -> None:
    def forward() -> torch.Tensor:
        x = torch.eye(4)
        return call(x)  # here

    lines = Path(__file__).read_text("utf-8").splitlines()
    found = place_of(operator, forward)
    assert found is not None
    file, _, line = found.partition(":")
    assert file == "test_unsupported.py"
    # the innermost line that is a user's
    assert lines[int(line) - 1].endswith("# there" if call is sampled else "# here")


def test_a_forward_that_raises_or_does_not_call_it_has_no_line() -> None:
    assert place_of("aten.linalg_inv", lambda: torch.ones(2) + 1) is None
    assert place_of("aten.linalg_inv", lambda: torch.linalg.inv(torch.ones(2, 3))) is not None


def test_an_unknown_operator_is_named_with_its_line_and_a_remedy(requested: Requested, tmp_path: Path) -> None:
    with pytest.raises(OperatorUnknown) as caught:
        run(requested("failing.py:bessel", tmp_path / "a.edge", exporter="auto"))
    assert caught.value.what == (
        "no exporter has a conversion for the operator aten.special_bessel_j0 at failing.py:17 "
        "(torchscript: aten.special_bessel_j0; dynamo: prims.bessel_j0)"
    )
    assert (caught.value.hint, caught.value.exit_code) == (SPECIAL, 5)
    assert list(tmp_path.iterdir()) == []


def test_an_operator_that_takes_a_later_opset_is_told_with_that(requested: Requested, tmp_path: Path) -> None:
    with pytest.raises(OpsetUnavailable) as caught:
        run(requested("failing.py:sampled", tmp_path / "a.edge", opset=11))
    assert caught.value.what == "the operator aten.grid_sampler at failing.py:26 takes opset 16"
    assert (caught.value.hint, caught.value.exit_code) == ("ask for --opset 16", 5)
