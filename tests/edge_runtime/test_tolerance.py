import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edge_runtime.tolerance import Tolerance, compare, compare_coarsely, describe, signal_to_noise_db

EXACT = Tolerance(abs=0.0, rel=0.0)
LOOSE = Tolerance(abs=1e-5, rel=1e-3)
floats = hnp.arrays(
    st.sampled_from(["f2", "f4", "f8"]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0),
    elements=st.floats(width=16),
)


@given(floats)
def test_an_array_equals_itself_to_the_bit_nan_and_all(array: np.ndarray) -> None:
    found = compare(array, array.copy(), EXACT)
    assert (found.ok, found.max_abs, found.max_rel, found.ratio, found.problem) == (True, 0.0, 0.0, 0.0, "")


@given(st.data())
def test_an_absolute_tolerance_does_not_care_which_side_is_called_wanted(data: st.DataObject) -> None:
    elements = st.floats(-1e4, 1e4, width=32)
    one = data.draw(hnp.arrays("f4", 5, elements=elements))
    other = data.draw(hnp.arrays("f4", 5, elements=elements))
    limit = Tolerance(abs=data.draw(st.floats(0, 1e4)), rel=0.0)
    there, back = compare(one, other, limit), compare(other, one, limit)
    assert (there.ok, there.max_abs) == (back.ok, back.max_abs)
    assert there.ok == bool(np.all(np.abs(one.astype("f8") - other.astype("f8")) <= limit.abs))


@given(hnp.arrays("f4", 4, elements=st.floats(-1e4, 1e4, width=32)), st.floats(0, 1), st.floats(0, 1))
def test_more_tolerance_never_fails_what_passed(wanted: np.ndarray, small: float, more: float) -> None:
    got = wanted + np.float32(0.25)
    if compare(got, wanted, Tolerance(abs=small, rel=small)).ok:
        assert compare(got, wanted, Tolerance(abs=small + more, rel=small + more)).ok


@given(hnp.arrays("f4", 4, elements=st.floats(-1e4, 1e4, width=32)), st.floats(1e-6, 1))
def test_a_ratio_above_one_is_what_fails(wanted: np.ndarray, limit: float) -> None:
    found = compare(wanted + np.float32(0.125), wanted, Tolerance(abs=limit, rel=0.0))
    assume(abs(found.ratio - 1) > 1e-9)
    assert found.ok == (found.ratio <= 1)


@pytest.mark.parametrize(
    ("got", "wanted"),
    [
        ([np.nan, 1], [1, 1]),
        ([1, 1], [np.nan, 1]),
        ([np.inf, 1], [-np.inf, 1]),
        ([np.inf, 1], [3e38, 1]),
        ([3e38, 1], [np.inf, 1]),
        ([np.nan, 1], [np.inf, 1]),
    ],
)
def test_nan_and_infinity_must_stand_in_the_same_places(got: list[float], wanted: list[float]) -> None:
    found = compare(np.array(got, "f4"), np.array(wanted, "f4"), Tolerance(abs=1e30, rel=1e30))
    assert not found.ok
    assert "at [0]" in found.problem
    assert found.ratio == np.inf


def test_the_worst_element_is_the_one_furthest_over_its_own_allowance() -> None:
    got, wanted = np.array([[100.05, 0.0, 2.0]], "f8"), np.array([[100.0, 0.001, 2.0]], "f8")
    found = compare(got, wanted, LOOSE)
    assert found.index == (0, 1)
    assert found.max_abs == pytest.approx(0.05)
    assert found.max_rel == pytest.approx(0.05 / 100)
    assert found.ratio == pytest.approx(0.001 / (1e-5 + 1e-3 * 0.001))
    assert not found.ok


def test_a_relative_tolerance_alone_judges_outputs_near_zero() -> None:
    wanted = np.array([1e-9, -2e-9], "f4")
    assert not compare(np.zeros(2, "f4"), wanted, Tolerance(abs=0.0, rel=1e-3)).ok
    assert compare(wanted * np.float32(1.0001), wanted, Tolerance(abs=0.0, rel=1e-3)).ok


