"""Write the two artifacts that are measured, and the weights that PyTorch is given: ``python -m benchmarks.models``.

Weights are random, from a fixed seed: speed and memory don't ask what a network has learned. Built with onnx alone,
so that they are the same with every release of PyTorch. The golden answers are those of an unoptimised session.
"""

import hashlib
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from edge_runtime import npz
from edge_runtime.manifest import FILE_NAME, File, GoldenCase, Manifest, Port, Variant
from edge_runtime.npz import Array

OPSET, IR = 17, 8
BATCH, FEATURES = 64, 13
SIZES = (64, 1, 7, 17)  # of the cycle through the pool; the first is the one measured alone
CHANNELS, BLOCKS = (64, 128, 256, 512), 2  # ResNet-18: He et al. (2015), table 1
LINEAR, RESNET, WEIGHTS = "linear.edge", "resnet18.edge", "linear.npz"
STACK, LAYERS, WIDTH = "stack.edge", 8, 512  # a millisecond or so: long against the clock, short against a block


def write(folder: Path) -> None:
    """Write both artifacts and the linear model's weights into `folder`."""
    random = np.random.default_rng(13)
    weights = {"weights": random.normal(size=(FEATURES, 1)).astype("f4"), "bias": np.array([0.5], "f4")}
    npz.write(folder / WEIGHTS, weights)
    batches = [{"input": random.normal(size=(size, FEATURES)).astype("f4")} for size in SIZES]
    _write_artifact(folder / LINEAR, linear(weights), batches)
    image = random.normal(size=(1, 3, 224, 224)).astype("f4")
    _write_artifact(folder / RESNET, resnet18(random), [{"image": image}])


def write_stack(folder: Path) -> None:
    """Write an artifact of matrix products, one after the other, for runs that judge the statistics."""
    random = np.random.default_rng(13)
    weights = {f"w{layer}": random.normal(size=(WIDTH, WIDTH)).astype("f4") / 23 for layer in range(LAYERS)}
    names = ["input", *(f"y{layer}" for layer in range(LAYERS - 1)), "output"]
    nodes = [
        helper.make_node("MatMul", [names[layer], f"w{layer}"], [names[layer + 1]], name=f"product{layer}")
        for layer in range(LAYERS)
    ]
    model = _model(nodes, ("input", [16, WIDTH]), ("output", [16, WIDTH]), weights)
    _write_artifact(folder / STACK, model, [{"input": random.normal(size=(16, WIDTH)).astype("f4")}])


