"""How much work an operator does at least: arithmetic and bytes, counted from the shapes of its tensors.

Pure. A multiply-add counts as two operations, one per output for a bias; an activation fused into another operator
is not counted, because the shapes don't tell of it. Where no formula is known the count is None, never 0.
Shapes are those the kernel sees: a layout that pads channels to full vectors counts its padding, which is computed.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# bytes of one element, by onnxruntime's names of types; strings and sub-byte types have no fixed size
ELEMENT_BYTES = {
    **dict.fromkeys(("bool", "int8", "uint8"), 1),
    **dict.fromkeys(("float16", "bfloat16", "int16", "uint16"), 2),
    **dict.fromkeys(("float", "int32", "uint32"), 4),
    **dict.fromkeys(("double", "int64", "uint64"), 8),
}
FLOAT32, INT8 = "float32", "int8"  # the arithmetic that a peak is measured for


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor as onnxruntime's profile tells it: its name of the type, such as "float", and the shape."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        """Return how many elements it has; a scalar has one."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int | None:
        """Return its size, or None for types without a fixed one."""
        size = ELEMENT_BYTES.get(self.dtype)
        return None if size is None else size * self.elements


@dataclass(frozen=True, slots=True)
class Counts:
    """One call's work: operations, bytes that have to move at least, and the kind of arithmetic (None: other)."""

    operations: int | None
    bytes: int | None
    arithmetic: str | None


Tensors = Sequence[Tensor]
Formula = Callable[[Tensors, Tensors], int | None]


def count(operator: str, inputs: Tensors, outputs: Tensors) -> Counts:
    """Return the work of one call.

    operator: the type, as onnxruntime names it after fusing.   inputs: weights too; absent optional ones are left out.
    """
    formula = FORMULAS.get(operator)
    operations = formula(inputs, outputs) if formula and inputs and outputs else None
    return Counts(operations, _moved(operator, inputs, outputs), _arithmetic(operator, inputs))


def _convolution(inputs: Tensors, outputs: Tensors) -> int | None:
    """2 · outputs · C/groups · kernel, plus 1 per output for the bias and 1 for a tensor added to the result.

    The weights are [M, C/groups, k1, k2, …] (ONNX operator Conv): each output is a sum over all but their first
    dimension. They are the second tensor with as many dimensions as x, also where scales stand between (QLinearConv).
    """
    x, y = inputs[0], outputs[0]
    full = [tensor for tensor in inputs[1:] if len(tensor.shape) == len(x.shape) > 2]  # noqa: PLR2004 - N, C, spatial
    if not full:
        return None
    bias = any(len(tensor.shape) == 1 and tensor.dtype in {"float", "int32"} for tensor in inputs[-2:])
    return 2 * y.elements * math.prod(full[0].shape[1:]) + y.elements * (bias + len(full) - 1)


def _transposed_convolution(inputs: Tensors, outputs: Tensors) -> int | None:
    """2 · inputs · M/groups · kernel, plus the bias: each input is spread over its weights [C, M/groups, k1, …]."""
    x, y = inputs[0], outputs[0]
    full = [tensor for tensor in inputs[1:] if len(tensor.shape) == len(x.shape) > 2]  # noqa: PLR2004 - N, C, spatial
    if not full:
        return None
    return 2 * x.elements * math.prod(full[0].shape[1:]) + (y.elements if len(inputs[-1].shape) == 1 else 0)


def _product(inputs: Tensors, outputs: Tensors) -> int | None:
    """2 · outputs · K, where the sums run over the K columns of the left matrix (numpy.matmul)."""
    return 2 * outputs[0].elements * inputs[0].shape[-1] if inputs[0].shape else None


def _turned_product(inputs: Tensors, outputs: Tensors) -> int | None:
    """2 · outputs · K of [.., M, K] · [.., K, N], where the left matrix may be given as [.., K, M] (BLAS xGEMM)."""
    left, product = inputs[0].shape, outputs[0].shape
    if len(left) < 2 or len(product) < 2 or product[-2] not in left[-2:]:  # noqa: PLR2004 - a matrix
        return None
    return 2 * outputs[0].elements * (left[-1] if left[-2] == product[-2] else left[-2])


def _product_and_sum(inputs: Tensors, outputs: Tensors) -> int | None:
    """2 · outputs · K, plus 1 per output where a third floating tensor or an integer bias is added (ONNX Gemm)."""
    product = _turned_product(inputs, outputs)
    if product is None:
        return None
    quantized = inputs[0].dtype != "float"
    added = any(tensor.dtype == "int32" for tensor in inputs) if quantized else len(inputs) > 2  # noqa: PLR2004 - A, B
    return product + outputs[0].elements * added


