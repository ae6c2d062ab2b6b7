"""Calling a model by name: every dtype and layout, every refusal, the pool, many threads."""

import logging
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from edge_runtime.artifact import open_artifact
from edge_runtime.errors import (
    EdgeError,
    InvalidModel,
    NonFiniteOutput,
    UnsupportedModel,
    UnsupportedSystem,
    UsageError,
    WrongInput,
)
from edge_runtime.manifest import Port
from edge_runtime.model import POOL_BYTES, POOL_SHAPES, Model, load
from tests import fakes
from tests.conftest import Maker

WAIT_S = 60
NUMERIC = (
    "float16",
    "float32",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "bool",
)


@pytest.fixture(scope="module")
def model(tiny_edge: Path) -> Iterator[Model]:
    with load(tiny_edge, threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    with load(fakes.write_artifact(tmp_path_factory.mktemp("pair") / "x.edge", fakes.pair()), threads=1) as opened:
        yield opened


def x(batch: int = 2) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(1).normal(size=(batch, 13)).astype("f4")


@pytest.mark.parametrize(
    "sample",
    [fakes.tiny, fakes.pair, fakes.typed, fakes.found, fakes.scalar, fakes.echo],
    ids=lambda made: made.__name__,
)
def test_called_and_bound_a_model_answers_as_the_reference_does(make_artifact: Maker, sample: Any) -> None:
    path = make_artifact(sample())
    artifact = open_artifact(path)
    case = next(artifact.golden(artifact.variant()))
    with load(path, threads=1) as opened:
        for answers in (opened(**case.inputs), opened.bind(**case.inputs)()):
            assert answers.keys() == case.outputs.keys()
            for name, wanted in case.outputs.items():
                assert answers[name].dtype == wanted.dtype
                np.testing.assert_allclose(answers[name], wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("batch", [0, 1, 3, 200])
def test_a_dynamic_dimension_takes_any_size(model: Model, batch: int) -> None:
    assert model(input=x(batch))["output"].shape == (batch, 1)
    assert model.bind(input=x(batch))()["output"].shape == (batch, 1)


@pytest.mark.parametrize(
    ("inputs", "told", "remedy"),
    [
        ({}, "no input input", "the model takes input: float32[batch, 13]"),
        ({"inptu": x()}, "no input input and unknown input inptu", "the model takes input"),
        ({"input": x(), "more": x()}, "unknown input more", "the model takes input"),
        ({"input": None}, "no input input", "the model takes"),
        ({"input": [[0.0] * 13]}, 'input "input" is a list, the model takes float32[batch, 13]', "numpy array"),
        ({"input": x().astype("f8")}, "is float64[2, 13], the model takes float32", "x.astype(numpy.float32)"),
        ({"input": x()[0]}, "is float32[13], the model takes float32[batch, 13]", "2 dimensions, not 1"),
        (
            {"input": x()[:, :12]},
            "is float32[2, 12], the model takes float32[batch, 13]",
            "the size 13 where it has 12",
        ),
        ({"input": x().astype(">f8")}, "is >f8[2, 13]", "x.astype(numpy.float32)"),
        ({"input": np.ma.masked_array(x())}, "is a MaskedArray", "numpy array"),
        ({"input": x().astype(object)}, "is object[2, 13]", "x.astype(numpy.float32)"),
    ],
)
def test_a_wrong_input_is_told_with_what_came_and_what_is_wanted(
    model: Model, inputs: dict[str, Any], told: str, remedy: str
) -> None:
    for use in (model, model.bind):
        with pytest.raises(WrongInput) as refused:
            use(**inputs)
        assert told in refused.value.what
        assert remedy in refused.value.hint


def test_a_shared_dimension_has_one_size(pair: Model) -> None:
    with pytest.raises(WrongInput, match="has batch=2, another input has batch=1"):
        pair(a=np.ones((1, 3), "f4"), b=np.ones((2, 3), "f4"))


def test_nan_and_infinity_go_through_as_numpy_has_it(pair: Model) -> None:
    odd = np.array([[np.nan, np.inf, 1]], "f4")
    np.testing.assert_array_equal(pair(a=odd, b=odd)["sum"], odd + odd)


def test_arrays_of_any_layout_are_read_right(pair: Model) -> None:
    wide = np.arange(24, dtype="f4").reshape(4, 6)
    strided, turned = wide[:, ::2], np.asfortranarray(wide[:, :3])
    for use in (pair(a=strided, b=turned), pair.bind(a=strided, b=turned)()):
        np.testing.assert_array_equal(use["sum"], strided + turned)


def test_answers_of_a_call_belong_to_the_caller(model: Model, make_artifact: Maker) -> None:
    first = model(input=x())["output"]
    before = first.copy()
    model(input=-x() * 3)
    np.testing.assert_array_equal(first, before)
    first += 1  # writable
    with load(make_artifact(fakes.echo()), threads=1) as echo:
        given = np.array([1, 2], "f4")
        answer = echo(x=given)["y"]
        answer += 1
        np.testing.assert_array_equal(given, [1, 2])


def element(dtype: str) -> int:
    names = {"float32": "FLOAT", "float64": "DOUBLE"}
    return int(TensorProto.DataType.Value(names.get(dtype, dtype.upper())))


@pytest.mark.parametrize("dtype", NUMERIC)
@pytest.mark.parametrize("size", [0, 1, 5, 100_000])  # the last is too large for the pool
def test_every_dtype_that_numpy_holds_goes_through_called_and_bound(
    make_artifact: Maker, dtype: str, size: int
) -> None:
    given = (np.arange(size) % 100).astype(dtype)
    with load(make_artifact(fakes.echo_of(element(dtype))), threads=1) as opened:
        for _ in range(2):
            for answer in (opened(x=given)["y"], opened.bind(x=given)()["y"]):
                assert answer.dtype == given.dtype
                assert answer.tobytes() == given.tobytes()
                assert not np.shares_memory(answer, given)


@pytest.mark.parametrize("size", [3, 100_000])
@pytest.mark.parametrize("dtype", ["float32", "int64", "float16"])
def test_odd_layouts_and_byte_orders_are_read_right_and_copies_are_told(
    make_artifact: Maker, caplog: pytest.LogCaptureFixture, dtype: str, size: int
) -> None:
    caplog.set_level(logging.INFO, "edge_runtime")
    wanted = (np.arange(size) % 1000).astype(dtype)
    raw = np.empty(wanted.nbytes + 1, "u1")
    unaligned = raw[1:].view(dtype)
    unaligned[...] = wanted
    strided = np.repeat(wanted, 2)[::2]
    frozen = wanted.copy()
    frozen.flags.writeable = False
    with load(make_artifact(fakes.echo_of(element(dtype))), threads=1) as opened:
        for given, told in (
            (strided, "it is not contiguous"),
            (wanted[::-1][::-1], ""),
            (wanted.astype(wanted.dtype.newbyteorder(">")), "its bytes are in the other order"),
            (unaligned, "it is not aligned"),
            (frozen, ""),
        ):
            caplog.clear()
            np.testing.assert_array_equal(opened.bind(x=given)()["y"], wanted)
            assert [record.getMessage() for record in caplog.records] == [f'input "x" is copied: {told}'] * bool(told)
            np.testing.assert_array_equal(opened(x=given)["y"], wanted)
        opened(x=wanted)
        caplog.clear()
        # a shape that is known already takes the short way, which must see the layout too
        np.testing.assert_array_equal(opened(x=strided)["y"], wanted)
        np.testing.assert_array_equal(opened(x=unaligned)["y"], wanted)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (TensorProto.BFLOAT16, r'input "x" is a tensor\(bfloat16\), which is not supported'),
        (TensorProto.FLOAT8E4M3FN, r'input "x" is a tensor\(float8e4m3fn\), which is not supported'),
        (TensorProto.FLOAT8E5M2, r'input "x" is a tensor\(float8e5m2\), which is not supported'),
    ],
)
def test_a_dtype_that_numpy_does_not_hold_is_refused_by_the_tensors_name(
    make_artifact: Maker, kind: int, told: str
) -> None:
    with pytest.raises(UnsupportedModel, match=told):
        load(make_artifact(fakes.echo_of(kind)))


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (fakes.sequence, r'output "y" is a seq\(tensor\(float\)\), which is not supported'),
        (fakes.mapping, r'output "y" is a seq\(map\(int64,tensor\(float\)\)\), which is not supported'),
        (fakes.optional, r'output "y" is a optional\(tensor\(float\)\), which is not supported'),
    ],
)
def test_an_output_that_is_no_tensor_is_refused_by_its_name(make_artifact: Maker, made: Any, told: str) -> None:
    with pytest.raises(UnsupportedModel, match=told):
        load(make_artifact(made()))


