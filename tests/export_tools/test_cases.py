from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.errors import InputError, UsageError
from edge_runtime.manifest import Port
from export_tools.cases import Case, made_example, make_cases, ports_of, read_data, sizes_of
from export_tools.request import DynamicAxis, TensorSpec, ValueRange, parse_dynamic

EXAMPLE = {
    "x": np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3),
    "ids": np.array([2, 5, 3, 1]),
    "mask": np.ones(4, bool),
}
BATCH = tuple(parse_dynamic(f"{name}:0=batch") for name in EXAMPLE)


def made(dynamic: tuple[DynamicAxis, ...] = BATCH, *, seed: int = 0) -> tuple[Case, ...]:
    return make_cases(EXAMPLE, ports_of(EXAMPLE, dynamic), dynamic, seed=seed)[0]


def sizes(example: dict[str, np.ndarray], *flags: str) -> list[Mapping[str, int]]:
    dynamic = tuple(parse_dynamic(flag) for flag in flags)
    return [case.sizes for case in make_cases(example, ports_of(example, dynamic), dynamic, seed=0)[0] if case.sizes]


def test_the_example_comes_first_then_six_kinds_then_the_sizes() -> None:
    assert [case.name for case in made()] == [
        *("real", "normal", "uniform", "zeros", "ones", "large", "small"),
        *(f"size-batch-{size}" for size in (1, 2, 3, 7, 17, 33, 130)),
    ]


def test_kinds_differ_in_their_values() -> None:
    cases = {case.name: case.inputs["x"] for case in made()}
    assert not cases["zeros"].any()
    assert (cases["ones"] == 1).all()
    assert cases["uniform"].min() >= 0
    assert cases["normal"].min() < 0
    assert np.abs(cases["large"]).max() > 50
    assert np.abs(cases["small"]).max() < 0.01
    assert {array.dtype for array in cases.values()} == {np.dtype("float32")}


def test_integers_stay_within_what_the_example_shows_but_for_two_cases() -> None:
    wider = {"uniform": 9, "large": 500}
    values = np.concatenate([case.inputs["ids"] for case in made() if case.name not in wider])
    assert (values.min(), values.max()) == (0, 5)
    for case in made():
        assert case.inputs["ids"].max() <= wider.get(case.name, 5)
    large = next(case for case in made() if case.name == "large")
    assert large.inputs["ids"].max() > 9
    assert {case.inputs["ids"].dtype for case in made()} == {np.dtype("int64")}
    by_name = {case.name: case.inputs["mask"] for case in made()}
    assert not by_name["zeros"].any()
    assert by_name["ones"].all()
    masks = np.concatenate([case.inputs["mask"] for case in made()])
    assert masks.dtype == np.bool_
    assert 0 < masks.mean() < 1


def test_inputs_that_share_a_dimension_always_agree_on_it() -> None:
    for case in made():
        assert {array.shape[0] for array in case.inputs.values()} == {case.sizes.get("batch", 4)}


def test_sizes_respect_the_range_and_its_step() -> None:
    example = {"x": np.ones((4, 3), np.float32)}
    assert sizes(example, "x:0=n:4..64/4") == [{"n": size} for size in (4, 8, 12, 64)]
    assert sizes(example, "x:0=n:4..4") == [{"n": 4}]


def test_one_size_is_always_larger_than_what_the_exporter_saw() -> None:
    example = {"x": np.ones((64, 3), np.float32)}
    dynamic = (parse_dynamic("x:0=n"),)
    ports = ports_of(example, dynamic)
    cases, _ = make_cases(example, ports, dynamic, seed=0)
    assert sizes_of(cases, ports[0]) == (("n", (1, 2, 3, 7, 17, 33, 64, 130)),)
    assert sizes(example, "x:0=n:1..100")[-1] == {"n": 100}
    # 130 of these would take 50 MB a case
    assert sizes({"x": np.ones((4, 1000, 100), np.float32)}, "x:0=n")[-1] == {"n": 17}
    assert sizes_of(cases, Port(name="x", dtype="float32", shape=(64, 3))) is None


