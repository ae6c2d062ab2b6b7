"""An export is held against its target on its way; adopted files show it without PyTorch."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from edge_runtime.errors import EdgeError, UnsupportedSystem
from export_tools import ExportRequest
from export_tools.errors import KernelMissing, OpsetUnavailable
from export_tools.pipeline import run
from export_tools.request import SourceSpec, opset_for
from export_tools.target import parse

Request = Callable[..., ExportRequest]


@pytest.fixture
def request_of(tmp_path: Path) -> Request:
    """Return what makes the request of an export for a target, of a file with one node."""

    def made(
        target: str, *, kind: str = "Relu", opset: int = 17, asked: int | None = None, **options: Any
    ) -> ExportRequest:
        values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 3]) for name in ("x", "y")]
        graph = helper.make_graph([helper.make_node(kind, ["x"], ["y"])], "one", values[:1], values[1:])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
        aim = parse(target)
        return ExportRequest(
            source=SourceSpec(entry="model.onnx", cwd=str(tmp_path)),
            output=tmp_path / "a.edge",
            name="a",
            origin="model.onnx",
            target=aim,
            opset=opset_for(asked, aim),
            keep_opset=asked is None,
            **options,
        )

    return made


def refused(request: ExportRequest) -> EdgeError:
    with pytest.raises(EdgeError) as caught:
        run(request)
    assert not request.output.exists()
    assert caught.value.exit_code == 5
    return caught.value


def test_what_takes_more_memory_than_the_target_has_is_refused(request_of: Request) -> None:
    error = refused(request_of("onnxruntime==1.20,ram=60M"))
    assert isinstance(error, UnsupportedSystem)
    assert error.what.startswith("the model takes about 64.0 MiB at its peak (0 B of weights, ")
    assert "onnxruntime==1.20,ram=60M has 60.0 MiB for it" in error.what
    assert "name a target with more memory" in error.hint


def test_an_operator_without_a_kernel_in_the_targets_onnxruntime_is_refused(request_of: Request) -> None:
    error = refused(request_of("onnxruntime==1.15", kind="Identity", opset=19))
    assert isinstance(error, KernelMissing)
    assert "onnxruntime 1.15 has no CPU kernel for Identity of float (version 19)" in error.what
    assert "--opset 18" in error.hint


def test_an_opset_that_the_target_does_not_read_is_refused_before_anything_is_done(request_of: Request) -> None:
    error = refused(request_of("onnxruntime==1.13", asked=18))
    assert isinstance(error, OpsetUnavailable)
    assert "opset 18 was asked for, onnxruntime 1.13 reads up to 17" in error.what
    assert "--opset 17" in error.hint


def test_a_file_of_a_newer_opset_is_converted_for_the_target(request_of: Request) -> None:
    exported = run(request_of("onnxruntime==1.14", opset=20))
    model = onnx.load(exported.artifact.model_path(exported.artifact.variant()))
    assert (model.opset_import[0].version, model.ir_version <= 8) == (18, True)
    manifest = exported.artifact.manifest
    assert (manifest.target, manifest.requires_onnxruntime) == ("onnxruntime==1.14", "1.14")
    assert manifest.peak_bytes == exported.conversion.peak_bytes
    assert manifest.peak_bytes is not None


def test_a_target_that_can_not_be_fetched_ends_an_export_before_it_begins(
    request_of: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name, value in {"PIP_CONFIG_FILE": "/dev/null", "PIP_FIND_LINKS": "", "PIP_EXTRA_INDEX_URL": ""}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # the port "discard", where nobody listens
    told: list[str] = []
    with pytest.raises(UnsupportedSystem, match=r"onnxruntime 1\.16 can't be fetched"):
        run(request_of("onnxruntime==1.16", prove_target=True), progress=lambda stage: told.append(stage.name))
    assert told == ["fetch"]
    assert not (tmp_path / "a.edge").exists()
