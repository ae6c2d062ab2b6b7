"""Work by hand: every formula against a sum written out."""

import pytest

from edge_runtime.op_counts import FORMULAS, Counts, Tensor, count


def f32(*shape: int) -> Tensor:
    return Tensor("float", shape)


def i8(*shape: int) -> Tensor:
    return Tensor("int8", shape)


SCALE, ZERO = f32(), Tensor("uint8", ())


@pytest.mark.parametrize(
    ("operator", "inputs", "outputs", "operations"),
    [
        # 2·16·5·5 outputs, each a sum of 3·3·3 products, and a bias
        ("Conv", [f32(2, 3, 5, 5), f32(16, 3, 3, 3), f32(16)], [f32(2, 16, 5, 5)], 800 * 27 * 2 + 800),
        ("Conv", [f32(2, 3, 5, 5), f32(16, 3, 3, 3)], [f32(2, 16, 5, 5)], 800 * 27 * 2),
        # depthwise: one channel a group
        ("Conv", [f32(1, 8, 4, 4), f32(8, 1, 3, 3)], [f32(1, 8, 2, 2)], 32 * 9 * 2),
        ("Conv", [f32(1, 4, 10), f32(6, 4, 3)], [f32(1, 6, 8)], 48 * 12 * 2),
        # a tensor added to the result, after the bias
        ("FusedConv", [f32(1, 3, 4, 4), f32(2, 3, 1, 1), f32(2), f32(1, 2, 4, 4)], [f32(1, 2, 4, 4)], 32 * 6 + 64),
        (
            "QLinearConv",
            [
                Tensor("uint8", (1, 3, 4, 4)),
                SCALE,
                ZERO,
                i8(2, 3, 1, 1),
                SCALE,
                i8(),
                SCALE,
                ZERO,
                Tensor("int32", (2,)),
            ],
            [Tensor("uint8", (1, 2, 4, 4))],
            32 * 6 + 32,
        ),
        ("ConvTranspose", [f32(1, 4, 3, 3), f32(4, 2, 2, 2), f32(2)], [f32(1, 2, 6, 6)], 36 * 8 * 2 + 72),
        ("MatMul", [f32(5, 7), f32(7, 3)], [f32(5, 3)], 15 * 7 * 2),
        ("MatMul", [f32(5, 7), f32(4, 7, 3)], [f32(4, 5, 3)], 60 * 7 * 2),
        ("MatMul", [f32(7), f32(7, 3)], [f32(3)], 3 * 7 * 2),
        ("MatMul", [f32(5, 7), f32(7)], [f32(5)], 5 * 7 * 2),
        ("MatMul", [f32(7), f32(7)], [f32()], 7 * 2),
        ("MatMul", [f32(4, 5, 7), f32(7)], [f32(4, 5)], 20 * 7 * 2),
        ("FusedMatMul", [f32(4, 7, 5), f32(4, 7, 3)], [f32(4, 5, 3)], 60 * 7 * 2),
        ("MatMulInteger", [Tensor("uint8", (5, 7)), i8(7, 3)], [Tensor("int32", (5, 3))], 15 * 7 * 2),
        ("Gemm", [f32(5, 7), f32(3, 7), f32(3)], [f32(5, 3)], 15 * 7 * 2 + 15),
        ("Gemm", [f32(7, 5), f32(7, 3)], [f32(5, 3)], 15 * 7 * 2),
        (
            "QGemm",
            [Tensor("uint8", (5, 7)), SCALE, ZERO, i8(3, 7), SCALE, i8(), Tensor("int32", (3,)), SCALE, ZERO],
            [Tensor("uint8", (5, 3))],
            15 * 7 * 2 + 15,
        ),
        # 9 steps, batch 2, W 1·(4·6)·5, R 1·(4·6)·6
        ("LSTM", [f32(9, 2, 5), f32(1, 24, 5), f32(1, 24, 6)], [f32(9, 1, 2, 6)], 2 * 18 * (120 + 144)),
        ("Add", [f32(4, 3), f32(3)], [f32(4, 3)], 12),
        ("Reshape", [f32(4, 3), Tensor("int64", (1,))], [f32(12)], 0),
        ("ReduceMean", [f32(4, 3)], [f32(4)], 12),
        ("Softmax", [f32(4, 3)], [f32(4, 3)], 60),
    ],
)
def test_operations_are_those_counted_by_hand(
    operator: str, inputs: list[Tensor], outputs: list[Tensor], operations: int
) -> None:
    assert count(operator, inputs, outputs).operations == operations


@pytest.mark.parametrize(
    ("operator", "inputs", "outputs"),
    [
        ("Inverse", [f32(3, 3)], [f32(3, 3)]),  # no formula
        ("Conv", [f32(2, 3, 5, 5)], [f32(2, 16, 5, 5)]),  # the weights were packed away
        ("Gemm", [f32(4, 7)], [f32(5, 3)]),  # nothing fits
        ("MatMul", [], [f32(5, 3)]),
        ("MatMul", [f32()], [f32(5, 3)]),
        ("LSTM", [f32(9, 2, 5), f32(1, 24, 5)], [f32(9, 1, 2, 6)]),
        ("Relu", [f32(3)], []),
    ],
)
def test_what_can_not_be_counted_is_none_and_never_zero(
    operator: str, inputs: list[Tensor], outputs: list[Tensor]
) -> None:
    assert count(operator, inputs, outputs).operations is None


@pytest.mark.parametrize(
    ("operator", "inputs", "outputs", "moved"),
    [
        ("Add", [f32(4, 3), f32(3)], [f32(4, 3)], 4 * (12 + 3 + 12)),
        ("Cast", [f32(4)], [Tensor("int64", (4,))], 16 + 32),
        ("Flatten", [f32(4, 3)], [f32(12)], 0),
        ("Gather", [f32(1000, 8), Tensor("int64", (2,))], [f32(2, 8)], 2 * 64),
        ("Shape", [f32(1000)], [Tensor("int64", (1,))], 8),
        ("Identity2", [Tensor("string", (4,))], [f32(4)], None),
    ],
)
def test_bytes_are_each_tensor_moved_once(
    operator: str, inputs: list[Tensor], outputs: list[Tensor], moved: int | None
) -> None:
    assert count(operator, inputs, outputs).bytes == moved


@pytest.mark.parametrize(
    ("operator", "dtype", "arithmetic"),
    [("Add", "float", "float32"), ("Add", "float16", None), ("QLinearAdd", "uint8", "int8")],
)
def test_arithmetic_is_that_of_the_first_input(operator: str, dtype: str, arithmetic: str | None) -> None:
    assert count(operator, [Tensor(dtype, (2,))], [Tensor(dtype, (2,))]).arithmetic == arithmetic


def test_a_dynamically_quantized_product_of_floats_is_integer_arithmetic() -> None:
    work = count("DynamicQuantizeMatMul", [f32(5, 7), i8(7, 3), f32(1)], [f32(5, 3)])
    assert work == Counts(15 * 7 * 2, 4 * 35 + 21 + 4 + 4 * 15, "int8")


def test_no_formula_fails_on_a_scalar_or_an_empty_tensor() -> None:
    for operator in FORMULAS:
        for shape in ((), (0,), (0, 3), (2, 0, 4)):
            counts = count(operator, [f32(*shape)] * 3, [f32(*shape)])
            assert counts.operations is None or counts.operations >= 0
