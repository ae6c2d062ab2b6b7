"""The best classes: found in scores, or in the indices that an artifact already gives, with their names."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_runtime import open_artifact
from edge_runtime.classes import Ranked, rank
from edge_runtime.errors import UsageError
from edge_runtime.manifest import Manifest, Port

SCORES = Port(name="scores", dtype="float32", shape=("n", 4), meaning="probabilities")
INDEX = Port(name="classes", dtype="int64", shape=("n", 2), ranges=(0.0, 3.0))
LABELS = ("cat", "dog", "fox", "owl")


@pytest.fixture
def manifest(tiny_edge: Path) -> Manifest:
    return replace(open_artifact(tiny_edge).manifest, labels=LABELS, outputs=(SCORES,))


def answered(**arrays: Any) -> dict[str, np.ndarray[Any, np.dtype[Any]]]:
    return {name: np.asarray(array) for name, array in arrays.items()}


def test_the_best_classes_of_each_row_come_first_with_their_names(manifest: Manifest) -> None:
    found = rank(manifest, answered(scores=np.array([[1, 4, 2, 3], [9, 0, 0, 1]], "f4")), 2, where="x")
    assert (found.output, found.meaning) == ("scores", "probabilities")
    assert found.rows == (
        (Ranked(1, "dog", 4.0), Ranked(3, "owl", 3.0)),
        (Ranked(0, "cat", 9.0), Ranked(3, "owl", 1.0)),
    )


def test_of_equal_scores_the_lower_index_comes_first_and_nan_last(manifest: Manifest) -> None:
    found = rank(manifest, answered(scores=np.array([[np.nan, 2, 7, 7]], "f4")), 9, where="x")
    assert [one.index for one in found.rows[0]] == [2, 3, 1, 0]
    many = rank(replace(manifest, labels=None), answered(scores=np.arange(200)[None] % 2.0), 3, where="x")
    assert [one.index for one in many.rows[0]] == [1, 3, 5]
    assert json.loads(json.dumps(found.to_document()))["rows"][0][3] == {"index": 0, "name": "cat", "score": "nan"}


def test_scores_are_the_output_that_has_one_value_a_label(manifest: Manifest) -> None:
    boxes = Port(name="boxes", dtype="float32", shape=("n", 5))
    both = replace(manifest, outputs=(boxes, SCORES))
    assert (
        rank(both, answered(boxes=np.ones((1, 5), "f4"), scores=np.ones((1, 4), "f4")), 1, where="x").output == "scores"
    )


def test_indices_that_an_artifact_gives_are_named_with_the_scores_before_them(manifest: Manifest) -> None:
    scores = replace(SCORES, shape=("n", 2), meaning="the 2 best")
    both = replace(manifest, outputs=(scores, INDEX))
    found = rank(both, answered(scores=np.array([[0.9, 0.1]], "f4"), classes=[[3, 1]]), 5, where="x")
    assert (found.output, found.meaning) == ("scores", "the 2 best")
    assert [(one.name, round(one.score or 0, 3)) for one in found.rows[0]] == [("owl", 0.9), ("dog", 0.1)]


def test_argmax_gives_a_class_a_row_and_no_score(manifest: Manifest) -> None:
    best = replace(INDEX, name="best", shape=("n",), meaning="index")
    found = rank(replace(manifest, outputs=(best,)), answered(best=[2, 17]), 5, where="x")
    assert found.rows == ((Ranked(2, "fox", None),), (Ranked(17, None, None),))
    assert found.output == "best"


def test_an_integer_output_of_another_range_holds_no_indices(manifest: Manifest) -> None:
    other = replace(INDEX, ranges=(0.0, 9.0))
    answers = answered(scores=np.ones((1, 4), "f4"), classes=[[3, 1]])
    assert rank(replace(manifest, outputs=(SCORES, other)), answers, 1, where="x").rows[0][0].score == 1.0


def test_without_labels_classes_have_numbers(manifest: Manifest) -> None:
    found = rank(replace(manifest, labels=None), answered(scores=np.array([[1, 4, 2, 3]], "f4")), 1, where="x")
    assert found.rows == ((Ranked(1, None, 4.0),),)


@pytest.mark.parametrize("labels", [None, ("a", "b", "c")])
def test_scores_that_could_be_any_or_no_output_are_asked_for(manifest: Manifest, labels: Any) -> None:
    both = replace(manifest, labels=labels, outputs=(SCORES, replace(SCORES, name="other")))
    with pytest.raises(UsageError, match="which output holds the scores") as refused:
        rank(both, answered(scores=np.ones((1, 4), "f4"), other=np.ones((1, 4), "f4")), 1, where="x")
    assert "--postprocess" in refused.value.hint
