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


def counting() -> Sample:
    """float32[1] and a state → their sum, as an answer and as the next state."""
    shape: Shaped = (TensorProto.FLOAT, [1])
    return _sample(
        [_op("Add", ["x", "total_in"], "sum"), _op("Identity", ["sum"], "total_out")],
        {"x": shape, "total_in": shape},
        {"sum": shape, "total_out": shape},
        [{"x": np.array([1], "f4"), "total_in": np.array([0], "f4")}],
    )


def recurrent() -> Sample:
    """A cell: h' = tanh(x · w + h · u), answers h' · v, and counts its steps. State: (h_in, h_out), (n_in, n_out)."""
    random = np.random.default_rng(0)
    weights = {name: random.normal(size=size).astype("f4") for name, size in (("w", (3, 4)), ("u", (4, 4)))}
    weights |= {"v": random.normal(size=(4, 2)).astype("f4")}
    hidden: Shaped = (TensorProto.FLOAT, ["batch", 4])
    count: Shaped = (TensorProto.INT64, [1])
    return _sample(
        [
            _op("MatMul", ["x", "w"], "xw"),
            _op("MatMul", ["h_in", "u"], "hu"),
            _op("Add", ["xw", "hu"], "sum"),
            _op("Tanh", ["sum"], "h_out"),
            _op("MatMul", ["h_out", "v"], "y"),
            _op("Add", ["n_in", "one"], "n_out"),
        ],
        {"n_in": count, "x": (TensorProto.FLOAT, ["batch", 3]), "h_in": hidden},
        {"h_out": hidden, "y": (TensorProto.FLOAT, ["batch", 2]), "n_out": count},
        [{"n_in": np.zeros(1, "i8"), "x": np.ones((2, 3), "f4"), "h_in": np.zeros((2, 4), "f4")}],
        weights | {"one": np.ones(1, "i8")},
    )


def echo() -> Sample:
    """float32[n] → the same, which an engine is tempted to hand back without a copy."""
    shape: Shaped = (TensorProto.FLOAT, ["n"])
    return _sample([_op("Identity", ["x"], "y")], {"x": shape}, {"y": shape}, [{"x": np.array([1, 2], "f4")}])


def echo_of(element: int) -> Sample:
    """T[n] → the same, for any element type; without golden cases."""
    shape: Shaped = (element, ["n"])
    return _sample([_op("Identity", ["x"], "y")], {"x": shape}, {"y": shape}, [], opset=19)


def sequence() -> Sample:
    """float32[n] → a sequence that holds it."""
    y = helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, ["n"])
    return _odd(_op("SequenceConstruct", ["x"], "y"), {"x": (TensorProto.FLOAT, ["n"])}, y)


def optional() -> Sample:
    """float32[n] → an optional that holds it."""
    inner = helper.make_tensor_type_proto(TensorProto.FLOAT, ["n"])
    y = helper.make_value_info("y", helper.make_optional_type_proto(inner))
    return _odd(_op("Optional", ["x"], "y"), {"x": (TensorProto.FLOAT, ["n"])}, y)


def mapping() -> Sample:
    """float32[n, 2] → for each row a map from class to score, as classifiers made by scikit-learn's converter do."""
    inner = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    y = helper.make_value_info("y", helper.make_sequence_type_proto(inner))
    node = helper.make_node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", classlabels_int64s=[0, 1])
    return _odd(node, {"x": (TensorProto.FLOAT, ["n", 2])}, y)


def spread() -> Sample:
    """float32[n, 1] → float32[n, 100000], the same value over and over."""
    return _sample(
        [_op("MatMul", ["x", "w"], "y")],
        {"x": (TensorProto.FLOAT, ["n", 1])},
        {"y": (TensorProto.FLOAT, ["n", 100_000])},
        [{"x": np.ones((2, 1), "f4")}],
        {"w": np.ones((1, 100_000), "f4")},
    )


def outer() -> Sample:
    """float32[n, k] → x · xᵀ, float32[n, n], which is large where x is empty."""
    return _sample(
        [_op("Transpose", ["x"], "turned"), _op("MatMul", ["x", "turned"], "y")],
        {"x": (TensorProto.FLOAT, ["n", "k"])},
        {"y": (TensorProto.FLOAT, ["n", "n"])},
        [{"x": np.ones((2, 1), "f4")}],
    )


