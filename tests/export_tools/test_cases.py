from pathlib import Path

import numpy as np
import pytest

from edge_runtime.errors import InputError, UsageError
from edge_runtime.manifest import Port
from export_tools.cases import Case, made_example, make_cases, ports_of, read_data, sizes_of
from export_tools.request import DynamicAxis, TensorSpec, parse_dynamic

EXAMPLE = {
    "x": np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3),
    "ids": np.array([2, 5, 3, 1]),
    "mask": np.ones(4, bool),
}
BATCH = tuple(parse_dynamic(f"{name}:0=batch") for name in EXAMPLE)


def made(dynamic: tuple[DynamicAxis, ...] = BATCH, *, seed: int = 0) -> tuple[Case, ...]:
    return make_cases(EXAMPLE, ports_of(EXAMPLE, dynamic), dynamic, seed=seed)


def test_the_example_comes_first_then_five_kinds_then_the_sizes() -> None:
    assert [case.name for case in made()] == [
        *("real", "normal", "uniform", "zeros", "large", "small"),
        *("batch-1", "batch-2", "batch-3", "batch-7", "batch-17"),
    ]


def test_kinds_differ_in_their_values() -> None:
    cases = {case.name: case.inputs["x"] for case in made()}
    assert not cases["zeros"].any()
    assert cases["uniform"].min() >= 0
    assert cases["normal"].min() < 0
    assert np.abs(cases["large"]).max() > 50
    assert np.abs(cases["small"]).max() < 0.01
    assert {array.dtype for array in cases.values()} == {np.dtype("float32")}


def test_integers_stay_within_what_the_example_shows() -> None:
    values = np.concatenate([case.inputs["ids"] for case in made()])
    assert (values.min(), values.max()) == (0, 5)
    assert {case.inputs["ids"].dtype for case in made()} == {np.dtype("int64")}
    masks = np.concatenate([case.inputs["mask"] for case in made()])
    assert masks.dtype == np.bool_
    assert 0 < masks.mean() < 1


def test_inputs_that_share_a_dimension_always_agree_on_it() -> None:
    for case in made():
        assert {array.shape[0] for array in case.inputs.values()} == {case.sizes.get("batch", 4)}


def test_two_dimensions_are_told_apart_by_some_case() -> None:
    example = {"x": np.ones((2, 2), np.float32)}
    dynamic = (parse_dynamic("x:0=rows"), parse_dynamic("x:1=columns"))
    cases = make_cases(example, ports_of(example, dynamic), dynamic, seed=0)
    shapes = {case.inputs["x"].shape for case in cases if case.sizes}
    assert len({rows for rows, _ in shapes}) == len({columns for _, columns in shapes}) == 5
    assert sum(rows != columns for rows, columns in shapes) >= 8


def test_sizes_respect_the_range_and_its_step() -> None:
    example = {"x": np.ones((4, 3), np.float32)}
    dynamic = (parse_dynamic("x:0=n:4..64/4"),)
    cases = make_cases(example, ports_of(example, dynamic), dynamic, seed=0)
    assert [case.sizes["n"] for case in cases if case.sizes] == [4, 8, 12, 64]
    one = (parse_dynamic("x:0=n:4..4"),)
    assert [case.sizes["n"] for case in make_cases(example, ports_of(example, one), one, seed=0) if case.sizes] == [4]


def test_one_size_is_always_larger_than_what_the_exporter_saw() -> None:
    example = {"x": np.ones((64, 3), np.float32)}
    dynamic = (parse_dynamic("x:0=n"),)
    cases = make_cases(example, ports_of(example, dynamic), dynamic, seed=0)
    assert max(case.inputs["x"].shape[0] for case in cases) == 65
    assert sizes_of(cases, ports_of(example, dynamic)[0]) == (("n", (1, 2, 3, 7, 17, 64, 65)),)
    assert sizes_of(cases, Port(name="x", dtype="float32", shape=(64, 3))) is None


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
    with pytest.raises(UsageError, match="n is 4 and 3 in the example"):
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
    assert [name for name, _ in read_data(tmp_path)] == ["data-a", "data-b"]
    assert [name for name, _ in read_data(tmp_path / "b.npz")] == ["data-b"]
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
    assert make_cases(example, ports, dynamic, seed=0, data=(("data-1", golden),))[-1].inputs.keys() == {"x"}


def test_a_described_example_has_indices_that_every_table_has() -> None:
    example = made_example(
        (TensorSpec(name="x", shape=(2, 3), dtype="float32"), TensorSpec(name="i", shape=(100,), dtype="int64")), seed=0
    )
    assert (example["x"].dtype, example["x"].shape) == (np.dtype("float32"), (2, 3))
    assert set(example["i"].tolist()) == {0, 1}
    with pytest.raises(UsageError, match="described twice"):
        made_example((TensorSpec(name="x", shape=(1,), dtype="bool"),) * 2, seed=0)
