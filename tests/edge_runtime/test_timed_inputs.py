"""Inputs that take turns: real ones first, then variants that hold the same values, alike wherever they are made."""

from pathlib import Path

import numpy as np
import pytest

from edge_runtime import npz, timed_inputs
from edge_runtime.artifact import open_artifact
from edge_runtime.errors import UsageError
from edge_runtime.npz import Array
from edge_runtime.timed_inputs import COUNT
from tests import fakes
from tests.conftest import Maker


def alike(one: timed_inputs.Inputs, other: timed_inputs.Inputs) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def of(path: Path, given: Path | None = None, **options: int) -> tuple[timed_inputs.Inputs, ...]:
    return timed_inputs.timed_inputs(open_artifact(path), "fp32", given, **options)


def given_at(path: Path, **arrays: Array) -> Path:
    npz.write(path, arrays)
    return path


def test_the_first_golden_case_comes_first_and_all_are_different_and_of_its_sizes(tiny_edge: Path) -> None:
    artifact = open_artifact(tiny_edge)
    first = next(artifact.golden(artifact.variant("fp32")))
    found = of(tiny_edge)
    assert len(found) == COUNT
    assert alike(found[0], first.inputs)
    assert {one["input"].shape for one in found} == {(64, 13)}
    assert len({one["input"].tobytes() for one in found}) == COUNT


def test_they_are_the_same_in_every_process_and_others_with_another_seed(tiny_edge: Path) -> None:
    once, again, other = (of(tiny_edge, seed=seed) for seed in (0, 0, 1))
    assert all(alike(one, two) for one, two in zip(once, again, strict=True))
    assert not all(alike(one, two) for one, two in zip(once, other, strict=True))
    assert all(alike(one, two) for one, two in zip(of(tiny_edge, count=3), once[:3], strict=True))


def test_golden_cases_of_the_same_sizes_come_before_variants(make_artifact: Maker) -> None:
    sample = fakes.tiny()
    second = {"input": sample.cases[0]["input"][::-1].copy()}
    found = of(make_artifact(fakes.Sample(sample.model, (sample.cases[0], sample.cases[1], second))))
    assert alike(found[0], sample.cases[0])
    assert alike(found[1], second)
    assert len(found) == COUNT


def test_a_variant_holds_the_values_of_a_sample_and_nothing_else(tiny_edge: Path, tmp_path: Path) -> None:
    tokens = np.array([[5, 7, 7, 0, 0, 9, 2, 2]])
    found = of(tiny_edge, given_at(tmp_path / "i.npz", tokens=tokens, length=np.array(6), mask=np.eye(1, 8)))
    assert len(found) == COUNT
    assert len({one["tokens"].tobytes() for one in found}) > 1
    for one in found:
        assert sorted(one["tokens"][0]) == sorted(tokens[0])
        assert one["tokens"].dtype == tokens.dtype
        assert one["length"] == 6
        assert sorted(one["mask"][0]) == [0] * 7 + [1]


def test_the_batch_stays_in_place(tiny_edge: Path, tmp_path: Path) -> None:
    rows = np.arange(12, dtype="f4").reshape(4, 3)
    for one in of(tiny_edge, given_at(tmp_path / "i.npz", x=rows)):
        assert [sorted(row) for row in one["x"]] == [sorted(row) for row in rows]


def test_what_has_no_other_variant_is_timed_alone(tiny_edge: Path, tmp_path: Path) -> None:
    # the artifact's golden cases have another input, so none is of the same sizes
    assert len(of(tiny_edge, given_at(tmp_path / "one.npz", x=np.ones((4, 4), "f4")))) == 1
    assert len(of(tiny_edge, given_at(tmp_path / "two.npz", x=np.array([[1.0, 2.0]])))) == 2


def test_what_is_large_takes_fewer_turns(tiny_edge: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = given_at(tmp_path / "i.npz", x=np.arange(16, dtype="f4").reshape(2, 8))
    monkeypatch.setattr(timed_inputs, "MAX_BYTES", 200)
    assert len(of(tiny_edge, path)) == 3
    assert len(of(tiny_edge, path, most=4)) == 1, "a sweep that ends with 128 bytes a turn"
    monkeypatch.setattr(timed_inputs, "MAX_BYTES", 1)
    assert len(of(tiny_edge, path)) == 1


def test_another_batch_size_repeats_each_ones_own_samples(tiny_edge: Path, tmp_path: Path) -> None:
    rows = np.arange(6, dtype="f4").reshape(2, 3)
    found = of(tiny_edge, given_at(tmp_path / "i.npz", x=rows), batch=5)
    assert np.array_equal(found[0]["x"], rows[[0, 1, 0, 1, 0]])
    assert len(found) > 1
    for one in found:
        assert np.array_equal(one["x"][:2], one["x"][2:4])


def test_without_anything_to_time_it_says_what_to_give(make_artifact: Maker) -> None:
    with pytest.raises(UsageError, match="no golden case"):
        of(make_artifact(fakes.Sample(fakes.tiny().model, ())))