def test_a_difference_from_all_zeros_has_no_relative_size() -> None:
    found = compare(np.array([1e-7], "f4"), np.zeros(1, "f4"), LOOSE)
    assert (found.ok, found.max_rel) == (True, np.inf)


@pytest.mark.parametrize(
    ("dtype", "got", "wanted", "gap"),
    [
        ("i8", [2**62 + 1, 5], [2**62, 5], 1.0),
        ("i8", [-(2**63), 0], [2**63 - 1, 0], float(2**64 - 1)),
        ("u8", [0, 2], [2**64 - 1, 2], float(2**64 - 1)),
        ("u1", [0, 2], [255, 2], 255.0),
        ("bool", [True, False], [False, False], 1.0),
    ],
)
def test_integers_and_booleans_are_exact_whatever_the_tolerance(
    dtype: str, got: list[int], wanted: list[int], gap: float
) -> None:
    found = compare(np.array(got, dtype), np.array(wanted, dtype), Tolerance(abs=1e30, rel=1e30))
    assert (found.ok, found.max_abs, found.index) == (False, gap, (0,))
    assert compare(np.array(wanted, dtype), np.array(wanted, dtype), EXACT).ok


def test_a_scalar_integer_is_compared_too() -> None:
    assert compare(np.array(-3), np.array(5), EXACT).max_abs == 8.0


def test_the_two_ends_of_a_dtype_are_far_apart_without_a_warning() -> None:
    most = np.array([np.finfo("f8").max])
    assert not compare(-most, most, LOOSE).ok


@pytest.mark.parametrize(
    ("got", "wanted"),
    [(np.zeros(2, "f4"), np.zeros(2, "f8")), (np.zeros(2, "f4"), np.zeros((2, 1), "f4")), (np.zeros(1), np.zeros(()))],
)
def test_another_dtype_or_shape_is_refused_in_words(got: np.ndarray, wanted: np.ndarray) -> None:
    found = compare(got, wanted, Tolerance(abs=1e30, rel=1e30))
    assert (found.ok, found.problem) == (False, f"is {describe(got)}, expected {describe(wanted)}")


def test_nothing_equals_nothing_of_the_same_shape() -> None:
    assert compare(np.zeros((0, 3), "f4"), np.zeros((0, 3), "f4"), EXACT).ok


def test_complex_numbers_are_compared_by_magnitude() -> None:
    wanted = np.array([3 + 4j], "c8")
    assert compare(wanted + np.complex64(1e-6j), wanted, LOOSE).ok
    assert compare(wanted + np.complex64(1), wanted, LOOSE).max_abs == pytest.approx(1.0)


def test_a_tenth_of_the_signal_as_noise_is_20_decibels() -> None:
    wanted = np.array([3.0, -4.0], "f4")
    assert signal_to_noise_db(wanted * 1.1, wanted) == pytest.approx(20, abs=1e-4)
    assert signal_to_noise_db(wanted, wanted) == float("inf")
    assert signal_to_noise_db(np.array([0.0, np.nan], "f4"), wanted) == float("-inf")
    assert signal_to_noise_db(wanted, np.zeros(2, "f4")) == float("-inf")


def test_few_bits_pass_by_their_signal_to_noise_ratio_and_integers_must_agree() -> None:
    wanted = np.array([3.0, -4.0], "f4")
    good, bad = (compare_coarsely(wanted * factor, wanted, EXACT, least_snr_db=20) for factor in (1.09, 1.11))
    assert (good.ok, good.problem) == (True, "")
    assert good.ratio < 1 < bad.ratio
    assert bad.problem == "has a signal-to-noise ratio of 19.2 dB, at least 20 are asked"
    assert not bad.ok
    other_class = compare_coarsely(np.array([3]), np.array([4]), LOOSE, least_snr_db=0)
    assert not other_class.ok
    assert not compare_coarsely(wanted[:1], wanted, LOOSE, least_snr_db=0).ok
