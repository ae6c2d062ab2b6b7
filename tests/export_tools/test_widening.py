"""A dimension of one in the example is traced at another size: exporters take one for a dimension that broadcasts."""

import pytest
import torch

from export_tools.exporting import widened
from export_tools.request import parse_dynamic


@pytest.mark.parametrize(
    ("axis", "shape"),
    [
        ("x:0=batch", (2, 1, 3)),
        ("x:1=length:1..8", (1, 2, 3)),
        ("x:0=batch:1..1", (1, 1, 3)),  # the only size it may have
        ("x:2=wide", (1, 1, 3)),  # as it is in the example
        ("other:0=batch", (1, 1, 3)),
    ],
)
def test_a_dynamic_dimension_of_one_is_traced_at_two_where_it_may_be(axis: str, shape: tuple[int, ...]) -> None:
    x = torch.arange(3.0).reshape(1, 1, 3)
    found = widened("x", x, [parse_dynamic(axis)])
    assert found.shape == shape
    assert torch.equal(found, x.expand(shape))
