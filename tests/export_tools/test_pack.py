from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_runtime import check, npz
from edge_runtime.artifact import Artifact
from edge_runtime.errors import OutputExists, UsageError
from export_tools.cases import Case
from export_tools.noise import Answers
from export_tools.pack import MAX_GOLDEN, Contents, created, pack, write_golden
from export_tools.pipeline import Exported
from export_tools.request import ExportRequest, SourceSpec


def contents(linear: Exported, rows: int, count: int) -> Contents:
    """Return what the linear model's artifact is made of, with so many cases of so many rows."""
    artifact = linear.artifact
    first = next(artifact.golden(artifact.variant()))
    cases = tuple(Case(f"case-{index}", {"x": np.resize(first.inputs["x"], (rows, 13))}, {}) for index in range(count))
    answers = tuple(Answers({"output": np.resize(first.outputs["output"], (rows, 1))}, None) for _ in cases)
    row = linear.verification.rows[0]
    return Contents(
        conversion=replace(linear.conversion, model=artifact.model_path(artifact.variant())),
        verification=replace(linear.verification, rows=tuple(replace(row, case=case.name) for case in cases)),
        inputs=artifact.manifest.inputs,
        outputs=artifact.manifest.outputs,
        cases=cases,
        answers=answers,
        weights_sha256="0" * 64,
        torch_version="2",
    )


def request(output: Path) -> ExportRequest:
    return ExportRequest(source=SourceSpec(entry="a.py:b"), output=output, name="packed", origin="a.py:b")


def packed(output: Path, linear: Exported, rows: int, count: int, work: Path) -> Artifact:
    made = contents(linear, rows, count)
    return pack(request(output), made, write_golden(work, made), work)


@pytest.mark.parametrize(
    ("rows", "count", "kept"), [(4, 3, 3), (4, 40, MAX_GOLDEN), (200_000, 5, 2), (1_000_000, 2, 1)]
)
def test_golden_cases_are_bounded_in_number_and_bytes_but_the_first_is_there(
    linear: Exported, tmp_path: Path, rows: int, count: int, kept: int
) -> None:
    artifact = packed(tmp_path / "a.edge", linear, rows, count, tmp_path)
    assert [case.path for case in artifact.manifest.golden] == [f"golden/case-{index}.npz" for index in range(kept)]
    assert set(npz.read(artifact.path / "golden/case-0.npz")) == {"input/x", "output/output"}


def test_a_packed_artifact_passes_its_check(linear: Exported, tmp_path: Path) -> None:
    assert check(packed(tmp_path / "a.edge", linear, 4, 2, tmp_path).path).ok


def test_what_is_there_is_not_replaced_and_nothing_half_written_stays(
    linear: Exported, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (tmp_path / "a.edge").mkdir()
    with pytest.raises(OutputExists):
        packed(tmp_path / "a.edge", linear, 4, 1, tmp_path_factory.mktemp("work"))
    assert [path.name for path in tmp_path.iterdir()] == ["a.edge"]


def test_the_date_honours_the_reproducible_builds_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    assert created() == "1970-01-01T00:00:00Z"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(UsageError, match="SOURCE_DATE_EPOCH"):
        created()
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    assert created() > "2025-01-01T00:00:00Z"
