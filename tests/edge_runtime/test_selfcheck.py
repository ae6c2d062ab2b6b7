from dataclasses import replace
from pathlib import Path

import pytest

from edge_runtime.artifact import open_artifact
from edge_runtime.errors import HashMismatch
from edge_runtime.selfcheck import check
from tests import fakes
from tests.conftest import Maker


def test_a_sound_artifact_passes_and_says_what_was_looked_at(tiny_edge: Path) -> None:
    found = check(tiny_edge, threads=1)
    assert found.ok
    assert found.files == 4
    assert [(one.case, one.variant, one.output) for one in found.outputs] == [
        ("case0", "fp32", "output"),
        ("case1", "fp32", "output"),
        ("case2", "fp32", "output"),
    ]
    assert all(one.difference.ratio < 1 for one in found.outputs)


def test_another_answer_than_the_golden_one_is_a_result_and_names_the_worst(make_artifact: Maker) -> None:
    found = check(make_artifact(spoil=0.5), threads=1)
    assert not found.ok
    assert found.worst is not None
    assert found.worst.difference.max_abs == pytest.approx(0.5, rel=1e-4)
    assert found.worst.difference.ratio == max(one.difference.ratio for one in found.outputs)


def test_integers_booleans_and_sizes_that_the_data_decide_are_checked_too(make_artifact: Maker) -> None:
    for sample in (fakes.typed(), fakes.found(), fakes.scalar()):
        found = check(make_artifact(sample, folder=f"{sample.model.graph.output[0].name}.edge"), threads=1)
        assert found.ok
        assert len(found.outputs) == len(sample.model.graph.output)


def test_an_artifact_without_golden_cases_is_not_called_sound(make_artifact: Maker) -> None:
    found = check(make_artifact(golden=()), threads=1)
    assert (found.ok, found.worst, found.files) == (False, None, 1)


def test_a_golden_case_of_another_variant_is_hashed_all_the_same(make_artifact: Maker) -> None:
    path = make_artifact()
    (path / "int8").mkdir()
    (path / "int8" / "model.onnx").write_bytes((path / "fp32" / "model.onnx").read_bytes())
    manifest = open_artifact(path).manifest
    golden = (*manifest.golden[:2], replace(manifest.golden[2], variant="int8"))
    fakes.write_manifest(
        path, replace(manifest, variants=(*manifest.variants, fakes.variant(path, "int8")), golden=golden)
    )
    assert [one.case for one in check(path, threads=1).outputs] == ["case0", "case1"]
    assert [one.case for one in check(path, threads=1, variant="int8").outputs] == ["case2"]
    (path / "golden" / "case2.npz").write_bytes(b"x")
    with pytest.raises(HashMismatch):
        check(path, threads=1)
