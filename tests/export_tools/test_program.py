"""Programs without their Python: .pt2 and TorchScript; and what else a .pt may be, told by its content."""

import json
import shutil
import warnings
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from edge_runtime import load
from export_tools import ExportRequest, export
from export_tools.errors import SourceError
from export_tools.file_kinds import PICKLE, PROGRAM, SCRIPT, kind_of
from export_tools.pipeline import run
from export_tools.program import is_scripted
from export_tools.request import SourceSpec
from export_tools.source import inputs_of, open_source, user_code
from export_tools.torch_worker import Worker

Spec = Callable[..., SourceSpec]
Requested = Callable[..., ExportRequest]


class Scaled(nn.Module):
    """Two inputs, an output by key, and dropout that eval mode switches off."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.drop = nn.Linear(3, 2), nn.Dropout(0.5)

    def forward(self, image: Tensor, gain: Tensor) -> dict[str, Tensor]:
        return {"scores": self.drop(self.layer(image)) * gain}


class Signed(nn.Module):
    """A branch that scripting keeps and tracing would freeze."""

    def forward(self, x: Tensor, power: int = 1) -> Tensor:
        if bool(x.sum() > 0):
            return x * 2
        return -x


class Batched(nn.Module):
    """A dict, and an argument by keyword alone."""

    def forward(self, batch: dict[str, Tensor], *, gain: Tensor | None = None) -> dict[str, Any]:
        scaled = batch["image"] if gain is None else batch["image"] * gain
        return {"scaled": scaled, "rest": (batch["mask"], scaled + 1)}


EXAMPLE = (torch.linspace(-1, 1, 12).reshape(4, 3), torch.tensor([2.0]))


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a program, one that was saved in training mode, and a script."""
    folder = tmp_path_factory.mktemp("programs")
    torch.manual_seed(0)
    exported(Scaled().eval(), folder / "scaled.pt2")
    exported(Scaled().train(), folder / "training.pt2")
    scripted(Signed(), folder / "signed.pt")
    return folder


def exported(module: nn.Module, path: Path) -> Path:
    rows = torch.export.Dim("rows", min=1, max=64)
    torch.export.save(torch.export.export(module, EXAMPLE, dynamic_shapes={"image": {0: rows}, "gain": None}), path)
    return path


