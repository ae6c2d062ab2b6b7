import pytest

from edge_runtime.errors import UsageError
from export_tools.convert import check_output_names, exporters_for


@pytest.mark.parametrize(
    ("exporter", "opset", "order"),
    [
        ("auto", 18, ("dynamo", "torchscript")),
        ("auto", 20, ("dynamo", "torchscript")),
        ("auto", 17, ("torchscript", "dynamo")),
        ("auto", 11, ("torchscript", "dynamo")),
        ("dynamo", 11, ("dynamo",)),
        ("torchscript", 18, ("torchscript",)),
    ],
)
def test_the_exporter_that_writes_an_opset_by_nature_goes_first(
    exporter: str, opset: int, order: tuple[str, ...]
) -> None:
    assert exporters_for(exporter, opset) == order


def test_outputs_are_numbered_unless_they_are_named() -> None:
    assert check_output_names((), 3, ["x"]) == ("output", "output_1", "output_2")
    assert check_output_names(("a", "b"), 2, ["x"]) == ("a", "b")
    with pytest.raises(UsageError, match="1 output names for 2 outputs"):
        check_output_names(("a",), 2, ["x"])
    with pytest.raises(UsageError, match="output is an input and an output"):
        check_output_names((), 1, ["output"])
