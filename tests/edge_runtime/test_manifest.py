"""A manifest reads back as it was written, and anything else is refused by the name of the field."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime import manifest
from edge_runtime.errors import ManifestError
from edge_runtime.manifest import Accuracy, Manifest, Quantized, State, Verification

KEYS = [
    "kind", "schema", "name", "version", "created", "producer", "source", "requires", "target", "frozen",
    "serial", "peak_bytes", "inputs", "outputs", "state", "labels", "variants", "golden",
]  # fmt: skip
PORT_KEYS = ["name", "dtype", "shape", "ranges", "tested", "meaning"]
VARIANT_KEYS = [
    "name", "files", "precision", "recipe", "opset", "exporter", "why", "passes", "operators", "flops",
    "quantized", "verification", "accuracy",
]  # fmt: skip


@pytest.fixture(scope="session")
def plain(tiny_edge: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((tiny_edge / "manifest.json").read_text())
    return document


def parse(document: object) -> Manifest:
    return manifest.parse(json.dumps(document), where="m.json")


def changed(document: dict[str, Any], place: tuple[str | int, ...], value: object) -> dict[str, Any]:
    copy = json.loads(json.dumps(document))
    holder = copy
    for step in place[:-1]:
        holder = holder[step]
    holder[place[-1]] = value
    return copy  # type: ignore[no-any-return]


def test_a_full_manifest_reads_back_the_same(plain: dict[str, Any]) -> None:
    plain_manifest = parse(plain)
    port = replace(
        plain_manifest.inputs[0], ranges=(-1.0, 1.0), tested=(("batch", (1, 2, 7)),), meaning="thirteen features"
    )
    state_port = replace(port, name="h_in")
    variant = replace(
        plain_manifest.variants[0],
        recipe="int8-static",
        why="both verify; it is faster",
        passes=("onnxscript", "onnxslim"),
        flops=26,
        quantized=Quantized(done=1, of=2),
        verification=Verification(
            cases=5, worst_abs=1e-6, worst_rel=1e-7, snr_db=None, tolerance=1e-5, reference="torch float64"
        ),
        accuracy=Accuracy(metric="top-1", value=0.5, samples=10),
    )
    full = replace(
        plain_manifest,
        target="pi4",
        frozen=("model.py:12",),
        serial=3,
        peak_bytes=1000,
        source_weights_sha256="0" * 64,
        inputs=(port, state_port),
        outputs=(*plain_manifest.outputs, replace(state_port, name="h_out")),
        state=(State(input="h_in", output="h_out"),),
        labels=("cat", "dog"),
        variants=(variant,),
        golden=(),
    )
    assert manifest.parse(full.to_json(), where="x") == full
    assert full.to_json() == manifest.parse(full.to_json(), where="x").to_json()


def test_every_key_is_there_from_the_first_day_and_null_until_it_is_filled(plain: dict[str, Any]) -> None:
    assert list(plain) == KEYS
    assert [plain[key] for key in ("serial", "peak_bytes", "state", "labels")] == [None] * 4
    assert list(plain["inputs"][0]) == PORT_KEYS
    assert [plain["inputs"][0][key] for key in ("ranges", "tested", "meaning")] == [None] * 3
    assert list(plain["variants"][0]) == VARIANT_KEYS
    unfilled = ("recipe", "flops", "quantized", "verification", "accuracy")
    assert [plain["variants"][0][key] for key in unfilled] == [None] * 5


def places(value: object, here: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield (*here, key)
            yield from places(item, (*here, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from places(item, (*here, index))


def test_a_missing_key_is_refused_wherever_it_is_missing(plain: dict[str, Any]) -> None:
    free = {("variants", 0, "operators", "MatMul")}  # a name of the data, not of the format
    tried = [place for place in places(plain) if isinstance(place[-1], str) and place not in free]
    assert len(tried) > 40
    for place in tried:
        copy = changed(plain, place, 0)
        holder: Any = copy
        for step in place[:-1]:
            holder = holder[step]
        del holder[place[-1]]
        with pytest.raises(ManifestError):
            parse(copy)


def test_an_unknown_key_is_refused_wherever_it_stands(plain: dict[str, Any]) -> None:
    objects: list[tuple[str | int, ...]] = [
        (), ("producer",), ("source",), ("requires",), ("inputs", 0), ("variants", 0), ("variants", 0, "opset"),
        ("variants", 0, "files", 0), ("golden", 0), ("golden", 0, "tolerance", "output"),
    ]  # fmt: skip
    for place in objects:
        with pytest.raises(ManifestError, match="unknown keys: extra"):
            parse(changed(plain, (*place, "extra"), 1))


def test_schema_1_is_read_and_what_it_could_not_say_is_null(plain: dict[str, Any]) -> None:
    old = changed(plain, ("schema",), 1)
    del old["target"], old["frozen"]
    for variant in old["variants"]:
        del variant["why"], variant["passes"]
    read = parse(old)
    assert (read.target, read.frozen) == (None, None)
    assert [(variant.why, variant.passes) for variant in read.variants] == [(None, None)] * len(read.variants)
    assert read.to_document()["schema"] == 2


@pytest.mark.parametrize("place", [("target",), ("frozen",), ("variants", 0, "why"), ("variants", 0, "passes")])
def test_a_schema_1_with_keys_of_schema_2_was_not_written_by_us(
    plain: dict[str, Any], place: tuple[str | int, ...]
) -> None:
    old = changed(plain, ("schema",), 1)
    for key in {"target", "frozen"} - {place[-1]}:
        del old[key]
    for variant in old["variants"]:
        for key in {"why", "passes"} - {place[-1]}:
            del variant[key]
    with pytest.raises(ManifestError, match="later schema"):
        parse(old)


def test_a_newer_schema_is_refused_with_the_remedy(plain: dict[str, Any]) -> None:
    with pytest.raises(ManifestError, match="reads up to 2") as refused:
        parse(changed(plain, ("schema",), 3))
    assert "upgrade edge to one that reads schema 3" in refused.value.hint


def test_a_record_is_no_artifact(plain: dict[str, Any]) -> None:
    with pytest.raises(ManifestError, match="expected 'edge-artifact'"):
        parse(changed(plain, ("kind",), "edge-record"))


@pytest.mark.parametrize(
    "path", ["../model.onnx", "/etc/passwd", "a/../../b", "", ".", "a//b", "a\0", "\ud800", "C:\\x"]
)
@pytest.mark.parametrize("place", [("variants", 0, "files", 0, "path"), ("golden", 0, "path")])
def test_a_path_that_leaves_the_artifact_is_refused(
    plain: dict[str, Any], place: tuple[str | int, ...], path: str
) -> None:
    with pytest.raises(ManifestError, match="not a plain path"):
        parse(changed(plain, place, path))


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        (("name",), "../evil", "letters, digits"),
        (("name",), "-rf", "letters, digits"),
        (("name",), "", "letters, digits"),
        (("name",), "é", "letters, digits"),
        (("variants", 0, "name"), "a/b", "letters, digits"),
        (("variants",), [], "is empty"),
        (("variants", 0, "files"), [], "is empty"),
        (("variants", 0, "files", 0, "bytes"), -1, "expected 0 to"),
        (("variants", 0, "files", 0, "sha256"), "0" * 63, "no SHA-256"),
        (("variants", 0, "files", 0, "sha256"), "G" * 64, "no SHA-256"),
        (("requires", "onnxruntime"), "1.x", "expected a version"),
        (("requires", "onnxruntime"), "", "expected a version"),
        (("requires", "onnxruntime"), "1..2", "expected a version"),
        (("inputs", 0, "name"), "", "is empty"),
        (("inputs", 0, "name"), "a\x1b[2J", "control characters"),
        (("inputs", 0, "shape"), [-1], "expected a size"),
        (("inputs", 0, "shape"), [""], "expected a size"),
        (("inputs", 0, "shape"), [True], "expected a size"),
        (("inputs", 0, "shape"), [1] * 33, "33 entries"),
        (("golden", 0, "variant"), "int8", "no variant of this artifact"),
        (("golden", 0, "tolerance"), {}, "each output once"),
        (("golden", 0, "tolerance", "output", "abs"), -1.0, "expected a finite number"),
        (("golden", 0, "tolerance", "output", "rel"), "big", "expected a number"),
    ],
)
def test_a_senseless_value_is_refused_in_words(
    plain: dict[str, Any], place: tuple[str | int, ...], value: object, told: str
) -> None:
    with pytest.raises(ManifestError, match=told):
        parse(changed(plain, place, value))


@pytest.mark.parametrize("key", ["inputs", "outputs", "variants"])
def test_a_name_that_stands_twice_is_refused(plain: dict[str, Any], key: str) -> None:
    with pytest.raises(ManifestError, match=f"{key} names one thing twice"):
        parse(changed(plain, (key,), plain[key] * 2))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@given(data=st.data())
def test_one_changed_field_gives_a_manifest_or_a_manifest_error(plain: dict[str, Any], data: st.DataObject) -> None:
    place = data.draw(st.sampled_from(list(places(plain))))
    text = json.dumps(changed(plain, place, data.draw(json_values)))
    found, where = None, "m.json"
    try:
        found = manifest.parse(text, where="m.json")
    except ManifestError as error:
        where = error.where
    assert where == "m.json"
    assert found is None or manifest.parse(found.to_json(), where="x") == found


@pytest.mark.parametrize(
    ("state", "problem"),
    [
        ([("x", "h_out")], "state[0].input is 'x', which is no input of this artifact"),
        ([("input", "y")], "state[0].output is 'y', which is no output of this artifact"),
        (
            [("input", "output")],
            "state[0] takes float32[batch, 13] and gives float32[batch, 1], which are not the same",
        ),
        ([("input", "same")] * 2, "state[0].input is 'input', which is there twice"),
        ([("input", "same"), ("other", "same")], "state[0].output is 'same', which is there twice"),
        ([("whole", "same")], "state[0] takes int64[batch, 13] and gives float32[batch, 13], which are not the same"),
    ],
)
def test_state_that_cannot_be_carried_is_refused(
    plain: dict[str, Any], state: list[tuple[str, str]], problem: str
) -> None:
    (port,) = plain["inputs"]
    document = changed(plain, ("golden",), [])
    document["inputs"] += [port | {"name": "other"}, port | {"name": "whole", "dtype": "int64"}]
    document["outputs"].append(port | {"name": "same"})
    document["state"] = [{"input": one, "output": other} for one, other in state]
    with pytest.raises(ManifestError) as refused:
        parse(document)
    assert refused.value.what == problem
