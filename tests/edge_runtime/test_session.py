"""Loading and calling a model: every refusal says which input, what came and what was expected."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from onnxruntime.capi import onnxruntime_pybind11_state as capi

from edge_runtime import session
from edge_runtime.artifact import open_artifact
from edge_runtime.errors import (
    EdgeError,
    HashMismatch,
    InvalidModel,
    ManifestError,
    UnsupportedModel,
    UnsupportedSystem,
    UsageError,
    WrongInput,
)
from edge_runtime.manifest import Port
from edge_runtime.session import Model, load
from tests import fakes
from tests.conftest import Maker


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
        ({"input": x().astype(">f4")}, "is >f4[2, 13]", "x.astype(numpy.float32)"),
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


def test_a_bound_call_copies_its_inputs_and_leaves_the_callers_alone(pair: Model) -> None:
    given = np.ones((2, 3), "f4")
    call = pair.bind(a=given, b=given)
    given[...] = 100
    assert call()["sum"].tolist() == [[2.0] * 3] * 2
    call.inputs["a"][...] = 5
    assert call()["sum"].tolist() == [[6.0] * 3] * 2
    assert given[0, 0] == 100


def test_answers_of_a_bound_call_are_views_that_the_next_call_changes(pair: Model) -> None:
    call = pair.bind(a=np.ones((1, 3), "f4"), b=np.ones((1, 3), "f4"))
    answer = call()["sum"]
    call.inputs["b"][...] = 9
    assert answer.tolist() == [[2.0] * 3]
    assert call()["sum"] is answer
    assert answer.tolist() == [[10.0] * 3]


def test_bound_calls_do_not_share_buffers(pair: Model) -> None:
    one = pair.bind(a=np.ones((1, 3), "f4"), b=np.ones((1, 3), "f4"))
    two = pair.bind(a=np.full((1, 3), 5, "f4"), b=np.ones((1, 3), "f4"))
    first, second = one()["sum"], two()["sum"]
    assert (first[0, 0], second[0, 0]) == (2.0, 6.0)


def test_an_output_whose_size_the_data_decide_is_new_at_each_bound_call(make_artifact: Maker) -> None:
    with load(make_artifact(fakes.found()), threads=1) as opened:
        call = opened.bind(x=np.array([0, 1, 0, 2], "f4"))
        assert call()["places"].tolist() == [[1, 3]]
        call.inputs["x"][...] = 1
        assert call()["places"].tolist() == [[0, 1, 2, 3]]
        call.inputs["x"][...] = 0
        assert call()["places"].shape == (1, 0)


def test_a_closed_model_says_so_and_a_bound_call_lives_on(tiny_edge: Path) -> None:
    opened = load(tiny_edge, threads=1)
    call = opened.bind(input=x())
    expected = opened(input=x())["output"].tolist()
    opened.close()
    opened.close()
    for use in (opened, opened.bind):
        with pytest.raises(UsageError, match="the model is closed"):
            use(input=x())
    assert call()["output"].tolist() == expected


def test_a_senseless_thread_count_and_an_unknown_variant_are_usage_errors(tiny_edge: Path) -> None:
    for wrong in (0, -1):
        with pytest.raises(UsageError, match=f"threads={wrong}"):
            load(tiny_edge, threads=wrong)
    with pytest.raises(UsageError, match="no variant"):
        load(tiny_edge, variant="int4")


def with_model(path: Path, content: bytes) -> Path:
    """Put a model file into an artifact whose manifest vouches for it."""
    (path / "fp32" / "model.onnx").write_bytes(content)
    manifest = open_artifact(path).manifest
    fakes.write_manifest(path, replace(manifest, variants=(fakes.variant(path, "fp32"),)))
    return path


def test_a_changed_model_is_refused_before_it_is_opened(make_artifact: Maker) -> None:
    path = make_artifact()
    (path / "fp32" / "model.onnx").write_bytes((path / "fp32" / "model.onnx").read_bytes()[:-1] + b"x")
    with pytest.raises(HashMismatch):
        load(path)


@pytest.mark.parametrize("kept", [0, 1, 60, 150])
def test_a_truncated_model_is_an_invalid_model(make_artifact: Maker, kept: int) -> None:
    path = make_artifact()
    content = (path / "fp32" / "model.onnx").read_bytes()
    assert kept < len(content)
    with pytest.raises((InvalidModel, ManifestError)) as refused:
        load(with_model(path, content[:kept]))
    assert refused.value.exit_code == 3


def test_a_file_that_is_no_model_is_an_invalid_model(make_artifact: Maker) -> None:
    with pytest.raises(InvalidModel, match="not a valid ONNX model"):
        load(with_model(make_artifact(), b"%PDF-1.7 not a model"))


def test_a_newer_ir_and_a_newer_opset_are_unsupported(make_artifact: Maker) -> None:
    for change in ({"ir_version": 99}, {"opset": 99}):
        newer = fakes.tiny().model
        if "opset" in change:
            newer.opset_import[0].version = change["opset"]
        else:
            newer.ir_version = change["ir_version"]
        path = make_artifact(folder=f"{next(iter(change))}.edge")
        with pytest.raises(UnsupportedModel, match="newer than this onnxruntime") as refused:
            load(with_model(path, newer.SerializeToString()))
        assert refused.value.exit_code == 5
        assert onnxruntime.__version__ in refused.value.hint


def test_an_operator_that_nobody_implements_is_refused(make_artifact: Maker) -> None:
    odd = fakes.tiny().model
    odd.graph.node[0].op_type = "Frobnicate"
    with pytest.raises((InvalidModel, UnsupportedModel)):
        load(with_model(make_artifact(), odd.SerializeToString()))


def test_an_artifact_that_asks_for_a_newer_onnxruntime_names_both_versions(make_artifact: Maker) -> None:
    with pytest.raises(UnsupportedSystem, match=r"needs onnxruntime 99\.1 or newer") as refused:
        load(make_artifact(requires_onnxruntime="99.1"))
    assert onnxruntime.__version__ in refused.value.what


def test_the_very_version_that_is_asked_for_is_enough(make_artifact: Maker) -> None:
    load(make_artifact(requires_onnxruntime=onnxruntime.__version__)).close()


@pytest.mark.parametrize(
    ("lie", "told"),
    [
        ({"name": "other"}, "the manifest says ['other']"),
        ({"dtype": "float64"}, "the manifest says float64[batch, 13]"),
        ({"dtype": "floaty"}, "the manifest says floaty"),
        ({"dtype": "object"}, "the manifest says object"),
        ({"shape": ("batch", 12)}, "the manifest says float32[batch, 12]"),
        ({"shape": ("batch", "features")}, "the manifest says float32[batch, features]"),
        ({"shape": (13,)}, "the manifest says float32[13]"),
        ({"shape": ("batch", 13, 1)}, "the manifest says float32[batch, 13, 1]"),
    ],
)
def test_a_manifest_that_lies_about_a_port_is_refused(make_artifact: Maker, lie: dict[str, Any], told: str) -> None:
    honest = Port(name="input", dtype="float32", shape=("batch", 13))
    with pytest.raises(ManifestError, match=re.escape(told)):
        load(make_artifact(inputs=(replace(honest, **lie),)))


def test_a_manifest_that_lies_about_a_size_cannot_make_a_bound_call_write_past_its_buffer(
    make_artifact: Maker,
) -> None:
    # the file says [batch, 1]; one row is what the manifest promises, and seven are what the model answers
    path = make_artifact(outputs=(Port(name="output", dtype="float32", shape=(1, 1)),))
    with load(path, threads=1) as opened:
        assert opened.bind(input=x(1))()["output"].shape == (1, 1)
        with pytest.raises(EdgeError):
            opened.bind(input=x(7))()


def test_a_port_that_is_no_tensor_of_numbers_is_unsupported(make_artifact: Maker) -> None:
    text = helper.make_tensor_value_info("input", TensorProto.STRING, ["batch", 13])
    graph = helper.make_graph(
        [helper.make_node("Identity", ["input"], ["output"])],
        "g",
        [text],
        [helper.make_tensor_value_info("output", TensorProto.STRING, ["batch", 13])],
    )
    texts = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    with pytest.raises(UnsupportedModel, match=r"tensor\(string\)"):
        load(with_model(make_artifact(), texts.SerializeToString()))


def test_what_fails_only_while_it_runs_is_told_with_the_models_name(make_artifact: Maker) -> None:
    graph = helper.make_graph(
        [helper.make_node("Reshape", ["x", "to"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, "b"])],
        [onnx.numpy_helper.from_array(np.array([2, -1], "i8"), "to")],
    )
    sample = fakes.Sample(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8),
        ({"x": np.zeros(6, "f4")},),
    )
    path = make_artifact(sample)
    with load(path, threads=1) as opened:
        assert opened(x=np.zeros(6, "f4"))["y"].shape == (2, 3)
        odd = np.zeros(7, "f4")
        for use in (partial(opened, x=odd), opened.bind(x=odd)):
            with pytest.raises(InvalidModel, match="onnxruntime failed") as refused:
                use()
            assert refused.value.where == f"{path} (fp32)"


def test_every_exception_class_of_onnxruntime_is_known_and_translated() -> None:
    classes = {value for value in vars(capi).values() if isinstance(value, type) and issubclass(value, Exception)}
    assert len(classes) > 10
    assert classes == set(session.ONNXRUNTIME_ERRORS)
    for cls in classes:
        assert isinstance(session.translated(cls("it broke"), "here"), EdgeError)


def test_an_exception_that_is_not_onnxruntimes_is_not_ours_to_explain() -> None:
    assert session.translated(KeyError("x"), "here") is None


def test_onnxruntime_is_told_to_report_nothing_before_it_is_imported(tiny_edge: Path, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    code = f"import os, edge_runtime; edge_runtime.load({str(tiny_edge)!r}); print(os.environ['ORT_DISABLE_TELEMETRY'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).resolve().parents[2],
        env={**environment, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "1\n", done.stderr
    assert list(tmp_path.iterdir()) == []  # where it leaves the id of its session otherwise


def test_the_only_provider_is_the_cpu(model: Model) -> None:
    assert model._session is not None
    assert model._session.get_providers() == ["CPUExecutionProvider"]
