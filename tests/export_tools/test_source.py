import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from export_tools.errors import SourceError
from export_tools.request import SourceSpec
from export_tools.source import Source, inputs_of, open_source, weights_sha256
from export_tools.structure import Outputs

Spec = Callable[..., SourceSpec]
SOURCES = Path(__file__).parent / "sources"
pytestmark = pytest.mark.usefixtures("import_state")


def test_a_callable_in_a_file_gives_a_module_in_eval_mode_with_its_example(spec: Spec) -> None:
    source = open_source(spec("linear"))
    assert not source.module.training
    (only,) = inputs_of(source, None, ())
    assert (only.name, only.positional, tuple(only.tensor.shape)) == ("x", True, (4, 13))


def test_a_callable_in_a_module_is_found_from_the_working_directory(spec: Spec) -> None:
    assert type(open_source(spec("networks:linear")).module).__name__ == "Linear"


def test_a_folder_to_import_from_makes_a_module_importable(spec: Spec, tmp_path: Path) -> None:
    source = open_source(spec("networks:linear", cwd=str(tmp_path), import_from=str(SOURCES)))
    assert type(source.module).__name__ == "Linear"


def test_a_class_and_a_module_at_rest_serve_as_callables(spec: Spec) -> None:
    assert type(open_source(spec("networks.py:Linear")).module).__name__ == "Linear"


def test_neighbouring_functions_give_the_example(spec: Spec) -> None:
    inputs = inputs_of(open_source(spec("with_siblings.py:build")), None, ())
    assert [(one.name, one.positional) for one in inputs] == [("image", True), ("gain", False)]


def test_an_example_by_name_comes_in_the_order_of_forward(spec: Spec) -> None:
    assert [one.name for one in inputs_of(open_source(spec("several")), None, ())] == ["ids", "values"]


def test_an_example_from_outside_goes_first_and_uses_the_final_names(spec: Spec) -> None:
    source = open_source(spec("linear"))
    (only,) = inputs_of(source, {"input": torch.zeros(2, 13)}, ("input",))
    assert (only.name, tuple(only.tensor.shape)) == ("x", (2, 13))
    with pytest.raises(SourceError, match="the example names x, the inputs are named input"):
        inputs_of(source, {"x": torch.zeros(2, 13)}, ("input",))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"image": torch.zeros(1)}, r"does not fit forward\(x\)"),
        ({"arr_0": torch.zeros(1), "arr_1": torch.zeros(1)}, r"does not fit forward\(x\)"),
    ],
)
def test_an_example_that_forward_does_not_take_is_refused(
    spec: Spec, given: dict[str, torch.Tensor], said: str
) -> None:
    with pytest.raises(SourceError, match=said):
        inputs_of(open_source(spec("linear")), given, ())


def test_without_an_example_the_flag_that_gives_one_is_named(spec: Spec) -> None:
    with pytest.raises(SourceError) as caught:
        inputs_of(open_source(spec("linear_without_example")), None, ())
    assert "--example" in caught.value.hint


def test_arguments_that_are_no_tensors_are_refused_by_name() -> None:
    source = Source(nn.Identity(), ((3,), {}), "here", Outputs())
    with pytest.raises(SourceError, match="forward's input is a int"):
        inputs_of(source, None, ())


def test_what_the_source_raises_is_quoted_with_file_and_line(spec: Spec) -> None:
    line = next(
        n for n, text in enumerate((SOURCES / "networks.py").read_text().splitlines(), 1) if "LookupError" in text
    )
    with pytest.raises(SourceError, match=r"raises\(\) raised LookupError: no weights in the drawer") as caught:
        open_source(spec("raises"))
    assert caught.value.exit_code == 3
    assert f"{SOURCES / 'networks.py'}, line {line}" in caught.value.hint


def test_a_source_that_calls_exit_is_an_error_like_any_other(spec: Spec) -> None:
    with pytest.raises(SourceError, match="SystemExit: not today"):
        open_source(spec("leaves"))


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("networks.py:text", "text gave a str, not a torch.nn.Module"),
        ("networks.py:nothing", "no 'nothing' in it"),
        ("nowhere.py:build", "no such file"),
        ("no_such_package.model:build", "no module 'no_such_package'"),
        ("networks.py", "which of its callables"),
        ("nowhere.pt", "no such file"),
    ],
)
def test_entries_that_lead_nowhere_are_refused(spec: Spec, entry: str, said: str) -> None:
    with pytest.raises(SourceError, match=said):
        open_source(spec(entry))


def test_a_mistake_in_the_file_is_told_with_its_line(spec: Spec, tmp_path: Path) -> None:
    (tmp_path / "broken_source.py").write_text("import torch\n\ndef build(:\n")
    with pytest.raises(SourceError, match="SyntaxError") as caught:
        open_source(spec("broken_source.py:build", cwd=str(tmp_path)))
    assert "broken_source.py, line 3" in caught.value.hint