def linear(weights: dict[str, Array]) -> onnx.ModelProto:
    """Return float32[batch, 13] → MatMul, Add, Relu → float32[batch, 1]."""
    nodes = [
        helper.make_node("MatMul", ["input", "weights"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["output"]),
    ]
    return _model(nodes, ("input", ["batch", FEATURES]), ("output", ["batch", 1]), weights)


def resnet18(random: np.random.Generator) -> onnx.ModelProto:
    """Return ResNet-18 as an exporter leaves it, batch normalisation folded: float32[1, 3, 224, 224] to [1, 1000]."""
    nodes: list[onnx.NodeProto] = []
    weights: dict[str, Array] = {}

    def convolve(source: str, name: str, channels: tuple[int, int], kernel: int, stride: int) -> str:
        inside, outside = channels
        scale = np.sqrt(2 / (inside * kernel * kernel))  # keeps the variance; He et al. (2015), equation 10
        weights[f"{name}.w"] = (random.normal(size=(outside, inside, kernel, kernel)) * scale).astype("f4")
        weights[f"{name}.b"] = np.zeros(outside, "f4")
        nodes.append(
            helper.make_node(
                "Conv",
                [source, f"{name}.w", f"{name}.b"],
                [name],
                kernel_shape=[kernel] * 2,
                strides=[stride] * 2,
                pads=[kernel // 2] * 4,
            )
        )
        return name

    def apply(operator: str, sources: Sequence[str], name: str, **attributes: object) -> str:
        nodes.append(helper.make_node(operator, list(sources), [name], **attributes))
        return name

    last = apply("Relu", [convolve("image", "stem", (3, 64), 7, 2)], "stem.relu")
    last = apply("MaxPool", [last], "pooled", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    width = CHANNELS[0]
    for stage, channels in enumerate(CHANNELS):
        for block in range(BLOCKS):
            name, stride = f"{stage}.{block}", 2 if stage and not block else 1
            first = apply("Relu", [convolve(last, f"{name}.1", (width, channels), 3, stride)], f"{name}.relu")
            second = convolve(first, f"{name}.2", (channels, channels), 3, 1)
            shortcut = last if stride == 1 else convolve(last, f"{name}.down", (width, channels), 1, stride)
            last = apply("Relu", [apply("Add", [second, shortcut], f"{name}.sum")], f"{name}.out")
            width = channels
    last = apply("Flatten", [apply("GlobalAveragePool", [last], "mean")], "flat")
    weights["fc.w"] = (random.normal(size=(1000, width)) / np.sqrt(width)).astype("f4")
    weights["fc.b"] = np.zeros(1000, "f4")
    apply("Gemm", [last, "fc.w", "fc.b"], "scores", transB=1)
    return _model(nodes, ("image", [1, 3, 224, 224]), ("scores", [1, 1000]), weights)


def _model(
    nodes: Sequence[onnx.NodeProto],
    source: tuple[str, Sequence[int | str]],
    target: tuple[str, Sequence[int | str]],
    weights: dict[str, Array],
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "benchmark",
        [helper.make_tensor_value_info(source[0], TensorProto.FLOAT, source[1])],
        [helper.make_tensor_value_info(target[0], TensorProto.FLOAT, target[1])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)


def _write_artifact(path: Path, model: onnx.ModelProto, cases: Sequence[dict[str, Array]]) -> None:
    for part in ("fp32", "golden"):
        (path / part).mkdir(parents=True)
    file = path / "fp32" / "model.onnx"
    onnx.save(model, file)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    golden = []
    (output,) = (port.name for port in model.graph.output)
    for index, inputs in enumerate(cases):
        (answer,) = session.run(None, inputs)
        place = path / "golden" / f"{index}.npz"
        npz.write(place, {**{f"input/{name}": array for name, array in inputs.items()}, f"output/{output}": answer})
        # fused kernels sum in another order: some units in the last place of the largest value
        limit = 1e-5 * max(1.0, float(np.abs(answer).max()))
        golden.append(
            GoldenCase(
                path=f"golden/{index}.npz", sha256=_sha256(place), variant="fp32", tolerance=((output, limit, 1e-4),)
            )
        )
    variant = Variant(
        name="fp32",
        files=(File(path="fp32/model.onnx", sha256=_sha256(file), bytes=file.stat().st_size),),
        precision="float32",
        opset_asked=OPSET,
        opset_written=OPSET,
        exporter="onnx.helper",
        operators=tuple(sorted(Counter(node.op_type for node in model.graph.node).items())),
    )
    manifest = Manifest(
        name=path.stem,
        version="1",
        created="2026-01-01T00:00:00Z",
        producer=(("edge", None), ("torch", None), ("onnx", onnx.__version__), ("onnxruntime", None)),
        source_entry="benchmarks/models.py",
        source_weights_sha256=None,
        source_framework="onnx",
        requires_onnxruntime="1.15",
        requires_opset=OPSET,
        requires_ir=IR,
        inputs=tuple(_port(value) for value in model.graph.input),
        outputs=tuple(_port(value) for value in model.graph.output),
        variants=(variant,),
        golden=tuple(golden),
    )
    (path / FILE_NAME).write_text(manifest.to_json(), encoding="utf-8")


def _port(value: onnx.ValueInfoProto) -> Port:
    shape = tuple(size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim)
    return Port(name=value.name, dtype="float32", shape=shape)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    write(Path(sys.argv[1]))
