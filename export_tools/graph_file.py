"""An ONNX graph between the exporter's file and ours: in memory without its large weights, which stay in a file.

`read` keeps every tensor of `BESIDE_BYTES` and more in files beside the model, and refers to them; `write` puts them
into the model again, or into one file beside it when there are too many. So a graph is passed on, copied and changed
as a few kilobytes whatever its weights weigh.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # stubs are another package
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from edge_runtime import files
from edge_runtime.errors import InvalidModel

DATA_NAME = "model.onnx.data"
# Protobuf ends at 2 GiB; and whoever reads a file with its weights inside (onnx's checker, onnxruntime, on a board too)
# holds them two or three times meanwhile, where weights in a file of their own are mapped
MAX_INLINE_BYTES = 2**28
BESIDE_BYTES = 1024  # smaller tensors stay in the model's file, where shape inference can read them
PAGE_BYTES = 4096  # what a mapped tensor has to begin at; source: onnx.proto, TensorProto.external_data


@dataclass(frozen=True, slots=True)
class GraphSize:
    """How large a graph is: its nodes, with those of inner graphs and of functions, and its bytes with the weights."""

    nodes: int
    bytes: int


def read(path: Path) -> onnx.ModelProto:
    """Return the graph of a file; its large weights stay beside it, in files of the same folder.

    Weights that are in the model's own file are moved out to `DATA_NAME` beside it.
    Raises InvalidModel for what is no ONNX file, or weights that lie elsewhere or are not all there.
    """
    try:
        model = onnx.load(path, load_external_data=False)
    except (OSError, DecodeError) as problem:
        raise InvalidModel(f"it is no ONNX file: {problem}", str(path), "try the other exporter") from problem
    taken = {ExternalDataInfo(t).location for t in tensors_of(model) if uses_external_data(t)}
    move_out(model, path.parent, DATA_NAME if DATA_NAME not in taken else f"{path.stem}-own.data")
    for tensor in tensors_of(model):
        if uses_external_data(tensor):
            source, offset, length = place_of(tensor, path.parent)
            if length < BESIDE_BYTES:
                _bring_in(tensor, source, offset, length)
    return model


def move_out(model: onnx.ModelProto, folder: Path, name: str) -> None:
    """Move the large weights that are in the graph to a new file of this name in its folder."""
    inline = [t for t in tensors_of(model) if not uses_external_data(t) and len(t.raw_data) >= BESIDE_BYTES]
    if not inline:
        return
    with (folder / name).open("wb") as stream:
        for tensor in inline:
            content = tensor.raw_data
            _refer(tensor, name, _padded(stream, len(content)), len(content))
            stream.write(content)


def bring_in(model: onnx.ModelProto, folder: Path) -> None:
    """Take all weights into the graph itself."""
    for tensor in tensors_of(model):
        if uses_external_data(tensor):
            _bring_in(tensor, *place_of(tensor, folder))


def size_of(model: onnx.ModelProto) -> GraphSize:
    """Return how large the graph is with all its weights."""
    functions = {(one.domain, one.name): one for one in model.functions}
    counted: dict[tuple[str, str], int] = {}

    def nodes_of(nodes: Iterable[onnx.NodeProto]) -> int:
        total = 0
        for node in nodes:
            name = (node.domain, node.op_type)
            if name in functions and name not in counted:
                counted[name] = 0  # a function that calls itself is no model: it ends here, and the checker says so
                counted[name] = nodes_of(functions[name].node)
            total += counted.get(name, 1) + sum(nodes_of(graph.node) for graph in _inner([node]))
        return total

    nodes = nodes_of(model.graph.node)
    beside = sum(ExternalDataInfo(t).length or 0 for t in tensors_of(model) if uses_external_data(t))
    return GraphSize(nodes, model.ByteSize() + beside)


def write(model: onnx.ModelProto, folder: Path, target: Path, *, inline_bytes: int | None = None) -> tuple[Path, ...]:
    """Write a graph with its weights; return the files, the model's first.

    folder: where the weights lie that the graph refers to.   inline_bytes: above it (`MAX_INLINE_BYTES` unless
    given) they go to `DATA_NAME` beside `target`, each on a page of its own. The same graph gives the same bytes.
    """
    written = onnx.ModelProto()
    written.CopyFrom(model)
    if size_of(model).bytes <= (MAX_INLINE_BYTES if inline_bytes is None else inline_bytes):
        bring_in(written, folder)
        target.write_bytes(written.SerializeToString(deterministic=True))
        return (target,)
    data = target.with_name(DATA_NAME)
    with data.open("wb") as stream:
        for tensor in (one for one in tensors_of(written) if uses_external_data(one)):
            source, offset, length = place_of(tensor, folder)
            start = _padded(stream, length)
            with source.open("rb") as weights:
                weights.seek(offset)
                for chunk in _chunks(weights, length):
                    stream.write(chunk)
            _refer(tensor, DATA_NAME, start, length)
    target.write_bytes(written.SerializeToString(deterministic=True))
    return target, data


def place_of(tensor: onnx.TensorProto, folder: Path) -> tuple[Path, int, int]:
    """Return the file, offset and length of a tensor's bytes.

    Raises InvalidModel when they are not in the folder, links resolved, or not all there.
    """
    where = ExternalDataInfo(tensor)
    path = folder / where.location
    hint = "keep a model and its weights together in one folder, unchanged"
    inside = files.is_plain_relative(where.location) and path.resolve().is_relative_to(folder.resolve())
    if not inside or not path.is_file():
        raise InvalidModel(f"its weights are said to be in {where.location[:100]!r}", str(folder), hint)
    offset, size = where.offset or 0, path.stat().st_size
    length = size - offset if where.length is None else where.length
    if offset < 0 or length < 0 or offset + length > size:
        raise InvalidModel(f"{where.location} ends before the weights do", str(path), hint)
    return path, offset, length


def content_of(tensor: onnx.TensorProto, folder: Path) -> Iterator[bytes]:
    """Yield a tensor's little-endian bytes, in pieces; of strings, each string."""
    if uses_external_data(tensor):
        source, offset, length = place_of(tensor, folder)
        with source.open("rb") as stream:
            stream.seek(offset)
            yield from _chunks(stream, length)
    elif tensor.data_type == onnx.TensorProto.STRING:
        yield from tensor.string_data
    else:
        array = onnx.numpy_helper.to_array(tensor)
        yield array.astype(array.dtype.newbyteorder("<")).tobytes()


