"""The text of --preprocess becomes checked steps, from flags and from TOML; whatever can't be meant is refused."""

import contextlib
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.errors import EdgeError, InputError, UsageError
from export_tools.preprocess import EXAMPLE, FORMS, METHODS, Preprocess, parse, parse_one

FULL = Preprocess(
    input="image",
    form="uint8-hwc-rgb",
    size=(224, 224),
    method="bilinear",
    scale=Fraction(1, 255),
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)


def test_a_flag_is_read_with_all_its_steps() -> None:
    assert parse_one(EXAMPLE) == FULL


def test_what_is_not_said_is_torchvisions_convention() -> None:
    plain = parse_one("image:uint8-hwc-rgb")
    assert (plain.size, plain.scale, plain.mean, plain.std) == (None, Fraction(1, 255), (0.0,), (1.0,))
    assert parse_one("audio:int16-mono").scale == Fraction(1, 32768)
    assert parse_one("image:uint8-hwc-rgb,resize=8x9").method == "bilinear"


def test_an_inputs_name_may_hold_a_colon() -> None:
    assert parse_one("a:0:uint8-hw-gray").input == "a:0"


@given(
    form=st.sampled_from(sorted(FORMS)),
    method=st.sampled_from(METHODS),
    size=st.none() | st.tuples(st.integers(1, 500), st.integers(1, 500)),
    scale=st.fractions(min_value=Fraction(1, 10**6), max_value=10**6),
    mean=st.floats(-1e6, 1e6),
    std=st.floats(1e-6, 1e6),
)
def test_steps_read_back_from_their_text(form: str, size: Any, mean: float, std: float, **more: Any) -> None:
    size, method = (None, METHODS[0]) if form == "int16-mono" or size is None else (size, more["method"])
    step = Preprocess(input="x", form=form, size=size, method=method, scale=more["scale"], mean=(mean,), std=(std,))
    assert parse_one(str(step)) == step


@given(st.text(max_size=40) | st.text("image:uint8-hwc-rgb,resize=4x4mean/.0std", max_size=60))
def test_any_other_text_is_a_usage_error(text: str) -> None:
    with contextlib.suppress(UsageError):
        assert isinstance(parse_one(text), Preprocess)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("image", "says nothing of an input"),
        ("image:uint8", "'uint8' for 'image'"),
        (":uint8-hwc-rgb", "for ''"),
        ("image:uint8-hwc-rgb,crop=3", "unknown step 'crop'"),
        ("image:uint8-hwc-rgb,0.5", "unknown step ''"),
        ("image:uint8-hwc-rgb,resize=224", "resize=224"),
        ("image:uint8-hwc-rgb,resize=0x5", "resize to 0x5"),
        ("image:uint8-hwc-rgb,resize=99999x5", "resize to 99999x5"),
        ("image:uint8-hwc-rgb,resize=5x5:cubic", "no resizing 'cubic'"),
        ("image:uint8-hwc-rgb,mean=0.5,0.5", "mean has 2 values"),
        ("image:uint8-hw-gray,std=1,1,1", "std has 3 values"),
        ("image:uint8-hwc-rgb,mean=a", "a number that is none"),
        ("image:uint8-hwc-rgb,mean=nan", "mean is no finite number"),
        ("image:uint8-hwc-rgb,std=0", "std and scale"),
        ("image:uint8-hwc-rgb,scale=1/0", "a number that is none"),
        ("image:uint8-hwc-rgb,scale=-1", "std and scale"),
        ("image:uint8-hwc-rgb,mean=0,mean=1", "mean is there twice"),
        ("audio:int16-mono,resize=5x5", "sound can't be resized"),
    ],
)
def test_steps_that_cannot_be_meant_are_refused(text: str, problem: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_one(text)
    assert problem in refused.value.what


def test_one_input_is_preprocessed_once() -> None:
    with pytest.raises(UsageError, match="'a' is preprocessed twice"):
        parse(["a:int16-mono", "a:uint8-hw-gray"])


def test_a_toml_file_says_the_same_as_the_flag(tmp_path: Path) -> None:
    (tmp_path / "steps.toml").write_text(
        '[image]\nform = "uint8-hwc-rgb"\nresize = "224x224:bilinear"\nscale = "1/255"\n'
        'mean = [0.485, 0.456, 0.406]\nstd = [0.229, 0.224, 0.225]\n[audio]\nform = "int16-mono"\n'
    )
    assert parse([str(tmp_path / "steps.toml")]) == (FULL, parse_one("audio:int16-mono"))


@pytest.mark.parametrize(
    ("text", "kind", "problem"),
    [
        ("[image", InputError, "no TOML"),
        ("image = 3", UsageError, "image is no table"),
        ("[image]\nresize = '4x4'", UsageError, "'' for 'image'"),
        ("[image]\nform = 'uint8-hwc-rgb'\nmean = [[1]]", UsageError, "a number that is none"),
    ],
)
def test_a_file_that_says_something_else_is_refused(
    tmp_path: Path, text: str, kind: type[EdgeError], problem: str
) -> None:
    (tmp_path / "steps.toml").write_text(text)
    with pytest.raises(kind) as refused:
        parse([str(tmp_path / "steps.toml")])
    assert problem in refused.value.what


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        parse([str(tmp_path / "none.toml")])
    assert "none.toml" in str(refused.value)


def test_the_meaning_is_in_words() -> None:
    assert FULL.meaning == (
        "uint8 RGB image, height × width × 3; resized to 224×224, bilinear; times 1/255; "
        "mean 0.485, 0.456, 0.406; std 0.229, 0.224, 0.225"
    )
    smooth = replace(FULL, method="bilinear-antialias", mean=(0.0,), std=(1.0,))
    assert smooth.meaning.endswith("resized to 224×224, bilinear with antialias; times 1/255")
    assert parse_one("a:int16-mono").meaning == "int16 samples of one channel of sound; times 1/32768"


@pytest.mark.parametrize(("method", "opset"), [("bilinear", 11), ("nearest", 11), ("bilinear-antialias", 18)])
def test_a_resize_knows_the_opset_that_it_takes(method: str, opset: int) -> None:
    assert replace(FULL, method=method).least_opset == opset
    assert replace(FULL, size=None).least_opset == 1


def test_values_are_all_that_the_dtype_holds() -> None:
    assert parse_one("a:uint8-hw-gray").values == (0, 255)
    assert parse_one("a:int16-mono").values == (-32768, 32767)


@pytest.mark.parametrize(
    ("form", "dtype", "shape", "fits"),
    [
        ("uint8-hwc-rgb", "uint8", (4, 5, 3), True),
        ("uint8-hwc-rgb", "uint8", (4, 5, 1), False),
        ("uint8-hwc-rgb", "uint8", (1, 4, 5, 3), False),
        ("uint8-hwc-rgb", "float32", (4, 5, 3), False),
        ("uint8-nhwc-bgr", "uint8", (1, 4, 5, 3), True),
        ("uint8-hw-gray", "uint8", (4, 5), True),
        ("int16-mono", "int16", (1, 2, 16), True),
        ("int16-mono", "float32", (16,), False),
    ],
)
def test_an_example_in_another_form_is_refused(form: str, dtype: str, shape: tuple[int, ...], fits: bool) -> None:
    step = parse_one(f"x:{form}")
    if fits:
        step.refuse_unlike(dtype, shape, "here")
        return
    with pytest.raises(InputError, match=f"--preprocess says {form}"):
        step.refuse_unlike(dtype, shape, "here")
