"""Random operators in a graph: an artifact is a function of its inputs, however small the noise."""

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import numpy_helper

from edge_runtime.npz import Array
from export_tools import graph_file
from export_tools.errors import ParityLost

KINDS = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"}
)
SHOWN = 3
_TRAINING = 2  # Dropout's input that switches it on


def refuse_random(model: onnx.ModelProto, where: str) -> None:
    """Raise ParityLost when the graph draws numbers that its outputs depend on, or would in training mode."""
    found = [f"{node.op_type} {node.name}".strip() for node in _live(model) if _draws(node, model)]
    if found:
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise ParityLost(
            f"the graph draws random numbers: {', '.join(found[:SHOWN])}{more}",
            where,
            "leave them out in eval mode (if self.training:), or make the random numbers an input",
        )


def _live(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Yield the nodes that the outputs depend on, those of branches, loops and functions with all that is in them."""
    wanted = {value.name for value in model.graph.output}
    for node in reversed(model.graph.node):  # in topological order, as the checker demands
        if wanted & set(node.output):
            wanted |= {*node.input, *(name for graph in _graphs(node) for one in graph.node for name in one.input)}
            yield node
            for graph in _graphs(node):
                yield from graph.node
    for function in model.functions:
        yield from function.node
        yield from (one for node in function.node for graph in _graphs(node) for one in graph.node)


def _graphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    inner = onnx.ModelProto()
    inner.graph.node.append(node)
    return graph_file.graphs_of(inner)[1:]


def _draws(node: onnx.NodeProto, model: onnx.ModelProto) -> bool:
    if node.op_type in KINDS:
        return True
    if node.op_type != "Dropout" or len(node.input) <= _TRAINING or not node.input[_TRAINING]:
        return False
    switch = _constant(node.input[_TRAINING], model)
    return switch is None or bool(np.any(switch))


def _constant(name: str, model: onnx.ModelProto) -> Array | None:
    for graph in graph_file.graphs_of(model):
        for tensor in graph.initializer:
            if tensor.name == name:
                return np.asarray(numpy_helper.to_array(tensor))
        for node in graph.node:
            if node.op_type == "Constant" and name in node.output:
                value = next((one.t for one in node.attribute if one.name == "value"), None)
                return None if value is None else np.asarray(numpy_helper.to_array(value))
    return None
