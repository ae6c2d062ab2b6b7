"""Several artifacts in one run: their names, what is refused, and a run."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import bench, line_up
from bench.report import sentences
from bench.report.names import own_of
from edge_runtime import manifest, summary
from edge_runtime.artifact import Artifact, open_artifact
from edge_runtime.cli import main
from edge_runtime.errors import UsageError
from edge_runtime.rounds import Plan

Rival = Callable[[str], str]
Quick = Callable[[int], Plan]


def copied(tiny: Path, there: Path) -> Artifact:
    shutil.copytree(tiny, there)
    return open_artifact(there)


def changed(tiny: Path, there: Path, **port: object) -> Artifact:
    """Return a copy whose manifest says something else of its input."""
    shutil.copytree(tiny, there)
    document = json.loads((there / manifest.FILE_NAME).read_text())
    document["inputs"][0].update(port)
    (there / manifest.FILE_NAME).write_text(json.dumps(document))
    return open_artifact(there)


def test_one_artifact_is_edge_itself(tiny: Path) -> None:
    assert line_up.own_names([open_artifact(tiny)]) == ("edge",)


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (("a.edge", "b.edge"), ("edge@a", "edge@b")),
        (("old/digits.edge", "new/digits.edge"), ("edge@old/digits", "edge@new/digits")),
        (("x/1/digits.edge", "y/1/digits.edge", "other.edge"), ("edge@x/1/digits", "edge@y/1/digits", None)),
        (("a.edge", "a"), (None, None)),
    ],
)
def test_names_are_as_long_as_it_takes_to_tell_artifacts_apart(
    tiny: Path, tmp_path: Path, paths: tuple[str, ...], names: tuple[str | None, ...]
) -> None:
    found = line_up.own_names([copied(tiny, tmp_path / path) for path in paths])
    assert len(set(found)) == len(paths)
    for one, wanted in zip(found, names, strict=True):
        assert wanted in {None, one}


def test_one_artifact_given_twice_is_refused_by_whatever_path(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "link.edge").symlink_to(tiny)
    with pytest.raises(UsageError, match="one artifact is there twice"):
        line_up.own_names([open_artifact(tiny), open_artifact(tmp_path / "link.edge")])


@pytest.mark.parametrize(
    ("port", "told"),
    [
        ({"shape": ["batch", 12]}, r'"input" is float32\[batch, 13\] there, float32\[batch, 12\] here'),
        ({"dtype": "float64"}, r'"input" is float32\[batch, 13\] there, float64\[batch, 13\] here'),
        ({"name": "x"}, r'"input" is float32\[batch, 13\] there, missing here, "x" is missing there'),
    ],
)
def test_artifacts_that_take_other_inputs_are_refused_by_name(
    tiny: Path, tmp_path: Path, port: dict[str, object], told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        line_up.own_names([open_artifact(tiny), changed(tiny, tmp_path / "other.edge", **port)])


def test_two_artifacts_of_one_name_are_raced_with_rivals_on_the_first(
    tiny: Path, tmp_path: Path, rival: Rival, quick: Quick
) -> None:
    other = copied(tiny, tmp_path / "yesterday/tiny.edge")
    record = bench([tiny, other], against=["onnxruntime", rival("adds_one")], plan=quick(2))
    first, second = (f"edge@{path.parent.name}/tiny" for path in (tiny, other.path))
    assert [one.name for one in record.contenders] == [first, second, "onnxruntime", "adds_one"]
    assert [one.answers.agree for one in record.contenders] == [True, True, True, False]
    assert {one.contender for one in record.launches} == {first, second, "onnxruntime"}
    assert record.config.shapes == {"input": (8, 13)}
    assert own_of(record) == first
    compared = summary.comparisons(record, contender=own_of(record))
    assert [one.baseline for one in compared] == [second, "onnxruntime", "adds_one"]
    assert sentences.facts(record)[1] == "tiny (fp32), input 8x13", "one model, by its hash"


def test_the_first_ones_golden_case_is_timed_on_all(tiny: Path, tmp_path: Path, quick: Quick) -> None:
    other = tmp_path / "other.edge"
    shutil.copytree(tiny, other)
    document = json.loads((other / manifest.FILE_NAME).read_text())
    document["golden"] = []  # nothing of its own could be timed
    (other / manifest.FILE_NAME).write_text(json.dumps(document))
    record = bench([tiny, other], against=[], plan=quick(1))
    assert record.config.shapes == {"input": (8, 13)}
    assert [one.answers.agree for one in record.contenders] == [True, None]
    assert [one.contender for one in record.launches] == ["edge@tiny", "edge@other"]


def test_a_calibration_takes_one_artifact(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = copied(tiny, tmp_path / "b.edge")
    assert main(["bench", str(tiny), str(other.path), "--calibrate"]) == 2
    assert "--calibrate with 2 artifacts" in capsys.readouterr().err


def test_several_artifacts_on_the_command_line(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = copied(tiny, tmp_path / "b.edge")
    assert main(["bench", str(tiny), str(other.path), "--against", "onnxruntime", "--rounds", "1"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("edge@tiny is ")
    assert "edge@tiny and edge@b: inconclusive" in told
