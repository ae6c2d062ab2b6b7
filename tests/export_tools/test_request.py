from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.errors import EdgeError, UsageError
from export_tools.errors import SourceError
from export_tools.request import (
    DynamicAxis,
    ExportRequest,
    SourceSpec,
    TensorSpec,
    parse_dynamic,
    parse_dynamic_mapping,
    parse_example,
    parse_range,
)


def asked(**changes: Any) -> ExportRequest:
    given: dict[str, Any] = {
        "source": SourceSpec(entry="a.py:b"),
        "output": Path("a.edge"),
        "name": "a",
        "origin": "a.py:b",
    }
    return ExportRequest(**{**given, **changes})


@pytest.mark.parametrize(
    ("text", "axis"),
    [
        ("image:0=batch", DynamicAxis(input="image", axis=0, name="batch")),
        ("image:2=h:32..512", DynamicAxis(input="image", axis=2, name="h", low=32, high=512)),
        ("input.1:3=w:32..512/32", DynamicAxis(input="input.1", axis=3, name="w", low=32, high=512, step=32)),
    ],
)
def test_a_dynamic_axis_is_read_with_its_range_and_step(text: str, axis: DynamicAxis) -> None:
    assert parse_dynamic(text) == axis


@pytest.mark.parametrize(
    "text",
    [
        "",
        "image",
        "image:0",
        "image:x=batch",
        "image:0=",
        "image:0=a-b",
        "image:0=b:1",
        "image:0=b:0..4",
        "image:0=b:8..4",
        "image:0=b:3..8/2",
        "image:0=b:2..9/2",
        "image:0=b:2..8/0",
    ],
)
def test_a_dynamic_axis_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_dynamic(text)
    assert caught.value.exit_code == 2


def test_a_mapping_says_the_same_as_the_flags() -> None:
    assert parse_dynamic_mapping({"image": {0: "batch", 2: "h:2..8/2"}}) == (
        parse_dynamic("image:0=batch"),
        parse_dynamic("image:2=h:2..8/2"),
    )


@pytest.mark.parametrize(("size", "allowed"), [(1, False), (2, True), (3, False), (8, True), (10, False)])
def test_a_range_and_its_step_say_which_sizes_are_valid(size: int, allowed: bool) -> None:
    assert parse_dynamic("x:0=n:2..8/2").allows(size) is allowed


def test_an_example_is_described_for_each_input_or_is_a_file() -> None:
    assert parse_example(["image=1x3x8x8:float32", "t=scalar:int64"]) == (
        TensorSpec(name="image", shape=(1, 3, 8, 8), dtype="float32"),
        TensorSpec(name="t", shape=(), dtype="int64"),
    )
    assert parse_example(["some where/x.npz"]) == Path("some where/x.npz")
    assert parse_example([]) is None


@pytest.mark.parametrize(
    "text",
    [
        "image",
        "image=1x3",
        "image=1x3:float31",
        "image=1xx3:float32",
        "=1:float32",
        "image=0x3:float32",
        "image=99999x99999x9:float32",
    ],
)
def test_an_example_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_example([text])


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "../a"},
        {"version": ""},
        {"opset": 6},
        {"opset": 1000},
        {"exporter": "magic"},
        {"timeout_s": 0.0},
        {"timeout_s": float("nan")},
        {"seed": -1},
        {"input_names": ("a", "a")},
        {"input_names": ("a",), "output_names": ("a",)},
        {"input_names": ("a", "")},
        {"dynamic": (parse_dynamic("x:0=n"), parse_dynamic("x:0=m"))},
        {"dynamic": (parse_dynamic("x:0=n"), parse_dynamic("y:0=n:2..8"))},
    ],
)
def test_a_request_that_can_not_be_meant_is_refused_at_birth(changes: dict[str, Any]) -> None:
    assert asked().opset == 18
    with pytest.raises(UsageError):
        asked(**changes)


@pytest.mark.parametrize(
    ("entry", "split", "stem", "origin"),
    [
        ("nets/digits.py:build", ("nets/digits.py", "build"), "digits", "nets/digits.py:build"),
        ("/home/me/digits.py:Net.small", ("/home/me/digits.py", "Net.small"), "digits", "digits.py:Net.small"),
        ("package.models:tiny", ("package.models", "tiny"), "models", "package.models:tiny"),
        ("/home/me/model.pt", None, "model", "model.pt"),
        ("a:b/model.pt", None, "model", "model.pt"),
    ],
)
def test_an_entry_is_split_and_shown_without_this_machines_folders(
    entry: str, split: Any, stem: str, origin: str
) -> None:
    spec = SourceSpec(entry=entry)
    assert (spec.file_and_callable, spec.stem, spec.origin) == (split, stem, origin)


@given(st.text(), st.none() | st.text(), st.booleans(), st.lists(st.text(), max_size=5))
def test_a_spec_comes_back_from_json_as_it_was(entry: str, weights: str | None, trust: bool, paths: list[str]) -> None:
    spec = SourceSpec(entry=entry, weights=weights, trust_pickle=trust, paths=tuple(paths), cwd="/")
    assert SourceSpec.from_json(spec.to_json()) == spec


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["entry", "cwd", "paths"]), inner),
    )
)
def test_any_other_json_is_refused(value: Any) -> None:
    import json  # noqa: PLC0415 - for this one

    with pytest.raises(SourceError):
        SourceSpec.from_json(json.dumps(value))


@given(st.text())
def test_any_text_as_a_flag_is_read_or_refused(text: str) -> None:
    for read in (parse_dynamic, lambda words: parse_example([words])):
        try:
            read(text)
        except EdgeError as error:
            assert error.exit_code == 2  # noqa: PT017 - both outcomes are right


@pytest.mark.parametrize(
    ("text", "ends"),
    [("image=0..1", (0, 1)), ("a=b=-1.5..+2e3", (-1.5, 2000)), ("ids=.5..30521", (0.5, 30521)), ("x=0..0", (0, 0))],
)
def test_a_range_of_values_is_two_numbers(text: str, ends: tuple[float, float]) -> None:
    found = parse_range(text)
    assert (found.input, (found.low, found.high)) == (text.rpartition("=")[0], ends)


@pytest.mark.parametrize(
    "text", ["image", "image=", "image=0", "image=1..0", "=0..1", "x=nan..1", "x=0..inf", "x=1e999..1"]
)
def test_what_is_no_range_of_values_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_range(text)


def test_one_input_has_one_range(tmp_path: Path) -> None:
    twice = (parse_range("x=0..1"), parse_range("x=0..2"))
    with pytest.raises(UsageError, match="x has two ranges"):
        ExportRequest(source=SourceSpec(entry="a.py:b"), output=tmp_path, name="a", origin="a", ranges=twice)


@pytest.mark.parametrize("stage", ["trace", "convert", "check", "verify", "package"])
def test_a_stage_that_makes_or_proves_the_artifact_is_never_skipped(stage: str) -> None:
    with pytest.raises(UsageError, match=f"'{stage}' is needed: an unverified artifact is no artifact"):
        asked(skip=("strip", stage))


def test_only_stages_can_be_skipped() -> None:
    assert asked(skip=("strip", "goldens")).skip == ("strip", "goldens")
    with pytest.raises(UsageError, match="'lint' is no stage"):
        asked(skip=("lint",))
