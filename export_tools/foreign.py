"""An ``.onnx`` file from elsewhere, read safely: nothing in it is believed before it is checked.

1. An ONNX file of at most 2 GiB, with weights in its own folder only. 2. Copied into a folder of ours, so that what was
checked is what is used. 3. Accepted by onnx's checker, with operators that onnxruntime's CPU provider may know. 4. Its
inputs and outputs are plain tensors, with names and dimensions that an artifact can have.
"""

import hashlib
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # stubs are another package
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from edge_runtime.errors import InvalidModel, UnsupportedModel, UsageError
from edge_runtime.units import size
from export_tools import graph_file
from export_tools.errors import SourceError
from export_tools.request import LEAST_OPSET, DynamicAxis
from export_tools.strip import LEAST_IR, opset_of

OUR_NAME = "as-it-came.onnx"  # whatever it is called, it can't be taken for a file that later stages write
MAX_FILE_BYTES = 2**31 - 1  # where protobuf ends
# What the CPU provider has kernels for. com.microsoft.nchwc is left out on purpose: see _refuse_domains
DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
BAKED = "com.microsoft.nchwc"
RANDOM = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"}
)
DTYPES = {
    onnx.TensorProto.FLOAT16: "float16",
    onnx.TensorProto.FLOAT: "float32",
    onnx.TensorProto.DOUBLE: "float64",
    onnx.TensorProto.INT8: "int8",
    onnx.TensorProto.INT16: "int16",
    onnx.TensorProto.INT32: "int32",
    onnx.TensorProto.INT64: "int64",
    onnx.TensorProto.UINT8: "uint8",
    onnx.TensorProto.UINT16: "uint16",
    onnx.TensorProto.UINT32: "uint32",
    onnx.TensorProto.UINT64: "uint64",
    onnx.TensorProto.BOOL: "bool",
}