def determinant() -> Sample:
    """float64[n, 2, 2] → their determinants, for which onnxruntime has no kernel of this type."""
    return _sample(
        [_op("Det", ["x"], "y")],
        {"x": (TensorProto.DOUBLE, ["n", 2, 2])},
        {"y": (TensorProto.DOUBLE, ["n"])},
        [],
    )


def logarithm() -> Sample:
    """float32[n] → its logarithm: NaN below 0, minus infinity at 0."""
    shape: Shaped = (TensorProto.FLOAT, ["n"])
    return _sample([_op("Log", ["x"], "y")], {"x": shape}, {"y": shape}, [{"x": np.array([1, 2], "f4")}])


def halves() -> Sample:
    """float32[n] → float32[2, b]: fails inside the graph, in the node "fold", unless n is even."""
    node = helper.make_node("Reshape", ["x", "to"], ["y"], name="fold")
    return _sample(
        [node],
        {"x": (TensorProto.FLOAT, ["n"])},
        {"y": (TensorProto.FLOAT, [2, "b"])},
        [{"x": np.arange(6, dtype="f4")}],
        {"to": np.array([2, -1], "i8")},
    )


def slow() -> Sample:
    """float32[n, 400] → twelve matrix products: some milliseconds, long enough to meet another thread inside."""
    weight = (np.eye(400) * 1.01).astype("f4")
    names = ["x", *(f"y{layer}" for layer in range(11)), "y"]
    nodes = [_op("MatMul", [names[layer], "w"], names[layer + 1]) for layer in range(12)]
    shape: Shaped = (TensorProto.FLOAT, ["n", 400])
    return _sample(nodes, {"x": shape}, {"y": shape}, [{"x": np.ones((2, 400), "f4")}], {"w": weight})


def weighty(mebibytes: int) -> Sample:
    """float32[n, 512] → matrix products with weights of a MiB each."""
    random = np.random.default_rng(0)
    weights = {f"w{layer}": random.normal(size=(512, 512)).astype("f4") / 23 for layer in range(mebibytes)}
    names = ["x", *(f"y{layer}" for layer in range(mebibytes - 1)), "y"]
    nodes = [_op("MatMul", [names[layer], f"w{layer}"], names[layer + 1]) for layer in range(mebibytes)]
    shape: Shaped = (TensorProto.FLOAT, ["n", 512])
    return _sample(nodes, {"x": shape}, {"y": shape}, [{"x": np.ones((1, 512), "f4")}], weights)


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
    *,
    opset: int = 13,
) -> Sample:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, *what) for name, what in inputs.items()],
        [helper.make_tensor_value_info(name, *what) for name, what in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()],
    )
    return Sample(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9), tuple(cases))


def _odd(node: onnx.NodeProto, inputs: Mapping[str, Shaped], output: onnx.ValueInfoProto) -> Sample:
    """Return a graph whose output is no tensor; without golden cases, which can't hold it."""
    ports = [helper.make_tensor_value_info(name, *what) for name, what in inputs.items()]
    opsets = [helper.make_opsetid("", 16), helper.make_opsetid("ai.onnx.ml", 1)]
    graph = helper.make_graph([node], "graph", ports, [output])
    return Sample(helper.make_model(graph, opset_imports=opsets, ir_version=8), ())


def _op(kind: str, takes: list[str], gives: str) -> onnx.NodeProto:
    return helper.make_node(kind, takes, [gives])


def _ports(values: Sequence[onnx.ValueInfoProto]) -> tuple[Port, ...]:
    return tuple(
        Port(
            name=value.name,
            dtype=_dtype(value.type.tensor_type.elem_type),
            shape=tuple(size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim),
        )
        for value in values
    )


def _dtype(element: int) -> str:
    if element in {TensorProto.UNDEFINED, TensorProto.STRING}:  # a sequence has no element type of its own
        return "string"
    return str(helper.tensor_dtype_to_np_dtype(element).name)