def test_strings_go_through_a_call(make_artifact: Maker) -> None:
    with load(make_artifact(fakes.echo_of(TensorProto.STRING)), threads=1) as texts:
        words = ["", "zwei", "三", "a\0b", "x" * 1000]
        for given in (np.array(words, object), np.array(words), np.array(words * 2, object)[::2]):
            answer = texts(x=given)["y"]
            assert answer.dtype == object
            assert answer.tolist() == given.tolist()
        assert texts(x=np.array([], object))["y"].shape == (0,)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (np.array([b"bytes"]), r'input "x" is bytes40\[1\]'),
        (np.array([b"bytes"], object), 'input "x" holds a bytes'),
        (np.array(["a", None], object), 'input "x" holds a NoneType'),
        (np.array(["a", 1], object), 'input "x" holds a int'),
        (np.array(["\ud800"], object), 'input "x" holds .*, which no UTF-8 can hold'),
        (np.array([1.5]), r'input "x" is float64\[1\]'),
    ],
)
def test_what_is_no_text_is_refused_where_strings_are_wanted(make_artifact: Maker, given: Any, told: str) -> None:
    # onnxruntime reads past the end of byte strings, and takes None for the text "None"
    with load(make_artifact(fakes.echo_of(TensorProto.STRING)), threads=1) as texts:
        with pytest.raises(WrongInput, match=told):
            texts(x=given)
        texts(x=np.array(["known"], object))
        with pytest.raises(WrongInput, match=told):  # the short way of a known shape
            texts(x=given)