def test_a_case_of_several_dimensions_is_named_by_its_sizes() -> None:
    example, dynamic = {"x": np.ones((2, 2), np.float32)}, (parse_dynamic("x:0=rows"), parse_dynamic("x:1=columns"))
    cases, _ = make_cases(example, ports_of(example, dynamic), dynamic, seed=0)
    found = {case.name: case.inputs["x"].shape for case in cases if case.sizes}
    assert found["sizes-1x130"] == (1, 130)
    assert len(found) == 25


RANGES = (
    ValueRange(input="x", low=0, high=1),
    ValueRange(input="ids", low=-2, high=30521),
)


def test_values_stay_within_the_declared_range_and_reach_both_of_its_ends() -> None:
    example = {**EXAMPLE, "x": abs(EXAMPLE["x"])}
    ports = ports_of(example, BATCH, RANGES)
    assert [port.ranges for port in ports] == [(0, 1), (-2, 30521), None]
    cases = {case.name: case.inputs for case in make_cases(example, ports, BATCH, seed=0)[0]}
    assert list(cases)[7:10] == ["low", "high", "alternating"]
    floats, integers = ({name: case[port] for name, case in cases.items()} for port in ("x", "ids"))
    assert all(0 <= array.min() <= array.max() <= 1 for array in floats.values())
    assert all(-2 <= array.min() <= array.max() <= 30521 for array in integers.values())
    assert {(array == 0).all() for array in (floats["low"], floats["zeros"])} == {True}
    assert {(array == 1).all() for array in (floats["high"], floats["ones"])} == {True}
    assert floats["alternating"].ravel()[:3].tolist() == [0, 1, 0]
    assert (integers["uniform"].min(), integers["uniform"].max()) == (-2, 30521)
    assert integers["alternating"].tolist() == [-2, 30521] * 2
    assert integers["size-batch-130"].max() > 1000
    assert not cases["low"]["mask"].any()
    assert cases["high"]["mask"].all()
    assert 0 < floats["small"].max() < 0.01
    assert 0.3 < floats["normal"].mean() < 0.7


