"""An ONNX file of one operator, written by hand: boards have no ``onnx`` package, and onnxruntime loads only files.

A protobuf message is a row of fields, each a key and a value. The key is ``number << 3 | wire type``; of the wire
types ONNX needs two here: 0, an integer as a varint (seven bits a byte, the lowest first, the top bit says that more
follow), and 2, a length and that many bytes, which may be a message again.
Sources: protobuf.dev/programming-guides/encoding; the field numbers are those of onnx/onnx.proto (IR version 8).
"""

from collections.abc import Mapping, Sequence

IR_VERSION, OPSET = 8, 13  # read by onnxruntime 1.10 and every later one
ELEMENT_TYPES = {"float32": 1, "uint8": 2, "int8": 3, "int32": 6}  # TensorProto.DataType


def model(
    operator: str, inputs: Mapping[str, tuple[str, Sequence[int]]], outputs: Mapping[str, tuple[str, Sequence[int]]]
) -> bytes:
    """Return a model that applies `operator` to its inputs, in order.

    inputs, outputs: dtype and shape by name; dtypes are those of `ELEMENT_TYPES`.
    """
    node = b"".join(
        [*(_bytes(1, name) for name in inputs), *(_bytes(2, name) for name in outputs), _bytes(4, operator)]
    )
    graph = b"".join(
        [
            _bytes(1, node),
            _bytes(2, operator),
            *(_bytes(11, _value(name, *what)) for name, what in inputs.items()),
            *(_bytes(12, _value(name, *what)) for name, what in outputs.items()),
        ]
    )
    return _integer(1, IR_VERSION) + _bytes(7, graph) + _bytes(8, _integer(2, OPSET))


def _value(name: str, dtype: str, shape: Sequence[int]) -> bytes:
    """Return a ValueInfoProto: name, and TypeProto{tensor_type{elem_type, shape{dim{dim_value}…}}}."""
    dimensions = b"".join(_bytes(1, _integer(1, size)) for size in shape)
    tensor = _integer(1, ELEMENT_TYPES[dtype]) + _bytes(2, dimensions)
    return _bytes(1, name) + _bytes(2, _bytes(1, tensor))


def _bytes(field: int, value: str | bytes) -> bytes:
    content = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _integer(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
