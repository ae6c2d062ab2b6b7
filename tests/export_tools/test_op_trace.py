import inspect
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from export_tools.op_trace import Call, Operation, OpTrace, departure, place_in_user_code

Forward = Callable[[Tensor], Tensor]
ONES = torch.ones(3)


def traced(forward: Forward, x: Tensor) -> list[Operation]:
    with torch.no_grad(), OpTrace() as trace:
        forward(x)
    operations: list[Operation] = trace.operations
    return operations


def place(forward: Forward, line: int) -> str:
    return f"test_op_trace.py:{inspect.getsourcelines(forward)[1] + line}"


def decides(x: Tensor) -> Tensor:
    x = x + 1
    if x.sum() > 0:
        return x * 2
    return -x


def loops(x: Tensor) -> Tensor:
    while x.max() > 1:
        x = x / 2
    return x


def counts(x: Tensor) -> Tensor:
    picked = x[x > 0]
    if picked.shape[0] > 1:
        return picked.sum()
    return x.max()


def scales(x: Tensor) -> Tensor:
    top = float(x.max())
    return x * top


def chooses(x: Tensor) -> Tensor:
    found: Tensor = torch.cond(x.sum() > 0, lambda x: x * 2, lambda x: -x, (x,))
    return found


def test_operators_are_told_with_the_line_that_called_them() -> None:
    assert [(operation.kind, operation.place, operation.reads) for operation in traced(decides, ONES)] == [
        ("aten.add.Tensor", place(decides, 1), False),
        ("aten.sum.default", place(decides, 2), False),
        ("aten.gt.Scalar", place(decides, 2), False),
        ("aten._local_scalar_dense.default", place(decides, 2), True),
        ("aten.mul.Tensor", place(decides, 3), False),
    ]


@pytest.mark.parametrize(("forward", "line"), [(decides, 2), (loops, 1), (counts, 1)])
def test_two_paths_part_at_the_line_that_read_a_value(forward: Forward, line: int) -> None:
    one, other = traced(forward, ONES * 4), traced(forward, ONES * -4)
    assert departure(one, other) == departure(other, one) == place(forward, line)
    assert departure(one, traced(forward, ONES * 3)) is None


def test_a_path_that_goes_on_further_departs_too() -> None:
    one = traced(decides, ONES)
    assert departure(one, one[:-1]) == place(decides, 2)


def test_a_number_that_python_read_is_told_when_it_is_asked_for() -> None:
    one, other = traced(scales, ONES), traced(scales, ONES * 2)
    assert departure(one, other) is None
    assert departure(one, other, numbers=True) == place(scales, 1)
    assert departure(one, traced(scales, ONES), numbers=True) is None


def test_torch_cond_is_one_operator_and_still_works_afterwards() -> None:
    one, other = traced(chooses, ONES), traced(chooses, -ONES)
    assert [operation.kind for operation in one] == ["aten.sum.default", "aten.gt.Scalar", "cond"]
    assert departure(one, other) is None
    assert chooses(ONES).tolist() == [2, 2, 2]


def test_what_goes_in_and_out_is_told_by_the_names_of_the_operator() -> None:
    seen: list[Call] = []
    with OpTrace(seen.append):
        torch.topk(ONES, 2)
    (call,) = seen
    assert [tensor.tolist() for tensor in call.given] == [[1, 1, 1]]
    assert [tensor.numel() for tensor in call.results] == [2, 2]
    assert {name: call.arguments[name] for name in ("k", "dim", "largest")} == {"k": 2, "dim": -1, "largest": True}


def test_an_exception_is_placed_at_the_users_line_and_by_its_cause() -> None:
    def fails(x: Tensor) -> Tensor:
        return x @ torch.ones(7)

    with pytest.raises(RuntimeError) as caught:
        fails(ONES)
    outer = ValueError("an exporter failed")
    outer.__cause__ = caught.value
    assert place_in_user_code(outer) == place(fails, 1)
    assert place_in_user_code(ValueError("never raised")) is None