def test_a_range_without_zero_has_no_case_of_zeros() -> None:
    example, given = {"x": np.full(4, 2.5, np.float32)}, (ValueRange(input="x", low=2, high=3),)
    cases, _ = make_cases(example, ports_of(example, (), given), (), seed=0)
    assert {case.name: case.inputs["x"].tolist() for case in cases}["zeros"] == [2.0] * 4


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (ValueRange(input="y", low=0, high=1), "no input 'y'"),
        (ValueRange(input="mask", low=0, high=1), "boolean"),
        (ValueRange(input="ids", low=0.5, high=7), "int64, which can't be that"),
        (ValueRange(input="ids", low=0, high=1e30), "int64, which can't be that"),
        (ValueRange(input="x", low=0, high=1e39), "float32, which can't be that"),
        (ValueRange(input="x", low=0, high=1), r"the example has x from -1 to 1, outside of 0\.\.1"),
    ],
)
def test_a_range_that_its_input_can_not_have_is_refused(given: ValueRange, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        ports_of(EXAMPLE, (), (given,))


def test_data_outside_of_the_declared_range_is_refused() -> None:
    example, given = {"x": np.ones(4, np.float32)}, (ValueRange(input="x", low=0, high=1),)
    with pytest.raises(UsageError, match=r"the data has x from 255 to 255, outside of 0\.\.1"):
        make_cases(
            example,
            ports_of(example, (), given),
            (),
            seed=0,
            data=(("data-0-photo", {"x": np.full(4, 255, np.float32)}),),
        )


def test_the_same_seed_gives_the_same_cases() -> None:
    same, again, other = made(seed=1), made(seed=1), made(seed=2)
    assert all(np.array_equal(one.inputs["x"], two.inputs["x"]) for one, two in zip(same, again, strict=True))
    assert not np.array_equal(same[1].inputs["x"], other[1].inputs["x"])


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("y:0=n", "no input 'y'"),
        ("x:2=n", "x has no axis 2"),
        ("x:0=n:8..16", "outside of 8..16"),
        ("x:0=n:8..16/8", "in steps of 8"),
    ],
)
def test_axes_that_do_not_fit_the_example_are_refused(flag: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        ports_of(EXAMPLE, (parse_dynamic(flag),))


def test_one_name_for_two_sizes_is_refused() -> None:
    with pytest.raises(UsageError, match="n is 4 in the example at x:0, and 3 at x:1"):
        ports_of(EXAMPLE, (parse_dynamic("x:0=n"), parse_dynamic("x:1=n")))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_prove_nothing_are_refused(value: float, tmp_path: Path) -> None:
    odd = np.full((4, 3), value, np.float32)
    with pytest.raises(InputError, match="NaN or infinities"):
        ports_of({"x": odd}, ())
    with pytest.raises(InputError, match="NaN or infinities"):
        make_cases(EXAMPLE, ports_of(EXAMPLE, ()), (), seed=0, data=(("data-odd", {**EXAMPLE, "x": odd}),))


def test_data_is_one_case_a_file_by_name(tmp_path: Path) -> None:
    for name in ("b", "a"):
        np.savez(tmp_path / f"{name}.npz", x=np.ones(1, np.float32))
    assert [name for name, _ in read_data(tmp_path)] == ["data-0-a", "data-1-b"]
    assert [name for name, _ in read_data(tmp_path / "b.npz")] == ["data-0-b"]
    np.savez(tmp_path / "a:b?.npz", x=np.ones(1, np.float32))
    assert [name for name, _ in read_data(tmp_path)][1] == "data-1-a_b_"  # a golden case of this name fits any disk
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no \.npz file in it"):
        read_data(tmp_path / "empty")


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"y": np.ones((2, 3), np.float32)}, "no array 'x'"),
        ({"x": np.ones((2, 3))}, r"x is float64\[2, 3\], the model takes float32\[batch, 3\]"),
        ({"x": np.ones((2, 4), np.float32)}, "x is float32"),
        ({"x": np.ones(3, np.float32)}, "x is float32"),
    ],
)
def test_data_that_does_not_fit_is_refused(arrays: dict[str, np.ndarray], said: str) -> None:
    example, dynamic = {"x": EXAMPLE["x"]}, (parse_dynamic("x:0=batch"),)
    ports = ports_of(example, dynamic)
    with pytest.raises(InputError, match=said):
        make_cases(example, ports, dynamic, seed=0, data=(("data-1", arrays),))
    golden = {"input/x": np.ones((2, 3), np.float32), "output/y": np.ones(1, np.float32)}
    assert make_cases(example, ports, dynamic, seed=0, data=(("data-1", golden),))[0][-1].inputs.keys() == {"x"}


def test_a_described_example_has_indices_that_every_table_has() -> None:
    example = made_example(
        (TensorSpec(name="x", shape=(2, 3), dtype="float32"), TensorSpec(name="i", shape=(100,), dtype="int64")), seed=0
    )
    assert (example["x"].dtype, example["x"].shape) == (np.dtype("float32"), (2, 3))
    assert set(example["i"].tolist()) == {0, 1}
    within = made_example(
        (TensorSpec(name="x", shape=(99,), dtype="float32"), TensorSpec(name="i", shape=(99,), dtype="uint8")),
        seed=0,
        ranges=(ValueRange(input="x", low=5, high=6), ValueRange(input="i", low=200, high=255)),
    )
    assert {5 <= within["x"].min() <= within["x"].max() <= 6, 200 <= within["i"].min() < 256} == {True}
    with pytest.raises(UsageError, match="described twice"):
        made_example((TensorSpec(name="x", shape=(1,), dtype="bool"),) * 2, seed=0)
