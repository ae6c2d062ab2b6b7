import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edge_runtime import npz, open_artifact
from edge_runtime.cli import main
from edge_runtime.errors import HashMismatch, UsageError
from edge_runtime.files import sha256
from export_tools.errors import ParityLost, SourceError
from export_tools.pipeline import Exported
from export_tools.request import SourceSpec
from export_tools.reverify import reverify

Spec = Callable[..., SourceSpec]


@pytest.fixture
def copied(linear: Exported, tmp_path: Path) -> Path:
    """Return an artifact of this test's own."""
    return Path(shutil.copytree(linear.artifact.path, tmp_path / "linear.edge"))


def with_other_weights(folder: Path) -> None:
    """Change a weight, and the hash in the manifest with it, as someone would who wants to hide it."""
    path = folder / "fp32/model.onnx"
    proto = onnx.load(path)
    (weight,) = [w for w in proto.graph.initializer if len(w.dims) == 2]
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(1.01), weight.name))
    onnx.save(proto, path)
    manifest = folder / "manifest.json"
    document: dict[str, Any] = json.loads(manifest.read_text())
    document["variants"][0]["files"][0] |= {"sha256": sha256(path), "bytes": path.stat().st_size}
    manifest.write_text(json.dumps(document))


def test_the_proof_is_repeated_against_the_source_that_this_host_remembers(linear: Exported) -> None:
    found = reverify(linear.artifact.path)
    assert found.against == "the source networks.py:linear"
    assert not found.verification.wrong
    sizes = {row.case for row in found.verification.rows if row.case.startswith("size-")}
    assert sizes == {f"size-batch-{size}" for size in (1, 2, 3, 7, 17, 130)}  # the sizes that its manifest names
    assert {row.case for row in found.verification.rows} >= {"real", "normal", "ones", "large"}


def test_without_a_source_it_is_held_against_its_goldens(copied: Path) -> None:
    with_other_weights(copied)  # a model of this hash was never exported here
    with pytest.raises(ParityLost, match="the worst is output of the case") as caught:
        reverify(copied)
    assert caught.value.exit_code == 1
    assert caught.value.hint.startswith("the stored answers are another model's, or another onnxruntime's")
    with pytest.raises(SourceError, match="does not remember its source"):
        reverify(copied, against="source")
    with pytest.raises(UsageError, match="no answer to hold new inputs against"):
        reverify(copied, data=copied)


def test_a_model_that_departs_from_its_source_is_explained(
    copied: Path, spec: Spec, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_other_weights(copied)
    monkeypatch.chdir(Path(__file__).parent / "sources")
    words = ["verify", str(copied), "--source", "networks.py:linear", "--report", str(tmp_path / "proof.html")]
    assert main(words) == 1
    told = capsys.readouterr()
    assert "WRONG" in told.out
    assert "the first operator that departs is aten.mm" in told.err or "aten.matmul" in told.err
    assert "networks.py:" in told.err
    saved = tmp_path / "tested-failing.npz"
    assert f"replay it: edge verify {copied} --data {saved} " in told.err
    assert npz.read(saved)["x"].shape[1] == 13
    assert ">differs<" in (tmp_path / "proof.html").read_text()


def test_other_weights_in_the_source_are_another_source(linear: Exported, spec: Spec) -> None:
    with pytest.raises(SourceError, match=r"its weights have the SHA-256 .*…, the artifact was made from") as caught:
        reverify(linear.artifact.path, source=spec("linear_of_fours"))
    assert caught.value.exit_code == 3


def test_a_changed_file_is_invalid_input_and_no_verdict(copied: Path) -> None:
    with (copied / "fp32/model.onnx").open("r+b") as model:
        model.seek(40)
        model.write(b"changed")
    with pytest.raises(HashMismatch) as caught:
        reverify(copied)
    assert caught.value.exit_code == 3


def test_goldens_pass_and_json_tells_each_output(linear: Exported, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(linear.artifact.path), "--against", "goldens", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["kind"], document["ok"], document["against"]) == ("edge-verify", True, "its golden cases")
    assert document["cases"] == len(document["outputs"]) == len(linear.artifact.manifest.golden)
    assert all(one["of_tolerance"] <= 1 for one in document["outputs"])


def test_an_artifact_without_goldens_needs_its_source(linear: Exported, tmp_path: Path) -> None:
    bare = tmp_path / "bare.edge"
    (bare / "fp32").mkdir(parents=True)
    shutil.copy(linear.artifact.path / "fp32/model.onnx", bare / "fp32/model.onnx")
    (bare / "manifest.json").write_text(replace(linear.artifact.manifest, golden=()).to_json())
    assert open_artifact(bare).manifest.golden == ()
    with pytest.raises(UsageError, match="no golden cases"):
        reverify(bare, against="goldens")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--against", "memory"), "nothing called 'memory'"),
        (("--weights", "w.pt"), "for no module"),
        (("--postprocess", "softmax"), "for no module"),
    ],
)
def test_flags_that_make_no_sense_are_refused(
    linear: Exported, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    assert main(["verify", str(linear.artifact.path), *words]) == 2
    assert said in capsys.readouterr().err