def scripted(module: nn.Module, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would rather have everybody use torch.export
        torch.jit.save(torch.jit.script(module), path)
    return path


def test_a_pt2_opens_with_its_example_its_names_and_what_it_leaves_dynamic(spec: Spec, programs: Path) -> None:
    source = open_source(spec("scaled.pt2", cwd=str(programs), trust_pickle=True))
    assert [one.name for one in inputs_of(source, None, ())] == ["image", "gain"]
    assert not any(part.training for part in source.module.modules())
    assert any("image:0=" in note and ":1..64" in note for note in source.notes)
    assert not is_scripted(source.original)
    source.module.train().eval()  # torch's own refuses to be asked


def test_a_program_keeps_dicts_and_keywords(spec: Spec, tmp_path: Path) -> None:
    batch = {"image": torch.ones(2, 3), "mask": torch.ones(2, dtype=torch.bool)}
    program = torch.export.export(Batched(), (batch,), {"gain": torch.full((3,), 2.0)})
    torch.export.save(program, tmp_path / "batched.pt2")
    source = open_source(spec("batched.pt2", cwd=str(tmp_path), trust_pickle=True))
    inputs = inputs_of(source, None, ())
    assert [one.name for one in inputs] == ["image", "mask", "gain"]
    scaled, mask, more = source.module(*(one.tensor for one in inputs))
    assert (float(scaled.mean()), mask.dtype, float(more.mean())) == (2.0, torch.bool, 3.0)
    assert source.outputs.names == ["scaled", "rest_0", "rest_1"]


def test_a_pt2_becomes_an_artifact_by_either_exporter(
    requested: Requested, spec: Spec, programs: Path, tmp_path: Path
) -> None:
    source = spec("scaled.pt2", cwd=str(programs), trust_pickle=True)
    made = run(requested("", tmp_path / "a.edge", source=source, dynamic=("image:0=rows:1..64",), exporter="auto"))
    assert "failed" not in made.conversion.why
    torch.manual_seed(0)
    wanted = Scaled().eval()(torch.ones(5, 3), EXAMPLE[1])["scores"].detach().numpy()
    with load(made.artifact.path) as model:
        got = model(image=np.ones((5, 3), np.float32), gain=np.array([2], np.float32))["scores"]
    assert np.allclose(got, wanted, atol=1e-6)


def test_a_program_that_was_saved_in_training_mode_is_refused(spec: Spec, programs: Path) -> None:
    opening = {"spec": asdict(spec("training.pt2", cwd=str(programs), trust_pickle=True)), "example": None}
    worker = Worker({**opening, "input_names": [], "precise": False}, lambda _: None)
    # in a thread, as in a process of its own, no line of this file is beneath it
    with ThreadPoolExecutor(1) as pool, pytest.raises(SourceError, match="draws random numbers, by aten") as caught:
        pool.submit(worker.probe, {}).result()
    assert "after eval()" in caught.value.hint


def test_a_size_that_a_program_does_not_take_is_told_with_its_own_words(spec: Spec, programs: Path) -> None:
    module = open_source(spec("scaled.pt2", cwd=str(programs), trust_pickle=True)).module
    with (
        pytest.raises(SourceError, match=r"forward raised AssertionError: Guard failed.* <= 64"),
        user_code("here", "forward"),
    ):
        module(torch.ones(65, 3), EXAMPLE[1])


def test_a_script_becomes_an_artifact_with_both_of_its_branches(
    requested: Requested, spec: Spec, programs: Path, tmp_path: Path
) -> None:
    source = spec("signed.pt", cwd=str(programs), trust_pickle=True)
    made = run(requested("", tmp_path / "a.edge", source=source, example=("x=4x3:float32",), exporter="auto"))
    assert made.conversion.exporter == "torchscript"
    assert "If" in dict(made.conversion.operators)
    assert "a TorchScript archive, which torch.export does not take" in made.conversion.why
    with load(made.artifact.path) as model:
        ones = np.ones((4, 3), np.float32)
        assert model(x=ones)["output"].max() == 2
        assert model(x=-ones)["output"].max() == 1


def test_a_script_given_from_python_travels_as_an_archive(programs: Path, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.jit.load(str(programs / "signed.pt"))  # type: ignore[no-untyped-call]
    artifact = export(module, EXAMPLE[0], tmp_path / "a.edge", exporter="torchscript")
    assert artifact.manifest.inputs[0].name == "x"


@pytest.mark.parametrize(
    ("name", "said"), [("scaled.pt2", "may run any code"), ("signed.pt", "may read and write files")]
)
def test_programs_are_not_opened_without_trust(spec: Spec, programs: Path, name: str, said: str) -> None:
    with pytest.raises(SourceError, match=said) as caught:
        open_source(spec(name, cwd=str(programs)))
    assert "--trust-pickle" in caught.value.hint


def test_a_damaged_program_is_told_with_torchs_words(spec: Spec, programs: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(programs / "scaled.pt2") as whole, zipfile.ZipFile(tmp_path / "cut.pt2", "w") as cut:
        for name in whole.namelist():
            cut.writestr(name, b"{}" if name.endswith("model.json") else whole.read(name))
    with pytest.raises(SourceError, match="torch can't open it: ") as caught:
        open_source(spec("cut.pt2", cwd=str(tmp_path), trust_pickle=True))
    assert torch.__version__ in caught.value.hint


def test_kinds_are_told_by_content_whatever_the_name(programs: Path, tmp_path: Path) -> None:
    shutil.copyfile(programs / "scaled.pt2", tmp_path / "one.pt")
    shutil.copyfile(programs / "signed.pt", tmp_path / "two.pt2")
    torch.save(Scaled(), tmp_path / "three.pt2")
    torch.save(Scaled(), tmp_path / "four.pt", _use_new_zipfile_serialization=False)
    kinds = [kind_of(tmp_path / name) for name in ("one.pt", "two.pt2", "three.pt2", "four.pt")]
    assert kinds == [PROGRAM, SCRIPT, PICKLE, PICKLE]


def write_zip(path: Path, names: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in names.items():
            archive.writestr(name, content)


@pytest.mark.parametrize(
    ("make", "said", "hint"),
    [
        (lambda path: save_file({"w": torch.ones(1)}, path), r"it holds weights \(safetensors\)", "--weights"),
        (lambda path: write_zip(path, {"w.npy": b"\x93NUMPY"}), r"it holds arrays \(\.npz\)", "--weights"),
        (
            lambda path: write_zip(path, {"m/data/aotinductor/model/a.so": b""}),
            "compiled by AOTInductor",
            "export.save",
        ),
        (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99)), "an HDF5 file", "torch.save"),
        (lambda path: path.write_bytes(bytes(4) + b"ET12" + bytes(99)), "an ExecuTorch program", "torch.save"),
        (lambda path: path.write_bytes(b"PK\x05\x06" + bytes(18) + b"rest"), "a zip, but not of torch", "FILE.py"),
        (
            lambda path: write_zip(path, {"m/data.pkl": bytes(2**23)}, zipfile.ZIP_DEFLATED),
            r"an archive of [\d.]+ KiB that unpacks to 8\.00 MiB",
            "not compressed",
        ),
    ],
)
def test_what_can_not_serve_is_told_with_what_to_give_instead(
    tmp_path: Path, make: Callable[[Path], object], said: str, hint: str
) -> None:
    make(tmp_path / "model.pt")
    with pytest.raises(SourceError, match=said) as caught:
        kind_of(tmp_path / "model.pt")
    assert hint in caught.value.hint


def test_a_program_of_an_earlier_torch_is_one(tmp_path: Path) -> None:
    write_zip(tmp_path / "old.pt2", {"serialized_exported_program.json": json.dumps({}).encode(), "version": b"1"})
    assert kind_of(tmp_path / "old.pt2") == PROGRAM
