"""Make an exporter's file ours: nothing in it but the model, its ports named and shaped as the manifest says.

Rules: 1. no metadata, doc strings or stack traces, which hold paths of the machine that exported. 2. no shapes but
those that follow from the ports', which are the manifest's. 3. the lowest IR version that the model needs, so that
older runtimes take it.
"""

from collections.abc import Iterable, Mapping, Sequence

import onnx

from edge_runtime.errors import UnsupportedModel
from edge_runtime.manifest import Port, Shape
from export_tools.graph_file import graphs_of

# The IR version that brought a tensor type. Source: onnx/onnx.in.proto, enum Version
_NEW_TYPES = {
    onnx.TensorProto.FLOAT8E4M3FN: 9,
    onnx.TensorProto.FLOAT8E4M3FNUZ: 9,
    onnx.TensorProto.FLOAT8E5M2: 9,
    onnx.TensorProto.FLOAT8E5M2FNUZ: 9,
    onnx.TensorProto.UINT4: 10,
    onnx.TensorProto.INT4: 10,
    onnx.TensorProto.FLOAT4E2M1: 11,
}
LEAST_IR = 4  # before it every weight was an input too; same source
_FUNCTIONS_IR = 8  # model-local functions; same source


def forget(model: onnx.ModelProto) -> None:
    """Clear everything that tells where a model was made: names of tools, doc strings, stack traces."""
    for field in ("producer_name", "producer_version", "domain", "doc_string", "metadata_props"):
        model.ClearField(field)
    model.graph.name = "main"
    for function in model.functions:
        for field in ("doc_string", "metadata_props"):
            function.ClearField(field)
        _forget_nodes(function.node)
    for graph in graphs_of(model):
        for field in ("doc_string", "metadata_props"):
            graph.ClearField(field)
        for part in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
            part.ClearField("doc_string")
            part.ClearField("metadata_props")
        _forget_nodes(graph.node)


def set_ports(model: onnx.ModelProto, *, inputs: Sequence[Port], outputs: Mapping[str, Shape]) -> None:
    """Give the ports the manifest's shapes. outputs: shapes by name.

    Shapes of inner values go: an exporter writes those of its one example, and onnxruntime believes them.
    """
    for part in (*graphs_of(model), *model.functions):
        part.ClearField("value_info")
    ports = {port.name: port.shape for port in inputs} | dict(outputs)
    for value in (*model.graph.input, *model.graph.output):
        _set_shape(value, ports[value.name])


def least_ir(model: onnx.ModelProto) -> int:
    """Return the lowest IR version that allows the model's opsets, functions and tensor types."""
    try:
        needed = int(onnx.helper.find_min_ir_version_for(list(model.opset_import), ignore_unknown=True))
    except ValueError as problem:
        raise UnsupportedModel(f"unknown opset: {problem}", "the exported file", "install a newer onnx") from problem
    types = {tensor.data_type for graph in graphs_of(model) for tensor in graph.initializer}
    types |= {value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)}
    return max(needed, LEAST_IR, _FUNCTIONS_IR if model.functions else 0, *(_NEW_TYPES.get(kind, 0) for kind in types))


def opset_of(model: onnx.ModelProto) -> int:
    """Return the version of ONNX's own operator set that a model uses."""
    return max((entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}), default=0)


def _forget_nodes(nodes: Iterable[onnx.NodeProto]) -> None:
    for node in nodes:
        node.ClearField("doc_string")
        node.ClearField("metadata_props")
        for attribute in node.attribute:
            attribute.ClearField("doc_string")


def _set_shape(value: onnx.ValueInfoProto, shape: Shape) -> None:
    dims = value.type.tensor_type.shape
    dims.Clear()
    for size in shape:
        if isinstance(size, str):
            dims.dim.add().dim_param = size
        else:
            dims.dim.add().dim_value = size
    value.type.tensor_type.shape.SetInParent()  # rank 0 is a shape too; none at all means unknown
