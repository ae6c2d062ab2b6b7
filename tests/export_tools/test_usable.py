"""Modules whose tensors can't be exported as they are: each is refused with what to change, or brought where it can."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from export_tools import ExportRequest
from export_tools.errors import ExportFailed, SourceError
from export_tools.pipeline import run
from export_tools.request import SourceSpec
from export_tools.source import open_source
from export_tools.usable import dtype_hint, made_usable

Spec = Callable[..., SourceSpec]
pytestmark = pytest.mark.usefixtures("import_state")


def lazy() -> nn.Module:
    return nn.Sequential(nn.LazyLinear(4))


def on_meta() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4, device="meta"), nn.Linear(4, 4, device="meta"))


@pytest.mark.parametrize(
    ("module", "said", "hint"),
    [
        (lazy(), r"0\.weight, 0\.bias are not initialised: a lazy module", "call it once where it is built"),
        (on_meta(), r"0\.weight, 0\.bias, 1\.weight and 1 more are on the meta device", "--weights"),
        (nn.Linear(2, 2, bias=False).bfloat16(), "weight is bfloat16, which onnxruntime", r"return module.float()"),
        (nn.Linear(2, 2, bias=False).to(torch.float8_e5m2), "weight is float8_e5m2", r"return module.float()"),
    ],
)
def test_tensors_that_nothing_can_export_are_named_with_the_remedy(module: nn.Module, said: str, hint: str) -> None:
    with pytest.raises(SourceError, match=said) as caught:
        made_usable(module, "here")
    assert hint in caught.value.hint


def test_an_ordinary_module_is_left_alone() -> None:
    module = nn.Linear(2, 2)
    assert (made_usable(module, "here"), dtype_hint(module)) == ((), "")


def test_weights_of_another_device_are_brought_to_the_cpu_and_it_is_said() -> None:
    class OnCuda(nn.Linear):
        moved: tuple[object, ...] = ()

        def named_buffers(self, *_args: Any, **_options: Any) -> Any:
            yield "table", SimpleNamespace(device=torch.device("cuda:0"), dtype=torch.float32)

        def to(self, *where: object, **_options: object) -> "OnCuda":
            self.moved = where
            return self

    module = OnCuda(2, 2)
    assert made_usable(module, "here") == ("weights on cuda:0 were brought to the CPU",)
    assert module.moved == ("cpu",)


def test_a_builder_that_wants_cuda_is_told_to_do_without(spec: Spec, tmp_path: Path) -> None:
    (tmp_path / "on_cuda.py").write_text("import torch\n\ndef build():\n    return torch.nn.Linear(2, 2).cuda()\n")
    with pytest.raises(SourceError, match="CUDA") as caught:
        open_source(spec("on_cuda.py:build", cwd=str(tmp_path)))
    assert "on_cuda.py, line 4: build it on the CPU there" in caught.value.hint


def test_a_module_on_meta_takes_its_values_from_a_file(spec: Spec, tmp_path: Path) -> None:
    (tmp_path / "on_meta.py").write_text(
        "import torch\n\ndef build():\n    return torch.nn.Linear(2, 2, device='meta')\n"
    )
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "weights.pt")
    with pytest.raises(SourceError, match="on the meta device"):
        open_source(spec("on_meta.py:build", cwd=str(tmp_path)))
    module = open_source(spec("on_meta.py:build", cwd=str(tmp_path), weights="weights.pt")).module
    answer: Tensor = module(torch.ones(1, 2))
    assert answer.isfinite().all()


def test_a_dtype_that_an_export_stumbles_over_is_the_first_hint(
    requested: Callable[..., ExportRequest], tmp_path: Path
) -> None:
    with pytest.raises(ExportFailed) as caught:
        run(requested("traps.py:doubles", tmp_path / "a.edge"))
    assert caught.value.hint.startswith("its weights are float64, which onnxruntime's CPU provider has few kernels for")
    assert not (tmp_path / "a.edge").exists()
    assert "computes in float32: return module.float()" in dtype_hint(nn.Linear(2, 2).half())