@dataclass(frozen=True, slots=True)
class ForeignPort:
    """An input or output as the file declares it. shape: a size, a symbol, or "" for neither; None: not even a rank."""

    name: str
    dtype: str
    shape: tuple[int | str, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """A file that was brought in. model: our copy, byte for byte.   graph: what is in it, its large weights beside.

    overridable: inputs that have a value in the file, which becomes the only one.   random: what draws numbers.
    """

    model: Path
    graph: onnx.ModelProto
    opset: int
    ir: int
    inputs: tuple[ForeignPort, ...]
    outputs: tuple[ForeignPort, ...]
    overridable: tuple[str, ...]
    random: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Where the large weights lie."""
        return self.model.parent


def bring_in(path: Path, work: Path) -> Foreign:
    """Copy a file and its weights into the new folder `work`, checked.

    Raises SourceError for what is no file, InvalidModel for what is no valid model or has weights elsewhere, and
    UnsupportedModel for what onnxruntime can't know or an artifact can't hold.
    """
    graph = _parsed(path)
    _refuse_strange_weights(graph, path)
    beside = {
        ExternalDataInfo(tensor).location for tensor in graph_file.tensors_of(graph) if uses_external_data(tensor)
    }
    work.mkdir()
    model = work / OUR_NAME
    if OUR_NAME in beside:
        raise InvalidModel(f"its weights are said to be in {OUR_NAME}", str(path), "save it again")
    for source, target in ((path, model), *((path.parent / name, work / name) for name in sorted(beside))):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    _refuse_opset(graph, path)
    _refuse_domains(graph, path)
    light = graph_file.read(model)
    _refuse_invalid(light, work, path)
    weights = {tensor.name for tensor in light.graph.initializer}
    overridable = [value for value in light.graph.input if value.name in weights]
    # from here on the value is the one there is: an artifact has no optional inputs, and what is constant can be folded
    for value in overridable:
        light.graph.input.remove(value)
    light.ClearField("training_info")
    ir, light.ir_version = light.ir_version, max(light.ir_version, LEAST_IR)
    return Foreign(
        model=model,
        graph=light,
        opset=opset_of(light),
        ir=ir,
        inputs=tuple(_port(value, "input", path) for value in light.graph.input),
        outputs=tuple(_port(value, "output", path) for value in light.graph.output),
        overridable=tuple(value.name for value in overridable),
        random=tuple(f"{node.op_type} {node.name}".strip() for node in _nodes(light) if node.op_type in RANDOM),
    )


def axes_of(inputs: Sequence[ForeignPort], declared: Sequence[DynamicAxis]) -> tuple[DynamicAxis, ...]:
    """Return the dynamic axes: every dimension without a size is one, by its symbol or a made name.

    inputs: by final names.   declared: names and ranges for some of them; one symbol is one size, so a range for one of
    its axes is for all. Raises UsageError for an axis that isn't there, or has a size in the file.
    """
    ports = {port.name: port for port in inputs}
    for axis in declared:
        _refuse_no_axis(axis, ports)
    own = {(axis.input, axis.axis): axis for axis in declared}
    symbols = {
        dimension: axis
        for axis in declared
        if isinstance(dimension := _dimension(ports[axis.input], axis.axis), str) and dimension
    }
    taken = {axis.name for axis in declared}
    names: dict[str, str] = {}
    found: list[DynamicAxis] = []
    for port in inputs:
        for index, dimension in enumerate(port.shape or ()):
            if (port.name, index) in own:
                found.append(own[port.name, index])
            elif isinstance(dimension, str):
                like = symbols.get(dimension)
                if like is not None:
                    limits = {"name": like.name, "low": like.low, "high": like.high, "step": like.step}
                    found.append(DynamicAxis(input=port.name, axis=index, **limits))  # type: ignore[arg-type]
                    continue
                key = dimension or f"{port.name}_dim_{index}"
                if key not in names:
                    names[key] = _free(_identifier(key), taken)
                found.append(DynamicAxis(input=port.name, axis=index, name=names[key]))
    # of an input without a rank only what is declared is known
    found += [axis for axis in declared if ports[axis.input].shape is None]
    return tuple(found)


def rename(model: onnx.ModelProto, names: Mapping[str, str]) -> None:
    """Give inputs and outputs new names, everywhere in the graph; an inner value that has a new name gives way."""
    changes = {old: new for old, new in names.items() if old != new}
    if not changes:
        return
    every = {name for graph in _graphs(model) for name in _values(graph)}
    for new in tuple(changes.values()):
        if new in every and new not in changes:
            changes[new] = _free(f"{new}_inner", every | set(changes.values()))
    for graph in _graphs(model):
        for part in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
            part.name = changes.get(part.name, part.name)
        for sparse in graph.sparse_initializer:
            sparse.values.name = changes.get(sparse.values.name, sparse.values.name)
        for note in graph.quantization_annotation:
            note.tensor_name = changes.get(note.tensor_name, note.tensor_name)
        for node in graph.node:
            node.input[:] = [changes.get(name, name) for name in node.input]
            node.output[:] = [changes.get(name, name) for name in node.output]


def weights_of(foreign: Foreign) -> tuple[str, int]:
    """Return the SHA-256 over the initializers' sorted (name, dtype, shape, little-endian bytes), and their bytes."""
    digest, total = hashlib.sha256(), 0
    for tensor in sorted(graph_file.tensors_of(foreign.graph), key=lambda tensor: tensor.name):
        kind = onnx.TensorProto.DataType.Name(tensor.data_type).lower()
        digest.update(f"{tensor.name}\0{kind}\0{tuple(tensor.dims)}\0".encode())
        for chunk in graph_file.content_of(tensor, foreign.folder):
            digest.update(chunk)
            total += len(chunk)
    return digest.hexdigest(), total


def _parsed(path: Path) -> onnx.ModelProto:
    if not path.is_file():
        raise SourceError("no such file", str(path), "give the path of an .onnx file")
    bytes_there = path.stat().st_size
    if bytes_there > MAX_FILE_BYTES:
        raise InvalidModel(
            f"it is {size(bytes_there)}, an ONNX file ends at 2 GiB",
            str(path),
            "save its weights beside it: onnx.save(model, path, save_as_external_data=True)",
        )
    hint = "is it whole? download or export it again"
    try:
        model = onnx.ModelProto.FromString(path.read_bytes())
    except (OSError, DecodeError) as problem:
        raise InvalidModel(f"it is no ONNX file: {problem}", str(path), hint) from problem
    if not model.HasField("graph") or not model.graph.output:
        # protobuf takes an empty file, and many a file that is something else
        raise InvalidModel("it is no ONNX file: it holds no graph with outputs", str(path), hint)
    return model


def _refuse_strange_weights(graph: onnx.ModelProto, path: Path) -> None:
    hint = "save it again with onnx.save, which keeps them in the initializers"
    for tensor in _constants(graph):
        if uses_external_data(tensor):
            raise InvalidModel(f"the constant {tensor.name!r} lies in another file", str(path), hint)
    for tensor in graph_file.tensors_of(graph):
        if uses_external_data(tensor):
            graph_file.place_of(tensor, path.parent)


def _refuse_opset(graph: onnx.ModelProto, path: Path) -> None:
    if opset_of(graph) < LEAST_OPSET:
        raise UnsupportedModel(
            f"it is of opset {opset_of(graph)}, onnxruntime runs {LEAST_OPSET} and later",
            str(path),
            "convert it first: onnx.version_converter.convert_version(model, 18)",
        )
    newest = onnx.defs.onnx_opset_version()
    if opset_of(graph) > newest:
        raise UnsupportedModel(
            f"it is of opset {opset_of(graph)}, this onnx ({onnx.__version__}) knows up to {newest}",
            str(path),
            "install newer onnx and onnxruntime, or save it with an older opset",
        )


def _refuse_domains(graph: onnx.ModelProto, path: Path) -> None:
    own = {(function.domain, function.name) for function in graph.functions}
    for node in _nodes(graph):
        if node.domain == BAKED:
            raise UnsupportedModel(
                f"it was optimised by onnxruntime for one kind of CPU ({node.op_type} of {BAKED})",
                str(path),
                "adopt the file from before onnxruntime saved it: a board optimises for itself",
            )
        if node.domain not in DOMAINS and (node.domain, node.op_type) not in own:
            raise UnsupportedModel(
                f"the operator {node.op_type!r} is of the domain {node.domain[:80]!r}, which onnxruntime does not have",
                str(path),
                "export it with ONNX's own operators, or with the operator as a function inside of the model",
            )


def _refuse_invalid(light: onnx.ModelProto, work: Path, path: Path) -> None:
    checked = onnx.ModelProto()
    checked.CopyFrom(light)
    for value in (*checked.graph.input, *checked.graph.output):
        if value.type.HasField("tensor_type"):
            # the checker wants a shape, onnxruntime does not: an unknown one is no reason to refuse a file
            value.type.tensor_type.shape.SetInParent()
    model = work / f"checked-{OUR_NAME}"
    model.write_bytes(checked.SerializeToString())
    try:
        onnx.checker.check_model(str(model))
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError, RuntimeError) as problem:
        said = " ".join(str(problem).split()).replace(str(model), path.name)[:300]
        raise InvalidModel(
            f"onnx's checker refuses it: {said}", str(path), "mend or export it again where it was made"
        ) from problem


