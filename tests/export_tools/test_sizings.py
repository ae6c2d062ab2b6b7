from collections.abc import Mapping
from itertools import combinations
from math import prod

import pytest

from export_tools.request import parse_dynamic
from export_tools.sizings import MAX_CASE_ELEMENTS, MAX_ELEMENTS, plan


def product(sizes: Mapping[str, int]) -> int:
    return prod(sizes.values())


def test_every_pair_of_sizes_of_two_dimensions_appears_and_not_the_full_product() -> None:
    axes = [parse_dynamic(f"x:{axis}={name}") for axis, name in enumerate("abcd")]
    rows = plan(axes, dict.fromkeys("abcd", 2), product).rows
    wanted = (1, 2, 7, 33, 130)
    for one, other in combinations("abcd", 2):
        assert {(row[one], row[other]) for row in rows} == {(a, b) for a in wanted for b in wanted}
    assert len(rows) <= 40


def test_one_dimension_goes_through_its_sizes_with_the_least_and_the_maximum() -> None:
    axes = [parse_dynamic("x:0=n:3..50")]
    assert [row["n"] for row in plan(axes, {"n": 8}, product).rows] == [3, 4, 5, 7, 17, 50]


def test_sizes_that_are_too_large_are_left_out_and_told() -> None:
    axes = [parse_dynamic(f"x:{axis}={name}:1..8192") for axis, name in enumerate("hw")]
    planned = plan(axes, {"h": 8, "w": 8}, product)
    assert max(product(row) for row in planned.rows) <= MAX_CASE_ELEMENTS
    assert {row["h"] for row in planned.rows} == {row["w"] for row in planned.rows} == {1, 2, 7, 17, 8192}
    (told,) = planned.told
    assert told.startswith("1 combinations of sizes are left out for being too large, up to h=8192, w=8192 (67,108,864")


def test_all_sizes_together_stay_within_a_budget_and_the_largest_of_each_goes_first() -> None:
    axes = [parse_dynamic("x:0=batch:1..64"), parse_dynamic("x:1=n:1..64")]
    planned = plan(axes, {"batch": 2, "n": 2}, lambda sizes: product(sizes) * 200_000)
    assert sum(product(row) * 200_000 for row in planned.rows) <= MAX_ELEMENTS
    assert {"batch": 64, "n": 1} in planned.rows
    assert {"batch": 1, "n": 64} in planned.rows
    assert len(planned.told) == 1


@pytest.mark.parametrize("count", [1, 3])
def test_the_same_request_gives_the_same_rows(count: int) -> None:
    axes = [parse_dynamic(f"x:{axis}=d{axis}") for axis in range(count)]
    shown = {axis.name: 4 for axis in axes}
    assert plan(axes, shown, product) == plan(axes, shown, product)
