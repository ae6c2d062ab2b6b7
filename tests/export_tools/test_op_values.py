import torch
from torch import Tensor

from export_tools.op_values import watched


def test_each_result_is_told_with_what_it_came_of_and_the_range_it_was_made_from() -> None:
    def forward(x: Tensor) -> Tensor:
        weights = torch.ones(3).neg()  # depends on no input: not a value of interest
        doubled = x * 2
        return doubled + weights + x

    values, outputs = watched(lambda tensors: [forward(*tensors)], [torch.tensor([1.0, -4.0, 2.0])])
    assert [(value.kind, value.parents, value.low, value.high) for value in values] == [
        ("aten.mul.Tensor", (-1,), -4, 2),
        ("aten.add.Tensor", (0,), -8, 4),
        ("aten.add.Tensor", (-1, 1), -9, 3),
    ]
    assert values[2].print.sample.tolist() == [2, -13, 5]
    assert values[0].place.startswith("test_op_values.py:")
    assert outputs == [2]


def test_a_change_in_place_is_a_value_that_later_ones_come_of() -> None:
    def forward(x: Tensor) -> Tensor:
        copy = x.clone()
        copy[:, 0] = 7
        return copy.sum()

    values, outputs = watched(lambda tensors: [forward(*tensors)], [torch.ones(2, 2)])
    assert [(value.kind.split(".")[1], value.parents) for value in values] == [
        ("clone", (-1,)),
        ("select", (0,)),
        ("fill_", (1,)),
        ("sum", (0, 2)),
    ]
    assert outputs == [3]


def test_an_output_that_depends_on_no_input_has_no_value() -> None:
    _, outputs = watched(lambda tensors: [torch.ones(1), tensors[0]], [torch.ones(2)])
    assert outputs == [None, -1]