def test_large_answers_belong_to_the_caller_too_and_outlive_the_model(make_artifact: Maker) -> None:
    given = np.arange(100_000, dtype="f4")
    opened = load(make_artifact(fakes.echo()), threads=1)
    first, second = opened(x=given)["y"], opened(x=given * 2)["y"]
    opened.close()
    del opened
    np.testing.assert_array_equal(first, given)
    np.testing.assert_array_equal(second, given * 2)
    first += 1
    assert given[0] == 0


def test_whatever_has_a_shape_and_is_no_array_is_refused(model: Model) -> None:
    class Odd:
        shape, dtype = [1, 13], "float32"  # a list can't be looked up

    for given in (Odd(), 1.0, "text", np.float32(1), memoryview(b"1")):
        with pytest.raises(WrongInput, match=f"is a {type(given).__name__}"):
            model(input=given)  # type: ignore[arg-type]


def test_the_pool_keeps_the_shapes_that_come_back_and_counts(tiny_edge: Path) -> None:
    with load(tiny_edge, threads=1) as opened:
        assert (opened.pool.shapes, opened.pool.hits, opened.pool.misses) == (0, 0, 0)
        for _ in range(3):
            for batch in (1, 2, 3):
                opened(input=x(batch))
        assert (opened.pool.shapes, opened.pool.hits, opened.pool.misses) == (3, 6, 3)


def test_the_pool_is_bounded_and_gives_a_used_shape_a_second_chance(tiny_edge: Path) -> None:
    with load(tiny_edge, threads=1) as opened:
        for batch in range(1, POOL_SHAPES + 1):
            opened(input=x(batch))
        opened(input=x(100))  # each was new, so each has had its chance once: the first leaves
        opened(input=x(2))  # used again
        hits = opened.pool.hits
        assert hits == 1
        opened(input=x(101))  # the second comes to the front, is spared, and the third leaves
        assert opened.pool.shapes == POOL_SHAPES
        misses = opened.pool.misses
        opened(input=x(2))
        assert (opened.pool.hits, opened.pool.misses) == (hits + 1, misses)
        opened(input=x(3))
        assert (opened.pool.hits, opened.pool.misses) == (hits + 1, misses + 1)


