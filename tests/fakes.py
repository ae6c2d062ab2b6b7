"""What tests pass through the front door: a clock that is told the time, and tiny artifacts made without torch."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from edge_runtime import npz
from edge_runtime.manifest import File, GoldenCase, Manifest, Port, Variant
from edge_runtime.npz import Array

Case = Mapping[str, Array]
Shaped = tuple[int, Sequence[int | str]]  # element type, shape


@dataclass
class FakeClock:
    """Time that moves only when told to."""

    now_ns: int = 0

    def __call__(self) -> int:
        return self.now_ns

    def advance(self, ns: int) -> None:
        self.now_ns += ns

    def costing(self, costs_ns: Sequence[int]) -> Callable[[], None]:
        """Return a step whose calls take these times; the last one repeats."""
        waiting = list(costs_ns)

        def step() -> None:
            self.advance(waiting.pop(0) if len(waiting) > 1 else waiting[0])

        return step


@dataclass(frozen=True)
class Sample:
    """A graph with the inputs of its golden cases; the first is the one that is measured."""

    model: onnx.ModelProto
    cases: tuple[Case, ...]


def tiny() -> Sample:
    """float32[batch, 13] → MatMul, Add, Relu → float32[batch, 1]."""
    random = np.random.default_rng(0)
    weight, bias = random.normal(size=(13, 1)).astype("f4"), np.array([0.5], "f4")
    return _sample(
        [_op("MatMul", ["input", "w"], "xw"), _op("Add", ["xw", "b"], "sum"), _op("Relu", ["sum"], "output")],
        {"input": (TensorProto.FLOAT, ["batch", 13])},
        {"output": (TensorProto.FLOAT, ["batch", 1])},
        [{"input": random.normal(size=(size, 13)).astype("f4")} for size in (64, 1, 7)],
        {"w": weight, "b": bias},
    )


def pair() -> Sample:
    """Two inputs that share a dimension: float32[batch, 3] + float32[batch, 3]."""
    shape: Shaped = (TensorProto.FLOAT, ["batch", 3])
    ones = np.ones((2, 3), "f4")
    return _sample([_op("Add", ["a", "b"], "sum")], {"a": shape, "b": shape}, {"sum": shape}, [{"a": ones, "b": ones}])


def typed() -> Sample:
    """int64[n] and bool[n] → where the mask is set, twice the count, else the count; and the mask turned round."""
    return _sample(
        [
            _op("Add", ["count", "count"], "twice"),
            _op("Where", ["mask", "twice", "count"], "chosen"),
            _op("Not", ["mask"], "turned"),
        ],
        {"count": (TensorProto.INT64, ["n"]), "mask": (TensorProto.BOOL, ["n"])},
        {"chosen": (TensorProto.INT64, ["n"]), "turned": (TensorProto.BOOL, ["n"])},
        [{"count": np.array([1, 2, 3], "i8"), "mask": np.array([True, False, True])}],
    )


def found() -> Sample:
    """float32[n] → where it is not zero, int64[1, k], a size that only the data decide; and float32[n], minus x."""
    return _sample(
        [_op("NonZero", ["x"], "places"), _op("Neg", ["x"], "minus")],
        {"x": (TensorProto.FLOAT, ["n"])},
        {"places": (TensorProto.INT64, [1, "k"]), "minus": (TensorProto.FLOAT, ["n"])},
        [{"x": np.array([0, 1, 0, 2], "f4")}],
    )


def scalar() -> Sample:
    """float32[n] → its sum, float32[]."""
    return _sample(
        [helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0)],
        {"x": (TensorProto.FLOAT, ["n"])},
        {"total": (TensorProto.FLOAT, [])},
        [{"x": np.array([1, 2, 4], "f4")}],
    )


def echo() -> Sample:
    """float32[n] → the same, which an engine is tempted to hand back without a copy."""
    shape: Shaped = (TensorProto.FLOAT, ["n"])
    return _sample([_op("Identity", ["x"], "y")], {"x": shape}, {"y": shape}, [{"x": np.array([1, 2], "f4")}])


def write_artifact(path: Path, sample: Sample, *, spoil: float = 0.0, **changes: Any) -> Path:
    """Write a sample as an artifact; its golden outputs come from onnx's own reference implementation.

    spoil: added to every floating golden output.   changes: fields of the manifest to replace.
    """
    for folder in ("fp32", "golden"):
        (path / folder).mkdir(parents=True)
    model = path / "fp32" / "model.onnx"
    onnx.save(sample.model, model)
    outputs = [value.name for value in sample.model.graph.output]
    golden = []
    for index, inputs in enumerate(sample.cases):
        answers = ReferenceEvaluator(sample.model).run(outputs, dict(inputs))
        wanted = {name: np.asarray(answer) for name, answer in zip(outputs, answers, strict=True)}
        wanted = {name: array + array.dtype.type(spoil) if spoil else array for name, array in wanted.items()}
        file = path / "golden" / f"case{index}.npz"
        npz.write(
            file,
            {f"input/{name}": array for name, array in inputs.items()}
            | {f"output/{name}": array for name, array in wanted.items()},
        )
        golden.append(golden_case(path, file, outputs))
    manifest = Manifest(
        name="tiny",
        version="1",
        created="2026-01-01T00:00:00Z",
        producer=(("edge", "0.1.0"), ("torch", None), ("onnx", onnx.__version__), ("onnxruntime", None)),
        source_entry="tests",
        source_weights_sha256=None,
        source_framework="onnx",
        requires_onnxruntime="1.14",
        requires_opset=13,
        requires_ir=8,
        inputs=_ports(sample.model.graph.input),
        outputs=_ports(sample.model.graph.output),
        variants=(variant(path, "fp32"),),
        golden=tuple(golden),
    )
    write_manifest(path, replace(manifest, **changes))
    return path


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Put a manifest into an artifact, whatever it says."""
    (path / "manifest.json").write_text(manifest.to_json())


def variant(path: Path, name: str) -> Variant:
    """Describe the model file of a variant as it is now."""
    file = f"{name}/model.onnx"
    content = (path / file).read_bytes()
    return Variant(
        name=name,
        files=(File(path=file, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content)),),
        precision="float32",
        opset_asked=13,
        opset_written=13,
        exporter="none",
        operators=(("MatMul", 1),),
    )


def golden_case(path: Path, file: Path, outputs: Sequence[str], *, variant: str = "fp32") -> GoldenCase:
    """Describe a golden file as it is now."""
    return GoldenCase(
        path=str(file.relative_to(path)),
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        variant=variant,
        tolerance=tuple((name, 1e-5, 1e-5) for name in outputs),
    )


def _sample(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Shaped],
    outputs: Mapping[str, Shaped],
    cases: Sequence[Case],
    weights: Mapping[str, Array] | None = None,
) -> Sample:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, *what) for name, what in inputs.items()],
        [helper.make_tensor_value_info(name, *what) for name, what in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()],
    )
    return Sample(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tuple(cases))


def _op(kind: str, takes: list[str], gives: str) -> onnx.NodeProto:
    return helper.make_node(kind, takes, [gives])


def _ports(values: Sequence[onnx.ValueInfoProto]) -> tuple[Port, ...]:
    return tuple(
        Port(
            name=value.name,
            dtype=helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).name,
            shape=tuple(size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim),
        )
        for value in values
    )