def test_a_pickle_is_not_opened_without_trust(spec: Spec, tmp_path: Path) -> None:
    torch.save(Trap(), tmp_path / "trap.pt")
    with pytest.raises(SourceError, match="a program that runs when it is opened") as caught:
        open_source(spec("trap.pt", cwd=str(tmp_path)))
    assert Trap.sprung == []
    assert "--trust-pickle" in caught.value.hint
    assert "--weights" in caught.value.hint
    with pytest.raises(SourceError, match="no module"):
        open_source(spec("trap.pt", cwd=str(tmp_path), trust_pickle=True))
    assert Trap.sprung == ["sprung"]  # else the first half of this test proved nothing


def test_our_own_pickle_is_opened_only_if_it_is_the_one_we_wrote(spec: Spec, tmp_path: Path) -> None:
    torch.save(nn.Identity(), tmp_path / "module.pt")
    right = hashlib.sha256((tmp_path / "module.pt").read_bytes()).hexdigest()
    given = {"cwd": str(tmp_path), "trust_pickle": True}
    assert isinstance(open_source(spec("module.pt", pickle_sha256=right, **given)).module, nn.Identity)
    with pytest.raises(SourceError, match="not the one that was written"):
        open_source(spec("module.pt", pickle_sha256="0" * 64, **given))


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("name", ["text.pt", "other.zip", "weights.pt"])
def test_files_that_hold_no_module_are_told_apart(spec: Spec, tmp_path: Path, name: str, trusted: bool) -> None:
    said = {
        "text.pt": "not a model that torch saved",
        "other.zip": "a zip, but not of torch.save",
        "weights.pt": r"it holds weights \(a state_dict\), not a module",
    }
    (tmp_path / "text.pt").write_text("import torch")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    torch.save(nn.Linear(1, 1).state_dict(), tmp_path / "weights.pt")
    with pytest.raises(SourceError, match=said[name]) as caught:
        open_source(spec(name, cwd=str(tmp_path), trust_pickle=trusted))
    assert "FILE.py:callable" in caught.value.hint


@pytest.mark.parametrize("name", ["script_with_guard", "script_without_guard"])
def test_a_module_pickled_by_a_script_opens_from_that_script(
    spec: Spec, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pickled = tmp_path / "module.pt"
    subprocess.run([sys.executable, SOURCES / f"{name}.py", pickled], check=True)
    written, ours = pickled.read_bytes(), sys.modules["__main__"]
    monkeypatch.setattr(sys, "argv", ["edge", str(pickled)])  # a script that is run again would save over its pickle
    pickled.touch()
    stamp = pickled.stat().st_mtime_ns
    given = {"cwd": str(tmp_path), "trust_pickle": True}
    module = open_source(spec("module.pt", import_from=str(SOURCES / f"{name}.py"), **given)).module
    assert module(torch.zeros(1, 3)).tolist() == [[3, 3, 3]]
    assert (pickled.read_bytes(), pickled.stat().st_mtime_ns) == (written, stamp)
    assert sys.modules["__main__"] is ours
    with pytest.raises(SourceError, match="class can't be imported") as caught:
        open_source(spec("module.pt", **given))
    assert "--import-from FILE.py" in caught.value.hint


def test_the_weights_hash_is_of_names_dtypes_shapes_and_bytes() -> None:
    module = nn.Linear(2, 1)
    module.load_state_dict({"weight": torch.tensor([[1.0, 2.0]]), "bias": torch.tensor([3.0])})
    content = b"bias\0torch.float32\0(1,)\0" + np.array([3], "<f4").tobytes()
    content += b"weight\0torch.float32\0(1, 2)\0" + np.array([1, 2], "<f4").tobytes()
    assert weights_sha256(module) == hashlib.sha256(content).hexdigest()


def test_the_weights_hash_is_the_same_for_built_loaded_and_unpickled_modules(spec: Spec, tmp_path: Path) -> None:
    built = open_source(spec("linear")).module
    torch.save(built.state_dict(), tmp_path / "weights.pt")
    loaded = open_source(spec("linear", weights=str(tmp_path / "weights.pt"))).module
    assert weights_sha256(loaded) == weights_sha256(built)
    with torch.no_grad():
        next(iter(built.parameters())).add_(1)
    assert weights_sha256(loaded) != weights_sha256(built)


class Trap:
    """Tells when it is unpickled."""

    sprung: list[str] = []  # noqa: RUF012 - a list that every test looks at

    def __reduce__(self) -> tuple[Callable[[], "Trap"], tuple[()]]:
        return spring, ()


def spring() -> Trap:
    Trap.sprung.append("sprung")
    return Trap()
