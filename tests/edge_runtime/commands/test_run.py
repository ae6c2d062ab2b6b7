"""What `edge run` says of classes, and how it runs a model with state."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.cli import main
from edge_runtime.manifest import State
from tests import fakes
from tests.conftest import Maker

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def image(tmp_path: Path) -> str:
    np.save(tmp_path / "x.npy", np.array([1, 4, 2, 3], "f4"))
    return f"x={tmp_path / 'x.npy'}"


def test_the_best_classes_are_printed_with_their_names(make_artifact: Maker, image: str, capsys: Captured) -> None:
    path = str(make_artifact(fakes.echo(), labels=("cat", "dog", "fox", "owl")))
    assert main(["run", path, "--input", image, "--top", "2"]) == 0
    assert capsys.readouterr().out.endswith("classes by y: scores as the model gives them\n4  dog\n3  owl\n")
    assert main(["run", path, "--input", image, "--top", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["top"]
    assert told == {"output": "y", "meaning": None, "rows": [[{"index": 1, "name": "dog", "score": 4.0}]]}


def test_an_artifact_with_labels_names_its_best_classes_unasked(
    make_artifact: Maker, image: str, capsys: Captured
) -> None:
    assert main(["run", str(make_artifact(fakes.echo(), labels=("cat", "dog", "fox", "owl"))), "--input", image]) == 0
    assert capsys.readouterr().out.endswith("4  dog\n3  owl\n2  fox\n1  cat\n")


def test_without_labels_classes_are_numbers_and_only_shown_when_asked_for(
    make_artifact: Maker, image: str, capsys: Captured
) -> None:
    path = str(make_artifact(fakes.echo()))
    assert main(["run", path, "--input", image, "--top", "1"]) == 0
    assert capsys.readouterr().out.endswith("4  class 1\n")
    assert main(["run", path, "--input", image, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["top"] is None


def test_several_rows_are_numbered_and_many_are_cut(make_artifact: Maker, tmp_path: Path, capsys: Captured) -> None:
    path = str(make_artifact(fakes.recurrent()))
    np.savez(tmp_path / "x.npz", x=np.ones((10, 3), "f4"), h_in=np.ones((10, 4), "f4"), n_in=np.ones(1, "i8"))
    given = ["--input", str(tmp_path / "x.npz")]
    assert main(["run", path, *given, "--top", "1"]) == 2
    assert "which output holds the scores of classes? h_out, y of h_out" in capsys.readouterr().err
    assert main(["run", str(make_artifact(fakes.recurrent(), folder="odd.edge", labels=("a",))), *given]) == 0
    assert "classes by" not in capsys.readouterr().out  # nobody asked
    labelled = str(make_artifact(fakes.recurrent(), folder="l.edge", labels=("no", "yes")))
    assert main(["run", labelled, *given, "--top", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[-9:]] == [*"01234567", "…"]
    assert lines[-1] == "… 10 rows in all"


def test_fewer_than_one_class_is_a_usage_error(tiny_edge: Path, capsys: Captured) -> None:
    assert main(["run", str(tiny_edge), "--top", "0"]) == 2
    assert "--top 0" in capsys.readouterr().err


def test_state_that_is_not_given_begins_as_zeros_and_goes_on_from_run_to_run(
    make_artifact: Maker, tmp_path: Path, capsys: Captured
) -> None:
    path = str(make_artifact(fakes.counting(), state=(State(input="total_in", output="total_out"),)))
    np.save(tmp_path / "two.npy", np.array([2], "f4"))
    given = ["run", path, "--input", f"x={tmp_path / 'two.npy'}", "--json"]
    assert main(given) == 0
    assert json.loads(capsys.readouterr().out)["outputs"]["sum"]["values"] == [2.0]
    assert main([*given, "--repeat", "3"]) == 0  # one run before those that are timed
    assert json.loads(capsys.readouterr().out)["outputs"]["sum"]["values"] == [8.0]
    assert main([*given, "--input", f"total_in={tmp_path / 'two.npy'}"]) == 0
    assert json.loads(capsys.readouterr().out)["outputs"]["sum"]["values"] == [4.0]
    assert main(["run", path, "--json"]) == 3  # nothing at all is no step


def test_info_tells_units_labels_and_state(make_artifact: Maker, capsys: Captured) -> None:
    plain = fakes._ports(fakes.counting().model.graph.input)
    inputs = (replace(plain[0], ranges=(0.0, 255.0), meaning="grey image"), plain[1])
    path = make_artifact(
        fakes.counting(),
        state=(State(input="total_in", output="total_out"),),
        labels=tuple(f"class {index}" for index in range(7)),
        inputs=inputs,
    )
    assert main(["info", str(path)]) == 0
    told = capsys.readouterr().out
    assert "labels    7: class 0, class 1, class 2, class 3, class 4, …\n" in told
    assert "state     total_out is the next step's total_in\n" in told
    assert "inputs    dtype and shape  values    tested at  meaning\n" in told
    assert "x         float32[1]       0 to 255  fixed      grey image\n" in told
    assert "outputs    dtype and shape\n" in told
