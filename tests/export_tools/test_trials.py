from collections.abc import Mapping

import numpy as np

from edge_runtime.manifest import Port
from edge_runtime.npz import Array
from export_tools.cases import ports_of
from export_tools.request import ValueRange, parse_dynamic
from export_tools.trials import SEARCHED, at_sizes, searched, shrink

EXAMPLE = {"x": np.linspace(-1, 1, 24, dtype=np.float32).reshape(4, 6), "ids": np.array([0, 3]), "on": np.ones(2, bool)}
BATCH = (parse_dynamic("x:0=batch:2..64/2"),)
PORTS = ports_of(EXAMPLE, BATCH)


def test_searched_inputs_are_of_other_styles_and_sizes_and_the_same_every_time() -> None:
    found, again = (list(searched(EXAMPLE, PORTS, BATCH, seed=3)) for _ in range(2))
    assert [case.name for case in found] == [f"search-{index}" for index in range(SEARCHED)]
    assert all(np.array_equal(one.inputs["x"], other.inputs["x"]) for one, other in zip(found, again, strict=True))
    sizes = {case.inputs["x"].shape[0] for case in found}
    assert len(sizes) > 4
    assert all(2 <= size <= 64 and size % 2 == 0 for size in sizes)
    floats = [case.inputs["x"] for case in found]
    assert max(np.abs(x).max() for x in floats) > 10
    assert any((x == 0).mean() > 0.5 for x in floats)
    assert any((x == x.flat[0]).all() for x in floats)
    assert all(0 <= case.inputs["ids"].min() <= case.inputs["ids"].max() <= 3 for case in found)


def test_searched_values_stay_within_what_was_declared() -> None:
    ranges = (ValueRange(input="x", low=-1, high=2), ValueRange(input="ids", low=0, high=30521))
    ports = ports_of(EXAMPLE, BATCH, ranges)
    found = [case.inputs for case in searched(EXAMPLE, ports, BATCH, seed=0)]
    assert all(-1 <= inputs["x"].min() <= inputs["x"].max() <= 2 for inputs in found)
    assert max(inputs["ids"].max() for inputs in found) > 10_000


def test_sizes_that_a_forward_decides_by_are_tried_with_their_neighbours_as_allowed() -> None:
    many = (parse_dynamic("x:0=batch:2..640/2"),)
    found = list(at_sizes(EXAMPLE, PORTS, many, [2, 30, 641], seed=0))
    assert [case.name for case in found] == [f"decisive-batch-{size}" for size in (2, 4, 28, 30, 32)]
    assert [case.inputs["x"].shape for case in found] == [(size, 6) for size in (2, 4, 28, 30, 32)]
    assert found[0].sizes == {"batch": 2}
    assert list(at_sizes(EXAMPLE, PORTS, many, [], seed=0)) == []
    assert list(at_sizes(EXAMPLE, PORTS, (parse_dynamic("x:0=batch"),), [10**9], seed=0)) == []


def test_every_size_is_tried_where_they_are_few_and_cheap() -> None:
    found = list(at_sizes(EXAMPLE, PORTS, BATCH, [], seed=0))
    assert [case.inputs["x"].shape[0] for case in found] == list(range(2, 65, 2))
    large = {**EXAMPLE, "x": np.zeros((4, 1 << 16), np.float32)}
    assert list(at_sizes(large, ports_of(large, BATCH), BATCH, [], seed=0)) == []


def test_a_large_network_is_searched_less() -> None:
    large = {"x": np.zeros((4, 1 << 19), np.float32)}
    assert len(list(searched(large, (Port(name="x", dtype="float32", shape=(4, 1 << 19)),), (), seed=0))) == 4


def shrunk(fails: str, *, budget: int = 200) -> tuple[dict[str, Array], int]:
    tried: list[Mapping[str, Array]] = []

    def check(inputs: Mapping[str, Array]) -> bool:
        tried.append(inputs)
        return bool(eval(fails, {"x": inputs["x"], "ids": inputs["ids"]}))

    found = shrink(EXAMPLE, PORTS, BATCH, check, budget=budget)
    return found, len(tried)


def test_a_failing_input_gets_smaller_emptier_and_simpler() -> None:
    found, _ = shrunk("x.max() > 0.3 or ids.max() > 9")
    assert found["x"].shape[0] == 4  # its largest values are in the last row
    assert np.count_nonzero(found["x"]) == 1
    assert found["x"].max() == 1
    assert not found["ids"].any()
    assert not found["on"].any()
    found, _ = shrunk("x.shape[0] >= 2 and x.min() < -0.9")
    assert found["x"].shape == (2, 6)
    assert sorted(set(found["x"].ravel().tolist())) == [-1, 0]


def test_shrinking_ends_with_its_budget_and_never_loses_the_failure() -> None:
    found, tried = shrunk("x.sum() != 0 or x.max() > 0", budget=5)
    assert tried == 5
    assert found["x"].any()
    kept, _ = shrunk("False")
    assert all(np.array_equal(kept[name], EXAMPLE[name]) for name in EXAMPLE)


def test_what_is_left_out_becomes_the_end_of_the_range() -> None:
    ports = ports_of({"x": EXAMPLE["x"] + 4}, (), (ValueRange(input="x", low=2, high=6),))
    found = shrink({"x": EXAMPLE["x"] + 4}, ports, (), lambda inputs: inputs["x"].max() > 4.5)
    assert found["x"].min() == 2
    assert found["x"].max() == 5