def test_hits_of_shapes_that_left_the_pool_still_count(tiny_edge: Path) -> None:
    with load(tiny_edge, threads=1) as opened:
        for batch in range(1, 4 * POOL_SHAPES):
            opened(input=x(batch))
            opened(input=x(batch))
        assert opened.pool.shapes == POOL_SHAPES
        assert opened.pool.hits == opened.pool.misses == 4 * POOL_SHAPES - 1


def test_what_is_large_going_in_or_coming_out_is_not_kept_in_buffers(make_artifact: Maker) -> None:
    with load(make_artifact(fakes.spread()), threads=1) as opened:
        for _ in range(3):
            assert opened(x=np.ones((2, 1), "f4"))["y"].shape == (2, 100_000)
        assert POOL_BYTES < 2 * 100_000 * 4
        assert all(kept.direct and not kept.free for kept in opened._pool.values())
        assert (opened.pool.hits, opened.pool.misses) == (2, 1)


def test_many_threads_and_shapes_at_once_are_answered_right(tiny_edge: Path) -> None:
    with load(tiny_edge, threads=1) as opened:
        inputs = [x(batch) * (batch + 1) for batch in range(1, 21)]  # more shapes than the pool holds
        wanted = [opened(input=one)["output"] for one in inputs]
        wrong, done, ready = [0], [0], threading.Barrier(8)

        def use(seed: int) -> None:
            random = np.random.default_rng(seed)
            ready.wait(WAIT_S)
            for index in random.integers(0, len(inputs), 500):
                answer = opened(input=inputs[index])["output"]
                wrong[0] += not np.allclose(answer, wanted[index], rtol=1e-6)
            done[0] += 1

        threads = [threading.Thread(target=use, args=[seed]) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT_S)
        assert (wrong[0], done[0]) == (0, 8)
        assert opened.pool.shapes <= POOL_SHAPES
        assert opened.pool.hits + opened.pool.misses >= 8 * 500 * 0.9  # counts may miss a few


def test_threads_are_given_buffers_of_their_own(make_artifact: Maker) -> None:
    with load(make_artifact(fakes.slow()), threads=1) as opened:
        wrong, done = [0], [0]

        def use(value: float) -> None:
            given = np.full((8, 400), value, "f4")
            wanted = None
            for _ in range(20):
                answer = opened(x=given)["y"]
                wanted = answer.copy() if wanted is None else wanted
                wrong[0] += not np.array_equal(answer, wanted) or not np.allclose(answer, value * 1.01**12, rtol=1e-4)
            done[0] += 1

        threads = [threading.Thread(target=use, args=[float(value)]) for value in range(1, 9)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT_S)
        assert (wrong[0], done[0]) == (0, 8)


@pytest.mark.parametrize("size", [3, 100_000])
def test_non_finite_answers_are_told_when_that_was_asked_for(make_artifact: Maker, size: int) -> None:
    path, fine = make_artifact(fakes.logarithm()), np.ones(size, "f4")
    odd = fine.copy()
    odd[:2] = -1, 0
    with load(path, threads=1, check_finite=True) as checked, load(path, threads=1) as unchecked:
        assert np.isnan(unchecked(x=odd)["y"][0])
        for _ in range(2):
            with pytest.raises(NonFiniteOutput, match='output "y" holds 2 values that are NaN or infinite') as told:
                checked(x=odd)
            assert told.value.exit_code == 3
            assert checked(x=fine)["y"].shape == (size,)


def test_a_closed_model_says_so(tiny_edge: Path) -> None:
    with load(tiny_edge, threads=1) as opened:
        opened(input=x())
    for use in (opened, opened.bind):
        with pytest.raises(UsageError, match="the model is closed") as refused:
            use(input=x())
        assert str(tiny_edge) in refused.value.where
    with pytest.raises(UsageError, match="the model is closed"):
        next(opened.stream([x()]))