def graphs_of(model: onnx.ModelProto) -> list[onnx.GraphProto]:
    """Return the model's graph and every graph inside of it: branches and loop bodies."""
    found, waiting = [], [model.graph]
    waiting += [graph for function in model.functions for graph in _inner(function.node)]
    while waiting:
        graph = waiting.pop()
        found.append(graph)
        waiting += _inner(graph.node)
    return found


def tensors_of(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Yield the weights of all graphs, in the order of the file."""
    for graph in graphs_of(model):
        yield from graph.initializer


def _inner(nodes: Iterable[onnx.NodeProto]) -> list[onnx.GraphProto]:
    return [
        graph
        for node in nodes
        for attribute in node.attribute
        for graph in ([attribute.g] if attribute.HasField("g") else list(attribute.graphs))
    ]


def _bring_in(tensor: onnx.TensorProto, source: Path, offset: int, length: int) -> None:
    with source.open("rb") as stream:
        stream.seek(offset)
        tensor.raw_data = stream.read(length)
    tensor.ClearField("data_location")
    tensor.ClearField("external_data")


def _refer(tensor: onnx.TensorProto, name: str, offset: int, length: int) -> None:
    tensor.ClearField("raw_data")
    tensor.ClearField("external_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", name), ("offset", str(offset)), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)


def _padded(stream: BinaryIO, length: int) -> int:
    if length >= PAGE_BYTES:
        stream.write(b"\0" * (-stream.tell() % PAGE_BYTES))
    return stream.tell()


def _chunks(stream: BinaryIO, length: int, size: int = 2**20) -> Iterator[bytes]:
    while length > 0:
        chunk = stream.read(min(size, length))
        yield chunk
        length -= len(chunk)