def _recurrent(inputs: Tensors, outputs: Tensors) -> int | None:
    """2 · steps · batch · (|W| + |R|): each step multiplies both matrices of all gates and directions by a vector.

    X is [steps, batch, inputs], W [directions, gates · hidden, inputs], R [directions, gates · hidden, hidden] (ONNX
    LSTM, GRU, RNN; DynamicQuantizeLSTM has the last two turned). The gates' own arithmetic is linear in the hidden
    size and left out, as is usual.
    """
    del outputs
    matrices = [tensor for tensor in inputs[1:3] if len(tensor.shape) == 3]  # noqa: PLR2004 - a matrix per direction
    if len(inputs[0].shape) != 3 or len(matrices) != 2:  # noqa: PLR2004 - as above, W and R
        return None
    return 2 * math.prod(inputs[0].shape[:2]) * sum(tensor.elements for tensor in matrices)


def _each_output(operations: int) -> Formula:
    return lambda _, outputs: operations * outputs[0].elements


def _each_input(operations: int) -> Formula:
    return lambda inputs, _: operations * inputs[0].elements


_OF_ONE_AN_OUTPUT = """
Abs Add And BiasGelu Ceil Clip Cos Div Elu Equal Erf Exp FastGelu Floor Gelu Greater GreaterOrEqual
HardSigmoid HardSwish LeakyRelu Less LessOrEqual Log Max Min Mod Mul Neg Not Or PRelu Pow QLinearAdd
QLinearLeakyRelu QLinearMul QLinearSigmoid QuickGelu Reciprocal Relu Round Sigmoid Sign Sin Softplus Sqrt Sub
Sum Tanh Where Xor
"""
_MOVERS = """Cast Concat ConstantOfShape DepthToSpace Expand Flatten Gather GatherElements GatherND Identity
Pad QLinearConcat ReorderInput ReorderOutput Reshape Resize Scatter ScatterElements ScatterND Shape Size Slice
SpaceToDepth Split Squeeze Tile Transpose Unsqueeze"""
_REDUCERS = """GlobalAveragePool GlobalMaxPool QLinearGlobalAveragePool QLinearReduceMean ReduceMax ReduceMean
ReduceMin ReduceProd ReduceSum"""

FORMULAS: dict[str, Formula] = {
    **dict.fromkeys(("Conv", "FusedConv", "NhwcFusedConv", "ConvInteger", "QLinearConv"), _convolution),
    "ConvTranspose": _transposed_convolution,
    **dict.fromkeys(
        ("MatMul", "MatMulInteger", "MatMulIntegerToFloat", "QLinearMatMul", "MatMulNBits", "DynamicQuantizeMatMul"),
        _product,
    ),
    "FusedMatMul": _turned_product,
    **dict.fromkeys(("Gemm", "FusedGemm", "QGemm"), _product_and_sum),
    **dict.fromkeys(("LSTM", "GRU", "RNN", "DynamicQuantizeLSTM"), _recurrent),
    # one operation an output, whatever the function: what an exponential costs differs from CPU to CPU
    **dict.fromkeys(_OF_ONE_AN_OUTPUT.split(), _each_output(1)),
    **dict.fromkeys(_MOVERS.split(), _each_output(0)),
    **dict.fromkeys(_REDUCERS.split(), _each_input(1)),  # each element enters one sum or comparison
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), _each_output(2)),  # a scale and a zero point
    "BatchNormalization": _each_output(2),  # at inference a factor and a summand a channel
    **dict.fromkeys(("Softmax", "LogSoftmax"), _each_output(5)),  # maximum, difference, exponential, sum, quotient
    # sum, difference, square, sum of squares, quotient, scale, shift; a skip connection adds one
    "LayerNormalization": _each_output(7),
    "SkipLayerNormalization": _each_output(8),
}

# they hand the buffer on, as onnxruntime's MayInplace and Alias declarations for these kernels say
_VIEWS = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
# they read as much as they write, not the whole of what they choose from
_CHOOSERS = frozenset({"Gather", "GatherElements", "GatherND", "Slice"})
_MAKERS = frozenset({"ConstantOfShape", "Expand", "Shape", "Size", "Tile"})


def _moved(operator: str, inputs: Tensors, outputs: Tensors) -> int | None:
    """Return the least traffic: each input, weights included, read once and each output written once."""
    if operator in _VIEWS:
        return 0
    written = [tensor.bytes for tensor in outputs]
    read = [] if operator in _MAKERS else written if operator in _CHOOSERS else [tensor.bytes for tensor in inputs]
    sizes = [size for size in (*read, *written) if size is not None]
    return sum(sizes) if len(sizes) == len(read) + len(written) else None


def _arithmetic(operator: str, inputs: Tensors) -> str | None:
    first = inputs[0].dtype if inputs else ""
    if first in {"int8", "uint8"} or operator.startswith("DynamicQuantize"):
        return INT8
    return FLOAT32 if first == "float" else None
