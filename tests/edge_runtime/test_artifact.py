"""Opening an artifact: the manifest first, hashes second, bytes last."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_runtime import npz
from edge_runtime.artifact import open_artifact
from edge_runtime.errors import HashMismatch, ManifestError, UsageError
from tests import fakes
from tests.conftest import Maker


def test_a_sound_artifact_opens_and_every_file_is_counted(tiny_edge: Path) -> None:
    artifact = open_artifact(tiny_edge)
    assert artifact.verify() == 4
    assert artifact.variant().name == "fp32"
    assert artifact.model_path(artifact.variant()) == tiny_edge / "fp32" / "model.onnx"
    assert artifact.size_bytes(artifact.variant()) == (tiny_edge / "fp32" / "model.onnx").stat().st_size


def test_what_is_no_artifact_is_told_with_the_way_to_make_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for name, told in (("nope", "no such artifact"), (".", "no manifest.json"), ("file", "not a directory")):
        with pytest.raises(ManifestError, match=told):
            open_artifact(tmp_path / name)


def test_a_pipe_in_place_of_the_manifest_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "manifest.json")
    with pytest.raises(ManifestError, match="not a regular file"):
        open_artifact(tmp_path)


@pytest.mark.parametrize("file", ["fp32/model.onnx", "golden/case1.npz"])
def test_a_missing_a_longer_and_a_changed_file_are_noticed(make_artifact: Maker, file: str) -> None:
    path = make_artifact()
    content = (path / file).read_bytes()
    (path / file).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(HashMismatch, match=f"{file} has the SHA-256"):
        open_artifact(path).verify()
    (path / file).write_bytes(content + b"x")
    with pytest.raises(HashMismatch, match=file):
        open_artifact(path).verify()
    (path / file).unlink()
    with pytest.raises(ManifestError, match=f"{file} is missing"):
        open_artifact(path).verify()


def test_a_model_of_the_wrong_size_is_told_by_its_size(make_artifact: Maker) -> None:
    path = make_artifact()
    (path / "fp32" / "model.onnx").write_bytes(b"x")
    with pytest.raises(HashMismatch, match="is 1 bytes, its manifest says"):
        open_artifact(path).verify()


def test_a_link_out_of_the_folder_is_refused_though_its_bytes_are_right(make_artifact: Maker, tmp_path: Path) -> None:
    path = make_artifact()
    model = path / "fp32" / "model.onnx"
    model.rename(tmp_path / "elsewhere.onnx")
    model.symlink_to(tmp_path / "elsewhere.onnx")
    with pytest.raises(ManifestError, match="link that leaves"):
        open_artifact(path).verify()


def test_an_unknown_variant_is_told_with_those_there_are(tiny_edge: Path) -> None:
    with pytest.raises(UsageError, match="no variant 'int8'") as refused:
        open_artifact(tiny_edge).variant("int8")
    assert refused.value.hint == "it has: fp32"


def test_golden_cases_come_with_their_arrays_and_tolerances(tiny_edge: Path) -> None:
    artifact = open_artifact(tiny_edge)
    cases = list(artifact.golden(artifact.variant()))
    assert [case.name for case in cases] == ["case0", "case1", "case2"]
    assert [case.inputs["input"].shape for case in cases] == [(64, 13), (1, 13), (7, 13)]
    assert [case.outputs["output"].shape for case in cases] == [(64, 1), (1, 1), (7, 1)]
    assert cases[0].tolerance["output"].abs == 1e-5


def test_a_variant_without_golden_cases_of_its_own_is_held_to_the_references(make_artifact: Maker) -> None:
    path = make_artifact()
    (path / "int8").mkdir()
    (path / "int8" / "model.onnx").write_bytes((path / "fp32" / "model.onnx").read_bytes())
    manifest = open_artifact(path).manifest
    both = (*manifest.variants, fakes.variant(path, "int8"))
    fakes.write_manifest(path, replace(manifest, variants=both))
    artifact = open_artifact(path)
    assert [case.variant for case in artifact.golden(artifact.variant("int8"))] == ["fp32"] * 3
    own = replace(manifest.golden[1], variant="int8")
    fakes.write_manifest(path, replace(manifest, variants=both, golden=(manifest.golden[0], own)))
    artifact = open_artifact(path)
    assert [case.name for case in artifact.golden(artifact.variant("int8"))] == ["case1"]
    assert [case.name for case in artifact.golden(artifact.variant("fp32"))] == ["case0"]


@pytest.mark.parametrize(
    "arrays",
    [
        {"input/input": np.zeros((1, 13), "f4")},
        {"output/output": np.zeros((1, 1), "f4")},
        {"input/input": np.zeros(1), "output/output": np.zeros(1), "output/more": np.zeros(1)},
    ],
)
def test_a_golden_case_that_names_other_ports_is_refused(make_artifact: Maker, arrays: fakes.Case) -> None:
    path = make_artifact()
    file = path / "golden" / "case0.npz"
    npz.write(file, arrays)
    manifest = open_artifact(path).manifest
    fakes.write_manifest(path, replace(manifest, golden=(fakes.golden_case(path, file, ["output"]),)))
    artifact = open_artifact(path)
    with pytest.raises(ManifestError, match="one array for each input and output"):
        list(artifact.golden(artifact.variant()))