def test_a_failing_size_that_was_never_tested_is_named_as_the_suspect(make_artifact: Maker) -> None:
    port = Port(name="x", dtype="float32", shape=("n",), tested=(("n", (2, 6, 8)),))
    path = make_artifact(fakes.halves(), inputs=(port,))
    with load(path, threads=1) as opened:
        for size in (7, 99_999):  # pooled and not
            for use in (opened, lambda **inputs: opened.bind(**inputs)()):
                with pytest.raises(InvalidModel, match=r'node "fold" \(Reshape\) failed') as refused:
                    use(x=np.zeros(size, "f4"))
                assert refused.value.where == f"{path} (fp32)"
                assert refused.value.hint.startswith(f"n={size} was not among the tested 2, 6, 8: use one of these")


def test_an_input_that_no_memory_could_hold_is_told_as_such(make_artifact: Maker) -> None:
    with load(make_artifact(fakes.echo()), threads=1) as opened:
        endless = np.broadcast_to(np.float32(1), (1 << 45,))  # 128 TiB that take four bytes
        for use in (opened, opened.bind):
            with pytest.raises(UnsupportedSystem, match="not enough memory"):
                use(x=endless)


@pytest.mark.parametrize("preset", ["latency", "balanced", "memory"])
def test_presets_change_no_answer(tiny_edge: Path, model: Model, preset: str) -> None:
    with load(tiny_edge, threads=1, preset=preset) as opened:
        assert opened(input=x(7))["output"].tobytes() == model(input=x(7))["output"].tobytes()


def test_an_unknown_preset_is_a_usage_error(tiny_edge: Path) -> None:
    with pytest.raises(UsageError, match="preset='fast'") as refused:
        load(tiny_edge, preset="fast")
    assert "latency, balanced, memory" in refused.value.hint


def test_a_first_call_imports_nothing_more_of_numpy(tiny_edge: Path) -> None:
    code = (
        "import sys, numpy, edge_runtime; model = edge_runtime.load(sys.argv[1], threads=1); before = {*sys.modules}; "
        "model(input=numpy.ones((1, 13), 'f4')); print(sorted({*sys.modules} - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tiny_edge)],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "[]\n"  # numpy's masked arrays alone cost a first call 7 ms


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"threads": 1.5}, "threads=1.5"),
        ({"threads": "1"}, "threads='1'"),
        ({"threads": True}, "threads=True"),
        ({"memory_limit": "1G"}, "memory_limit='1G'"),
        ({"memory_limit": float("nan")}, "memory_limit=nan"),
        ({"preset": []}, "preset=[]"),
        ({"variant": None}, "variant=None"),
    ],
)
def test_an_argument_of_a_wrong_type_is_named(tiny_edge: Path, wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=re.escape(told)):
        load(tiny_edge, **wrong)


@pytest.mark.parametrize("path", [None, b"tiny.edge", 3])
def test_a_path_of_a_wrong_type_is_refused(path: Any) -> None:
    with pytest.raises(UsageError, match=f"the path is a {type(path).__name__}"):
        load(path)


def test_names_that_are_no_utf8_are_an_invalid_model(make_artifact: Maker) -> None:
    for place in ("operator", "dimension", "output"):
        sample = fakes.tiny()
        text = {"operator": b"MatMul", "dimension": b"batch", "output": b"output"}[place]
        data = sample.model.SerializeToString()
        assert text in data
        path = make_artifact(folder=f"{place}.edge")
        file = path / "fp32" / "model.onnx"
        file.write_bytes(data.replace(text, b"\xff" * len(text)))
        artifact = open_artifact(path)
        fakes.write_manifest(path, replace(artifact.manifest, variants=(fakes.variant(path, "fp32"),)))
        with pytest.raises(InvalidModel, match="no UTF-8"):
            load(path, threads=1)


def test_an_output_too_large_for_any_machine_is_told_so(make_artifact: Maker) -> None:
    with load(make_artifact(fakes.outer()), threads=1) as model:
        x = np.empty((2**32, 0), "f4")
        with pytest.raises(UnsupportedSystem, match="not enough memory"):
            model.bind(x=x)
        with pytest.raises(EdgeError, match=r"not enough memory|Integer overflow"):
            model(x=x)
