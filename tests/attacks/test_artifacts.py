"""Whole artifacts that are out to hurt: README.md says what was tried where."""

import io
import zipfile
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, external_data_helper, helper, numpy_helper

from edge_runtime import npz
from edge_runtime.artifact import open_artifact
from edge_runtime.errors import EdgeError, HashMismatch, ManifestError
from edge_runtime.manifest import File
from edge_runtime.model import load
from edge_runtime.selfcheck import check
from tests import fakes
from tests.conftest import Maker

WEIGHTS = np.arange(13, dtype="f4").reshape(13, 1)


def model_with_weights_at(location: str) -> bytes:
    """A MatMul whose weights stand in another file."""
    weights = numpy_helper.from_array(WEIGHTS, "w")
    external_data_helper.set_external_data(weights, location=location, length=WEIGHTS.nbytes)
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["input", "w"], ["output"])],
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 13])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", 1])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(model.SerializeToString())


def with_model(path: Path, content: bytes) -> Path:
    (path / "fp32" / "model.onnx").write_bytes(content)
    manifest = open_artifact(path).manifest
    fakes.write_manifest(path, replace(manifest, variants=(fakes.variant(path, "fp32"),)))
    return path


@pytest.mark.parametrize("way", ["parent", "absolute", "link"])
def test_weights_outside_the_artifact_are_never_read(make_artifact: Maker, tmp_path: Path, way: str) -> None:
    secret = tmp_path / "secret.bin"
    secret.write_bytes(WEIGHTS.tobytes())
    path = make_artifact()
    if way == "link":
        (path / "fp32" / "weights.bin").symlink_to(secret)
    location = {"parent": "../../secret.bin", "absolute": str(secret), "link": "weights.bin"}[way]
    with pytest.raises(EdgeError) as refused:
        load(with_model(path, model_with_weights_at(location)))
    assert refused.value.exit_code == 3


def test_weights_that_the_manifest_does_not_vouch_for_are_refused(make_artifact: Maker, tmp_path: Path) -> None:
    path = make_artifact()
    (path / "fp32" / "weights.bin").write_bytes(WEIGHTS.tobytes())
    with pytest.raises(ManifestError, match=r"fp32/weights\.bin is not in the manifest"):
        load(with_model(path, model_with_weights_at("weights.bin")))
    aside = tmp_path / "aside"
    (path / "fp32" / "weights.bin").rename(aside)
    (path / "fp32" / "more").symlink_to(tmp_path)
    with pytest.raises(ManifestError, match="fp32/more is not in the manifest"):
        load(with_model(path, model_with_weights_at("more/aside")))


def test_weights_that_the_manifest_vouches_for_are_hashed_and_read(make_artifact: Maker) -> None:
    path = make_artifact()
    weights = path / "fp32" / "weights.bin"
    weights.write_bytes(WEIGHTS.tobytes())
    with_model(path, model_with_weights_at("weights.bin"))
    manifest = open_artifact(path).manifest
    (variant,) = manifest.variants
    named = File(path="fp32/weights.bin", sha256=sha256(weights.read_bytes()).hexdigest(), bytes=WEIGHTS.nbytes)
    fakes.write_manifest(path, replace(manifest, variants=(replace(variant, files=(*variant.files, named)),)))
    with load(path, threads=1) as model:
        assert model(input=np.ones((1, 13), "f4"))["output"].tolist() == [[78.0]]
    weights.write_bytes(bytes(WEIGHTS.nbytes))
    with pytest.raises(HashMismatch, match=r"weights\.bin"):
        load(path)


def test_a_manifest_beyond_its_limit_is_not_parsed(make_artifact: Maker) -> None:
    path = make_artifact()
    with (path / "manifest.json").open("ab") as stream:
        stream.truncate(5 * 2**20)
    with pytest.raises(ManifestError, match="larger than the 4194304 bytes"):
        open_artifact(path)


def test_a_golden_case_that_names_paths_writes_nothing(make_artifact: Maker, tmp_path: Path) -> None:
    path = make_artifact()
    array = io.BytesIO()
    np.save(array, np.zeros(1))
    file = path / "golden" / "case0.npz"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("../../../escaped.npy", array.getvalue())
    manifest = open_artifact(path).manifest
    fakes.write_manifest(path, replace(manifest, golden=(fakes.golden_case(path, file, ["output"]),)))
    with pytest.raises(ManifestError, match="one array for each input and output"):
        check(path, threads=1)
    assert not list(tmp_path.rglob("escaped*"))
    assert list(npz.read(file)) == ["../../../escaped"]  # a name, and nothing more


def test_an_operator_of_a_foreign_library_is_refused_and_nothing_is_loaded_for_it(make_artifact: Maker) -> None:
    model = fakes.tiny().model
    model.graph.node[0].domain = "com.evil"
    model.opset_import.append(onnx.helper.make_opsetid("com.evil", 1))
    with pytest.raises(EdgeError, match=r"com\.evil"):
        load(with_model(make_artifact(), model.SerializeToString()))
