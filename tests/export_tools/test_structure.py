"""Structured arguments and answers become plain tensors with readable names, and the module computes the same."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import edge_runtime
from export_tools import structure
from export_tools.errors import SourceError
from export_tools.pipeline import run
from export_tools.request import ExportRequest, SourceSpec
from export_tools.source import inputs_of, open_source, weights_sha256

Requested = Callable[..., ExportRequest]
Spec = Callable[..., SourceSpec]
pytestmark = pytest.mark.usefixtures("import_state")


class Echo(nn.Module):
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return (args, kwargs) if kwargs or len(args) != 1 else args[0]


def names_of(returned: object) -> list[str]:
    module, outputs = Echo(), structure.Outputs()
    outputs.watch(module)
    module(returned)
    return outputs.names


def test_each_tensor_of_an_example_is_an_input_with_a_name_and_the_rest_stays(spec: Spec) -> None:
    source = open_source(spec("structured.py:everything"))
    inputs = inputs_of(source, None, ())
    assert [(one.name, tuple(one.tensor.shape), one.tensor.dtype) for one in inputs] == [
        ("ids", (1, 3), torch.int64),
        ("mask", (1, 3), torch.bool),
        ("lower", (1, 3, 4), torch.float32),
        ("upper", (1, 3, 4), torch.float32),
        ("bias", (4,), torch.float32),
    ]
    assert source.notes == (
        "forward's gain stays 0.5, as in the example: it is no tensor",
        "forward's doubled stays True, as in the example: it is no tensor",
    )


def test_the_arranged_module_computes_what_the_users_own_does(spec: Spec) -> None:
    source = open_source(spec("structured.py:everything"))
    tensors = [one.tensor for one in inputs_of(source, None, ())]
    logits, found, raised = source.module(*tensors)
    assert source.outputs.names == ["logits", "hidden_0", "hidden_1"]
    own = open_source(spec("structured.py:everything"))
    assert isinstance(own.module, structure.Arranged)
    answer = own.module.call(tensors)
    assert torch.equal(logits, answer.logits)
    assert torch.equal(found, answer.hidden[0])
    assert torch.equal(raised, answer.hidden[1])


def test_the_weights_hash_is_of_the_users_own_names(spec: Spec) -> None:
    source = open_source(spec("structured.py:everything"))
    assert sorted(source.original.state_dict()) == ["head.bias", "head.weight", "table.weight"]
    plain = {key.removeprefix("module."): value for key, value in source.module.state_dict().items()}
    assert plain.keys() == source.original.state_dict().keys()
    assert weights_sha256(source.original) != weights_sha256(source.module)  # the wrapper's names are not the user's


def test_an_example_from_outside_goes_by_the_readable_names(spec: Spec) -> None:
    source = open_source(spec("structured.py:named"))
    given = {"x": torch.zeros(4, 3), "y": torch.ones(4, 3)}
    assert [tuple(one.tensor.shape) for one in inputs_of(source, given, ())] == [(4, 3), (4, 3)]
    with pytest.raises(SourceError, match="does not fit forward"):
        inputs_of(source, {"batch": torch.zeros(4, 3)}, ())


def test_what_can_be_no_input_is_refused_by_its_place(spec: Spec) -> None:
    with pytest.raises(SourceError, match="forward's how is a object in the example"):
        open_source(spec("structured.py:odd"))


@dataclass
class _Pair:
    left: torch.Tensor
    right: torch.Tensor | None


T = torch.zeros(1)


@pytest.mark.parametrize(
    ("returned", "names"),
    [
        (T, []),
        ((T, T), []),
        ([T, None, T], []),
        ({"boxes": T, "class scores": T}, ["boxes", "class_scores"]),
        ({"a": {"b": T}, "a_b": T}, ["a_b", "a_b_1"]),
        ({0: T, 1: T}, ["output_0", "output_1"]),
        ((T, {"mask": T}), ["output_0", "output_1_mask"]),
        (_Pair(T, None), ["left"]),
        (torch.return_types.max((T, T)), ["output_0", "output_1"]),
        ({"for": T}, ["_for"]),
    ],
)
def test_outputs_are_named_by_their_keys_and_fields(returned: object, names: list[str]) -> None:
    assert names_of(returned) == names


def test_names_that_would_be_the_same_are_told_apart_by_the_whole_path() -> None:
    example = ((), {"left": {"x": T}, "right": {"x": T}})
    module, (tensors, _), notes = structure.arranged(Echo(), example, "here")  # type: ignore[misc]  # it has an example
    assert notes == ()
    assert len(tensors) == 2
    import inspect  # noqa: PLC0415 - of this test alone

    assert list(inspect.signature(module.forward).parameters) == ["left_x", "right_x"]


def test_a_structure_without_end_is_refused() -> None:
    endless: list[Any] = [T]
    endless.append(endless)
    with pytest.raises(SourceError, match="nested deeper than 16 levels"):
        structure.arranged(Echo(), ((endless,), {}), "here")


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_structured_modules_export_and_answer_like_the_module(
    requested: Requested, tmp_path: Path, exporter: str
) -> None:
    dynamic = ("ids:0=batch", "mask:0=batch", "lower:0=batch", "upper:0=batch") if exporter == "dynamo" else ()
    exported = run(requested("structured.py:everything", tmp_path / "a.edge", exporter=exporter, dynamic=dynamic))
    manifest = exported.artifact.manifest
    assert [port.name for port in manifest.inputs] == ["ids", "mask", "lower", "upper", "bias"]
    assert [port.name for port in manifest.outputs] == ["logits", "hidden_0", "hidden_1"]
    assert exported.notes[0] == "forward's gain stays 0.5, as in the example: it is no tensor"
    random = np.random.default_rng(5)
    size = 3 if dynamic else 1
    given = {
        "ids": random.integers(0, 4, (size, 3)),
        "mask": random.integers(0, 2, (size, 3)).astype(bool),
        "lower": random.normal(size=(size, 3, 4)).astype("f4"),
        "upper": random.normal(size=(size, 3, 4)).astype("f4"),
        "bias": random.normal(size=4).astype("f4"),
    }
    source = open_source(requested("structured.py:everything", tmp_path / "b.edge").source)
    wanted = source.module(*(torch.from_numpy(array) for array in given.values()))
    got = edge_runtime.load(exported.artifact.path)(**given)
    for name, tensor in zip(("logits", "hidden_0", "hidden_1"), wanted, strict=True):
        np.testing.assert_allclose(got[name], tensor.detach().numpy(), rtol=1e-5, atol=1e-5)


def test_an_output_with_an_inputs_name_is_told_apart(requested: Requested, tmp_path: Path) -> None:
    exported = run(requested("structured.py:named", tmp_path / "a.edge"))
    assert [port.name for port in exported.artifact.manifest.outputs] == ["x_out", "parts_sum", "parts_difference"]


def test_an_output_that_is_no_tensor_is_named_with_its_place() -> None:
    with pytest.raises(SourceError, match=r"forward returns a int at boxes\['count'\]"):
        names_of({"scores": torch.ones(1), "boxes": {"count": 3}})
