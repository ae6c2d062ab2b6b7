"""Graphs that are wrong on purpose, each in one way that real faults have: the cases of an export must show every one.

A function of numpy stands for the module, in float32 and in float64, so that a hundred proofs take a second.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

from edge_runtime.npz import Array
from export_tools.cases import make_cases, ports_of
from export_tools.errors import ParityLost
from export_tools.noise import Answers
from export_tools.request import parse_dynamic, parse_range
from export_tools.verify import Verification, verify

WEIGHT = np.random.default_rng(3).normal(size=(4, 3)).astype(np.float32)
EXAMPLE = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)

# the module: y = tanh(x) @ w, and what of it may be wrong is said by "fault", from y, x and the batch
GRAPH = """
<ir_version: 8, opset_import: ["" : 18]>
wrong (float[batch,4] x) => (float[batch,3] y)
{{
  flat = Tanh (x)
  right = MatMul (flat, w)
  zero = Constant <value_float = 0.0> ()
  one = Constant <value_float = 1.0> ()
  axis = Constant <value_ints = [1]> ()
  {fault}
}}
"""
NOTHING = "y = Add (right, zero)"
FAULTS = {
    "off by a ten-thousandth": "off = Constant <value_float = 1.0001> () y = Mul (right, off)",
    "one element of a row": "off = Constant <value_floats = [0.0, 0.001, 0.0]> () y = Add (right, off)",
    "where an input is negative": "n = Less (x, zero) m = Cast <to = 1> (n) s = ReduceMax <keepdims = 1> (m, axis) "
    "k = Constant <value_float = 0.001> () d = Mul (s, k) y = Add (right, d)",
    "where an input is large": "k = Constant <value_float = 50.0> () n = Greater (x, k) m = Cast <to = 1> (n) "
    "s = ReduceMax <keepdims = 1> (m, axis) y = Add (right, s)",
    "where all inputs are zero": "a = Abs (x) s = ReduceSum <keepdims = 1> (a, axis) n = Equal (s, zero) "
    "m = Cast <to = 1> (n) y = Add (right, m)",
    "a batch of one": "h = Shape (x) b = Constant <value_int = 0> () g = Gather (h, b) i = Constant <value_int = 1> () "
    "e = Equal (g, i) m = Cast <to = 1> (e) y = Add (right, m)",
    "the largest batch": "h = Shape (x) b = Constant <value_int = 0> () g = Gather (h, b) "
    "i = Constant <value_int = 24> () e = Equal (g, i) m = Cast <to = 1> (e) y = Add (right, m)",
    "the size of the example": "i = Constant <value_ints = [5, 3]> () y = Reshape (right, i)",
    "a NaN for a zero": "a = Abs (x) s = ReduceSum <keepdims = 1> (a, axis) q = Div (s, s) y = Mul (right, q)",
    "saturation": "k = Constant <value_float = 2.5> () l = Neg (k) y = Clip (right, l, k)",
    "another input of the row": "i = Constant <value_ints = [1, 0, 2, 3]> () p = Gather <axis = 1> (flat, i) "
    "y = MatMul (p, w)",
    "half precision inside": "h = Cast <to = 10> (right) y = Cast <to = 1> (h)",
}


def module(x: Array, dtype: Any, scale: float) -> Array:
    found: Array = (np.tanh(x.astype(dtype)) @ WEIGHT.astype(dtype) * dtype(scale)).astype(dtype)
    return found


def proven(folder: Path, fault: str, *, scale: float = 1.0, ranges: tuple[str, ...] = ()) -> Verification:
    proto = onnx.parser.parse_model(GRAPH.format(fault=fault))
    proto.graph.initializer.append(onnx.numpy_helper.from_array(WEIGHT * np.float32(scale), "w"))
    onnx.save(proto, folder / "m.onnx")
    dynamic, declared = (parse_dynamic("x:0=batch:1..24"),), tuple(map(parse_range, ranges))
    example = {"x": np.clip(np.abs(EXAMPLE), 0, 1) if ranges else EXAMPLE}
    cases, _ = make_cases(example, ports_of(example, dynamic, declared), dynamic, seed=0)
    answers = [
        Answers({"y": module(case.inputs["x"], np.float32, scale)}, {"y": module(case.inputs["x"], np.float64, scale)})
        for case in cases
    ]
    return verify(folder / "m.onnx", cases, answers, threads=1, where="here")


@pytest.mark.parametrize("scale", [1.0, 1e-9, 1e6])
def test_what_is_right_passes_at_any_magnitude(tmp_path: Path, scale: float) -> None:
    proof = proven(tmp_path, NOTHING, scale=scale)
    assert proof.worst.difference.ratio < 0.5
    assert proof.summary.tolerance < 1e-4


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_seen(tmp_path: Path, fault: str) -> None:
    with pytest.raises(ParityLost):
        proven(tmp_path, FAULTS[fault])


@pytest.mark.parametrize("fault", ["off by a ten-thousandth", "where an input is negative", "a NaN for a zero"])
def test_outputs_of_tiny_magnitude_are_judged_by_their_own(tmp_path: Path, fault: str) -> None:
    with pytest.raises(ParityLost):
        proven(tmp_path, FAULTS[fault].replace("0.001", "1e-12"), scale=1e-9)


def test_only_what_is_meant_is_proven(tmp_path: Path) -> None:
    assert not proven(tmp_path, FAULTS["where an input is large"], ranges=("x=-1..1",)).wrong
    with pytest.raises(ParityLost):
        proven(tmp_path, FAULTS["where an input is negative"], ranges=("x=-1..1",))
    assert not proven(tmp_path, FAULTS["where an input is negative"], ranges=("x=0..1",)).wrong


INTEGERS = """
<ir_version: 8, opset_import: ["" : 18]>
integers ({kind}[n] x) => ({out}[n] y) {{ {body} }}
"""
HALVED = "two = Constant <value_int = 2> () y = Div (x, two)"


@pytest.mark.parametrize(
    ("kind", "out", "body", "right", "wrong"),
    [
        # ties: torch rounds to even and truncates towards zero
        ("float", "float", "y = Round (x)", np.round, lambda x: np.floor(x + np.float32(0.5))),
        ("float", "int32", "y = Cast <to = 6> (x)", np.trunc, np.floor),
        ("int32", "int32", "y = Mul (x, x)", np.square, lambda x: np.square(x.astype("i8")).clip(None, 2**31 - 1)),
        (
            "int64",
            "int64",
            HALVED,
            lambda x: np.trunc(x / 2),
            lambda x: x // 2,
        ),
    ],
)
def test_integers_and_ties_are_equal_or_wrong(  # noqa: PLR0917 - what pytest passes by name
    tmp_path: Path,
    kind: str,
    out: str,
    body: str,
    right: Callable[..., Array],
    wrong: Callable[..., Array],
) -> None:
    onnx.save(onnx.parser.parse_model(INTEGERS.format(kind=kind, out=out, body=body)), tmp_path / "m.onnx")
    dtype = {"float": "f4", "int32": "i4", "int64": "i8"}[kind]
    example = {"x": (np.array([-7, -3, -1, 0, 1, 5, 7, 9]) / (2 if kind == "float" else 1)).astype(dtype)}
    ranges = (parse_range("x=-60000..60000"),) if kind == "int32" else ()
    cases, _ = make_cases(example, ports_of(example, (), ranges), (), seed=0)

    def checked(function: Callable[..., Array]) -> None:
        given: list[Mapping[str, Array]] = [
            {"y": function(case.inputs["x"]).astype({"float": "f4", "int32": "i4", "int64": "i8"}[out])}
            for case in cases
        ]
        verify(tmp_path / "m.onnx", cases, [Answers(one, one) for one in given], threads=1, where="here")

    checked(right)
    with pytest.raises(ParityLost):
        checked(wrong)
