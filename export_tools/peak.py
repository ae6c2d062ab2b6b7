"""How much memory a model takes at its worst, estimated from its graph: for the manifest, and against a target's RAM.

The whole process is meant, at the largest sizes: ``PROCESS + SESSION + OPTIMISED × weights + ARENA × alive``.

The first three are `edge_runtime.capacity`'s, measured: loading reads, optimises and packs the weights, and what it
freed may not be back with the system when the first call asks for more. `alive` is the largest set of values that are
alive at once.

A value lives from the node that makes it to the last one that takes it, in the order of the graph; inputs and outputs
live all along, an answer also as the copy that the caller gets. An operator whose kernel may write over its input
(`IN_PLACE`) does so where that input dies; a recurrent one has its gates besides. That is the breadth of an operator of
Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference" (arXiv:2001.03288, section 3).

Why times `ARENA`: the first call takes its values one by one; the second takes them from one block, planned from what
the first needed, while the arena still holds the pieces (onnxruntime, "memory pattern"). So they are there twice, and
in pieces that don't fit exactly.

Estimated over measured (VmHWM of a process that opens the model as we do and calls it four times; onnxruntime 1.32,
x86-64, one thread and four, with a cached optimised graph and without): a linear layer 1.1; ResNet-18 1.0, at batch 8
1.1 to 1.3; MobileNetV2-like 1.1 to 1.2, at batch 16 1.2 to 1.3; U-Net-like at 512² and 1024² 1.0; transformer 1.1 to
1.4; GRU 1.2 to 1.4; audio CNN 1.1. It is furthest off for stacks of matrices (128 MiB of weights): 1.4, and 1.9
without a cached graph.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from edge_runtime import units
from edge_runtime.capacity import process_peak_bytes
from edge_runtime.errors import UnsupportedSystem
from edge_runtime.manifest import Port
from export_tools.cases import Case, sizes_of
from export_tools.graph_file import tensors_of
from export_tools.request import DynamicAxis
from export_tools.target import Target

ARENA = 230  # hundredths; measured 1.6 to 2.29 where the values outweigh the weights, on the models named above
# Kernels that may write over their input, or give it another shape. Source: MayInplace and Alias in the kernel
# definitions of onnxruntime/core/providers/cpu: activations, clip, softmax, unary of element_wise_ops; tensor/reshape
# fmt: off
IN_PLACE = frozenset({
    "Abs", "Celu", "Clip", "Dropout", "Elu", "Exp", "Flatten", "Floor", "HardSigmoid", "Identity", "LeakyRelu", "Log",
    "Neg", "Reciprocal", "Relu", "Reshape", "Selu", "Sigmoid", "Softmax", "Softplus", "Softsign", "Sqrt", "Squeeze",
    "Tanh", "ThresholdedRelu", "Unsqueeze",
})
# fmt: on
GATES = {"GRU": 3, "LSTM": 4, "RNN": 1}  # for each step and unit. Source: rnn/deep_cpu_{gru,lstm}.cc, outputZRH, iofc


@dataclass(frozen=True, slots=True)
class Peak:
    """What an estimate is made of, in bytes.

    weights: of the file.   alive: the largest set of inputs, outputs and values between them.   node: where that is.
    unknown: values whose size can't be inferred; each counts as its node's largest input.
    """

    weights: int
    alive: int
    node: str
    unknown: int

    @property
    def bytes(self) -> int:
        """The whole process at its worst."""
        return process_peak_bytes(self.weights, self.alive * ARENA // 100)


def estimate(model: onnx.ModelProto, sizes: Mapping[str, int]) -> Peak:
    """Estimate the peak of a graph, which may refer to weights that lie elsewhere.

    sizes: of the named dimensions.   Never raises for a graph that the checker took: what it can't infer it counts.
    """
    known = _inferred(model, sizes)
    weights = sum(_weight_bytes(tensor) for tensor in tensors_of(model))
    alive, node, unknown = _alive(model.graph, known)
    return Peak(weights, alive, node, unknown)


def refuse_too_large(peak: Peak, target: Target | None, sizes: Mapping[str, int], *, where: str) -> None:
    """Raise UnsupportedSystem when a target is known to have less memory than the model takes."""
    if target is None or target.memory_bytes is None or peak.bytes <= target.memory_bytes:
        return
    at = f" at {told(sizes)}" if sizes else ""
    smaller = ", smaller maximal sizes (--dynamic INPUT:AXIS=NAME:MIN..MAX)" if sizes else ""
    raise UnsupportedSystem(
        f"the model takes about {units.size(peak.bytes)} at its peak{at} ({units.size(peak.weights)} of weights, "
        f"{units.size(peak.alive)} of values alive at {peak.node}); {target.name} has "
        f"{units.size(target.memory_bytes)} for it ({target.memory_told})",
        where,
        f"make the model smaller{smaller}, or name a target with more memory: --target NAME,ram=4GiB",
    )


def largest_sizes(dynamic: Iterable[DynamicAxis], inputs: Iterable[Port], cases: Sequence[Case]) -> dict[str, int]:
    """Return the largest size of each dynamic dimension: as declared, or as tried where nothing is declared."""
    tried = {name: max(sizes) for port in inputs for name, sizes in sizes_of(cases, port) or ()}
    return tried | {axis.name: axis.high for axis in dynamic if axis.high is not None}


def told(sizes: Mapping[str, int]) -> str:
    """Return sizes as people read them: ``batch=64, width=512``."""
    return ", ".join(f"{name}={value}" for name, value in sizes.items())


def _inferred(model: onnx.ModelProto, sizes: Mapping[str, int]) -> dict[str, int]:
    """Return the bytes of each value, by name, of all graphs; those that can't be inferred are not in it."""
    skeleton = onnx.ModelProto()
    skeleton.CopyFrom(model)
    for value in (*skeleton.graph.input, *skeleton.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in sizes:
                dim.dim_value = sizes[dim.dim_param]
            elif dim.dim_param:  # decided by the data, or another name of what can be inferred
                dim.ClearField("dim_param")
    try:
        inferred = onnx.shape_inference.infer_shapes(skeleton, data_prop=True)
    except (onnx.shape_inference.InferenceError, ValueError):
        inferred = skeleton
    found: dict[str, int] = {}
    waiting = [inferred.graph]
    while waiting:
        graph = waiting.pop()
        for value in (*graph.input, *graph.output, *graph.value_info):
            size = _value_bytes(value)
            if size is not None:
                found[value.name] = size
        waiting += [inner for node in graph.node for inner in _inner(node)]
    return found


def _alive(graph: onnx.GraphProto, known: Mapping[str, int]) -> tuple[int, str, int]:
    """Return the largest set alive, in bytes, the node where it is, and how many values are of unknown size."""
    weights = {tensor.name for tensor in graph.initializer}
    last = {name: index for index, node in enumerate(graph.node) for name in _taken(node)}
    living = {value.name: known.get(value.name, 0) for value in graph.input if value.name not in weights}
    kept = {*living, *(value.name for value in graph.output)}
    now = most = sum(living.values())
    where, unknown = "the inputs", 0
    for index, node in enumerate(graph.node):
        taken = [name for name in _taken(node) if name in living]
        dying = [name for name in dict.fromkeys(taken) if name not in kept and last[name] <= index]
        made = {name: known.get(name) for name in node.output if name}
        unknown += sum(size is None for size in made.values())
        largest = max((living[name] for name in taken), default=0)
        living |= {name: largest if size is None else size for name, size in made.items()}
        now += sum(living[name] for name in made)
        if node.op_type in IN_PLACE and node.input[0] in dying:
            # its bytes are the output's from here on
            now -= living.pop(node.input[0])
            dying.remove(node.input[0])
        inner = [_alive(one, known) for one in _inner(node)]
        unknown += sum(more for _, _, more in inner)
        beside = max((most for most, _, _ in inner), default=0) + _gates(node, known)
        if now + beside > most:
            most, where = now + beside, node.name or node.op_type
        for name in (*dying, *(name for name in made if name not in kept and name not in last)):
            now -= living.pop(name)
    copied = now + sum(known.get(value.name, 0) for value in graph.output)
    return (copied, "the answers", unknown) if copied > most else (most, where, unknown)


def _gates(node: onnx.NodeProto, known: Mapping[str, int]) -> int:
    """Return the bytes that a recurrent operator keeps of all its steps beside its outputs."""
    if node.op_type not in GATES or not node.output:
        return 0
    # Y is a hidden state for each step, sequence and direction; without Y its size is not known, and nor are the gates
    return GATES[node.op_type] * known.get(node.output[0], 0)


def _inner(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    return [one.g for one in node.attribute if one.HasField("g")]


def _taken(node: onnx.NodeProto) -> list[str]:
    """Return what a node takes, also from within its branches."""
    found = [name for name in node.input if name]
    for graph in _inner(node):
        found += [name for one in graph.node for name in _taken(one)]
        found += [value.name for value in graph.output]
    return found


def _value_bytes(value: onnx.ValueInfoProto) -> int | None:
    kind = value.type.tensor_type
    if not kind.HasField("shape") or any(not dim.HasField("dim_value") for dim in kind.shape.dim):
        return None
    count = 1
    for dim in kind.shape.dim:
        count *= dim.dim_value
    return count * _item_bytes(kind.elem_type)


def _item_bytes(kind: int) -> int:
    try:
        return int(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind)).itemsize)
    except (KeyError, TypeError, ValueError):
        return 8


def _weight_bytes(tensor: onnx.TensorProto) -> int:
    if uses_external_data(tensor):
        return ExternalDataInfo(tensor).length or 0
    count = 1
    for size in tensor.dims:
        count *= size
    return count * _item_bytes(tensor.data_type)
