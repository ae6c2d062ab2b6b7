"""The text of --postprocess and the names of the classes; whatever can't be meant is refused."""

from pathlib import Path

import pytest

from edge_runtime.errors import InputError, UsageError
from edge_runtime.manifest import Port
from export_tools.postprocess import Postprocess, described, parse, read_labels, refuse_labels


@pytest.mark.parametrize(
    ("texts", "steps"),
    [
        ([], None),
        (["softmax"], Postprocess(softmax=True)),
        (["argmax"], Postprocess(argmax=True)),
        (["scores:top5"], Postprocess(output="scores", top=5)),
        (["a:b:softmax,top10"], Postprocess(output="a:b", softmax=True, top=10)),
        (["x:softmax", "x:top3"], Postprocess(output="x", softmax=True, top=3)),
    ],
)
def test_steps_are_read_and_read_back(texts: list[str], steps: Postprocess | None) -> None:
    assert parse(texts) == steps
    if steps:
        assert parse([str(steps)]) == steps


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        (["sigmoid"], "no step 'sigmoid'"),
        ([""], "no step ''"),
        (["top0"], "no step 'top0'"),
        (["top"], "no step 'top'"),
        (["top5,softmax"], "top5, softmax in this order"),
        (["softmax,argmax"], "softmax, argmax in this order"),
        (["argmax,top5"], "argmax, top5 in this order"),
        (["top5", "top5"], "top5, top5 in this order"),
        (["a:softmax", "b:top5"], "steps for 2 outputs"),
    ],
)
def test_steps_that_cannot_be_meant_are_refused(texts: list[str], problem: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse(texts)
    assert refused.value.what == problem


def test_labels_are_lines_or_a_json_list(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("\ufeffcat \r\nMünchner Kindl\n".encode())
    (tmp_path / "a.json").write_text('["cat", "dog"]')
    assert read_labels(tmp_path / "a.txt") == ("cat", "Münchner Kindl")
    assert read_labels(tmp_path / "a.json") == ("cat", "dog")


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.txt", b"", "0 names"),
        ("a.txt", b"cat\n\ndog\n", "name 2 is empty"),
        ("a.txt", b"cat\n" + b"x" * 501, "name 2 is empty, too long"),
        ("a.txt", b"cat\nd\x1b[0mg\n", "name 2 is empty, too long or no plain text"),
        ("a.txt", b"\xff\xfe", "no list of names"),
        ("a.json", b'{"cat": 1}', "no list of names"),
        ("a.json", b'["cat", 1]', "no list of names"),
        ("a.json", b"[", "no list of names"),
        ("a.json", b"[" * 100_000, "no list of names"),
        ("a.txt", b"x\n" * 100_001, "100001 names"),
    ],
)
def test_a_file_that_holds_no_names_is_refused(tmp_path: Path, name: str, content: bytes, problem: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as refused:
        read_labels(tmp_path / name)
    assert problem in refused.value.what


SCORES = Port(name="scores", dtype="float32", shape=("n", 4))
INDEX = Port(name="classes", dtype="int64", shape=("n", 2))


def test_there_is_one_name_for_each_class() -> None:
    refuse_labels("abcd", None, {"scores": SCORES})
    refuse_labels("abcde", 5, {"classes": INDEX})
    with pytest.raises(InputError, match="3 names for 4 classes"):
        refuse_labels("abc", None, {"scores": SCORES, "classes": INDEX})
    with pytest.raises(InputError, match="4 names for 5 classes"):
        refuse_labels("abcd", 5, {"scores": SCORES})
    with pytest.raises(InputError, match="2 names for none classes"):
        refuse_labels("ab", None, {"classes": INDEX})


def test_outputs_say_what_they_are_and_in_which_range() -> None:
    both = Postprocess(softmax=True, top=2)
    first, second = described(SCORES, both, 4, place=0), described(INDEX, both, 4, place=1)
    assert first.meaning == "the 2 largest probabilities of the classes (softmax), best first"
    assert (first.ranges, second.ranges) == ((0.0, 1.0), (0.0, 3.0))
    assert second.meaning == "index of the class of each of the 2 scores"
    assert described(SCORES, Postprocess(top=2), 4, place=0).ranges is None
    alone = described(INDEX, Postprocess(argmax=True), 4, place=0)
    assert (alone.meaning, alone.ranges) == ("index of the class with the largest score", (0.0, 3.0))
    assert described(SCORES, Postprocess(softmax=True), 4, place=0).meaning == "probabilities of the classes (softmax)"
    assert described(INDEX, Postprocess(argmax=True), 4, place=1) == INDEX
