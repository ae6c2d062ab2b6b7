"""Opening a model: every refusal of onnxruntime is told as ours, with the artifact, the variant and the node."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
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
from edge_runtime.model import load
from tests import fakes
from tests.conftest import Maker


def test_a_senseless_thread_count_and_an_unknown_variant_are_usage_errors(tiny_edge: Path) -> None:
    for wrong in (0, -1, 100_000):
        with pytest.raises(UsageError, match=f"{wrong} threads on"):
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
    with load(make_artifact(requires_onnxruntime=onnxruntime.__version__)) as model:
        assert model.artifact.manifest.requires_onnxruntime == onnxruntime.__version__


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


def test_a_manifest_that_lies_about_a_dtype_is_refused(make_artifact: Maker) -> None:
    with pytest.raises(ManifestError, match=r'input "x" is string\[n\], the manifest says float32\[n\]'):
        load(make_artifact(fakes.echo_of(8), inputs=(Port(name="x", dtype="float32", shape=("n",)),)))


def test_an_operator_without_a_kernel_is_unsupported(make_artifact: Maker) -> None:
    with pytest.raises(UnsupportedModel, match=r"no CPU kernel.*Det") as refused:
        load(make_artifact(fakes.determinant()))
    assert refused.value.exit_code == 5


def test_what_fails_only_while_it_runs_is_told_with_the_node_and_the_models_name(make_artifact: Maker) -> None:
    path = make_artifact(fakes.halves())
    with load(path, threads=1) as opened:
        assert opened(x=np.zeros(6, "f4"))["y"].shape == (2, 3)
        odd = np.zeros(7, "f4")
        for use in (partial(opened, x=odd), opened.bind(x=odd)):
            with pytest.raises(InvalidModel, match=r'node "fold" \(Reshape\) failed') as refused:
                use()
            assert refused.value.where == f"{path} (fp32)"
            assert "edge check" in refused.value.hint


def test_a_failed_node_is_told_without_the_place_in_onnxruntimes_own_source() -> None:
    said = (
        "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Reshape node. Name:'/Reshape' "
        "Status Message: /onnxruntime_src/onnxruntime/core/providers/cpu/tensor/reshape_helper.h:91 "
        "onnxruntime::ReshapeHelper::ReshapeHelper(const onnxruntime::TensorShape&, onnxruntime::TensorShapeVector&, "
        "bool) input_shape_size == requested_shape_size was false. The input tensor cannot be reshaped to the "
        "requested shape. Input shape:{1,1,32}, requested shape:{5,4,8}"
    )
    told = session.translated(capi.Fail(said), "here")
    assert told is not None
    assert told.what == (
        'node "/Reshape" (Reshape) failed: input_shape_size == requested_shape_size was false. The input tensor cannot '
        "be reshaped to the requested shape. Input shape:{1,1,32}, requested shape:{5,4,8}"
    )


def test_every_exception_class_of_onnxruntime_is_known_and_translated() -> None:
    classes = {value for value in vars(capi).values() if isinstance(value, type) and issubclass(value, Exception)}
    assert len(classes) > 10
    assert classes == set(session.ONNXRUNTIME_ERRORS)
    for cls in classes:
        assert isinstance(session.translated(cls("it broke"), "here"), EdgeError)


def test_an_exception_that_is_not_onnxruntimes_is_not_ours_to_explain() -> None:
    assert session.translated(KeyError("x"), "here") is None


@pytest.mark.parametrize(
    "words",
    [
        "[ONNXRuntimeError] : 1 : FAIL : Load model from x.onnx failed:std::bad_alloc",
        "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Exception during initialization: std::bad_alloc",
        (
            "/onnxruntime/core/platform/posix/env.cc:239 PosixThread(int, Pool*) pthread_create failed, error code: 11 "
            "error msg: Resource temporarily unavailable"
        ),
        "[ONNXRuntimeError] : 1 : FAIL : SystemError : 12",
        (
            "Non-zero status code returned while running Conv node. Name:'c' Status Message: Failed to "
            "allocate memory for requested buffer of size 99"
        ),
    ],
)
def test_every_way_in_which_onnxruntime_is_short_of_memory_is_exit_5(words: str) -> None:
    for cls in (RuntimeError, capi.Fail, capi.RuntimeException):
        told = session.translated(cls(words), "here")
        assert isinstance(told, UnsupportedSystem)
        assert told.what.startswith("not enough memory: ")
        assert "PosixThread(" not in told.what


def test_a_refused_input_is_not_the_models_fault() -> None:
    told = session.translated(capi.InvalidArgument("Got invalid dimensions for input: x"), "here", "")
    assert isinstance(told, WrongInput)
    assert "edge info" in told.hint


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


def test_the_only_provider_is_the_cpu(tiny_edge: Path) -> None:
    with load(tiny_edge, threads=1) as model:
        assert model._session is not None
        assert model._session.get_providers() == ["CPUExecutionProvider"]