def _port(value: onnx.ValueInfoProto, what: str, path: Path) -> ForeignPort:
    kind = value.type.WhichOneof("value")
    dtype = DTYPES.get(value.type.tensor_type.elem_type) if kind == "tensor_type" else None
    if dtype is None:
        element = onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type) if kind == "tensor_type" else ""
        told = f"a tensor of {element.lower()}" if element else str(kind or "untyped").replace("_type", "")
        raise UnsupportedModel(
            f"the {what} {value.name!r} is {told}",
            str(path),
            "an artifact takes and gives plain tensors of numbers or booleans",
        )
    tensor = value.type.tensor_type
    shape = tuple(_size(dimension) for dimension in tensor.shape.dim) if tensor.HasField("shape") else None
    return ForeignPort(value.name, dtype, shape)


def _size(dimension: onnx.TensorShapeProto.Dimension) -> int | str:
    # some exporters write 0 or -1 for a size that is not known
    return int(dimension.dim_value) if dimension.dim_value > 0 else str(dimension.dim_param)


def _refuse_no_axis(axis: DynamicAxis, ports: Mapping[str, ForeignPort]) -> None:
    where = f"--dynamic {axis.input}:{axis.axis}={axis.name}"
    if axis.input not in ports:
        raise UsageError(f"no input {axis.input!r}", where, f"the inputs are {', '.join(ports)}")
    shape = ports[axis.input].shape
    if shape is None:
        return
    if axis.axis >= len(shape):
        raise UsageError(f"{axis.input} has no axis {axis.axis}", where, f"it has {len(shape)}")
    if isinstance(shape[axis.axis], int):
        raise UsageError(
            f"the file fixes it at {shape[axis.axis]}", where, "leave it out; only who exported the file can free it"
        )


def _dimension(port: ForeignPort, axis: int) -> int | str:
    return "" if port.shape is None else port.shape[axis]


def _identifier(text: str) -> str:
    plain = re.sub(r"\W", "_", text)
    return plain if plain.isidentifier() else f"_{plain}"


def _free(name: str, taken: "set[str]") -> str:
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name}_{number}"
    taken.add(found)
    return found


def _graphs(model: onnx.ModelProto) -> list[onnx.GraphProto]:
    """Return the graph and those inside of it; not those of functions, whose names are their own."""
    found, waiting = [], [model.graph]
    while waiting:
        graph = waiting.pop()
        found.append(graph)
        waiting += [inner for node in graph.node for inner in _inner(node)]
    return found


def _inner(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        yield from ([attribute.g] if attribute.HasField("g") else attribute.graphs)


def _nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    for graph in graph_file.graphs_of(model):
        yield from graph.node
    for function in model.functions:
        yield from function.node


def _constants(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Yield the tensors that are no initializers: of attributes, and sparse ones."""
    sparse = [one for graph in graph_file.graphs_of(model) for one in graph.sparse_initializer]
    for node in _nodes(model):
        for attribute in node.attribute:
            yield attribute.t
            yield from attribute.tensors
            sparse += [attribute.sparse_tensor, *attribute.sparse_tensors]
    for one in sparse:
        yield one.values
        yield one.indices


def _values(graph: onnx.GraphProto) -> Iterator[str]:
    yield from (part.name for part in (*graph.input, *graph.output, *graph.initializer))
    for node in graph.node:
        yield from node.input
        yield from node.output
