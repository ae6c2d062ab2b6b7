import numpy as np
import pytest

from export_tools.fingerprint import SAMPLES, fingerprint

VALUES = np.random.default_rng(0).standard_normal((3, 1, 40)).astype(np.float32)


def test_a_small_value_is_kept_whole_and_a_large_one_evenly() -> None:
    assert np.array_equal(fingerprint(VALUES).sample, VALUES.ravel())
    large = fingerprint(np.arange(10 * SAMPLES))
    assert (large.sample.size, large.sample[0], large.sample[-1]) == (SAMPLES, 0, 10 * SAMPLES - 1)
    assert fingerprint(np.array([-3, 1])).figures.tolist() == [-3, 1, -1, 2, np.sqrt(5)]


def test_values_are_close_within_a_share_of_the_largest() -> None:
    one = fingerprint(VALUES)
    changed = VALUES.copy()
    changed[1, 0, 7] += 2e-3 * np.abs(VALUES).max()
    assert one.is_close(fingerprint(VALUES * (1 + 1e-4)), 1e-3)
    assert not one.is_close(fingerprint(changed), 1e-3)
    assert one.is_close(fingerprint(changed), 3e-3)


def test_another_shape_of_the_same_values_is_the_same_value_and_another_order_in_the_same_shape_is_not() -> None:
    square = VALUES[:, 0, :3]
    assert fingerprint(VALUES).is_close(fingerprint(VALUES[:, 0].T), 1e-3)
    assert not fingerprint(square).is_close(fingerprint(square.T), 1e-3)
    assert not fingerprint(VALUES).is_close(fingerprint(VALUES[:2]), 1e-3)


@pytest.mark.parametrize(
    "array", [np.zeros((0, 3), np.float32), np.array([np.nan, np.inf, 1]), np.array([True, False])]
)
def test_odd_values_have_a_fingerprint_too(array: np.ndarray) -> None:
    assert fingerprint(array).is_close(fingerprint(array.copy()), 1e-3)
