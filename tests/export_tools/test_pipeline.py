import hashlib
import importlib
import json
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest

from edge_runtime import check, load, open_artifact
from edge_runtime.errors import InputError, OutputExists, Unwritable
from export_tools import ExportRequest, export
from export_tools.attempts import NOT_TRIED
from export_tools.errors import ExportFailed, OpsetUnavailable, ParityLost, SourceError
from export_tools.pipeline import Exported, run
from export_tools.remembered import recall
from export_tools.request import SourceSpec, parse_range

if TYPE_CHECKING:
    from export_tools.stages import Stage

Requested = Callable[..., ExportRequest]


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def line_of(text: str) -> int:
    lines = (Path(__file__).parent / "sources" / "networks.py").read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


def test_an_artifact_passes_its_own_check_and_names_what_it_was_made_from(linear: Exported) -> None:
    manifest = linear.artifact.manifest
    assert check(linear.artifact.path).ok
    assert manifest.source_entry == "networks.py:linear"
    assert [(port.name, port.shape) for port in manifest.inputs] == [("x", ("batch", 13))]
    assert [(port.name, port.shape) for port in manifest.outputs] == [("output", ("batch", 1))]
    assert dict(manifest.inputs[0].tested or ())["batch"] == (1, 2, 3, 4, 7, 17, 33, 130)
    assert manifest.created == "2023-11-14T22:13:20Z"
    assert manifest.variants[0].operators == (("Add", 1), ("MatMul", 1), ("Relu", 1))


def test_opset_and_ir_are_what_the_file_holds(linear: Exported) -> None:
    proto = onnx.load(linear.artifact.model_path(linear.artifact.variant()))
    assert (proto.opset_import[0].version, proto.ir_version) == (18, 8)
    manifest = linear.artifact.manifest
    assert (manifest.requires_opset, manifest.requires_ir, manifest.requires_onnxruntime) == (18, 8, "1.14")
    assert (linear.conversion.exporter, linear.conversion.ir_by_exporter) == ("dynamo", 10)


def test_the_first_golden_case_is_the_example(linear: Exported) -> None:
    first = next(linear.artifact.golden(linear.artifact.variant()))
    assert first.name == "real"
    assert np.allclose(first.inputs["x"], np.linspace(0, 1, 4 * 13).reshape(4, 13), atol=1e-6)


def test_two_exports_are_the_same_to_the_byte(
    linear: Exported, requested: Requested, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    again = run(requested("linear", tmp_path / "linear.edge", dynamic=("x:0=batch",))).artifact

    def hashes(folder: Path) -> dict[str, str]:
        return {
            str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in folder.rglob("*")
            if p.is_file()
        }

    assert len(hashes(again.path)) > 10
    assert hashes(again.path) == hashes(linear.artifact.path)


def test_no_path_of_this_machine_is_in_the_file(linear: Exported) -> None:
    content = linear.artifact.model_path(linear.artifact.variant()).read_bytes()
    torch_home = sys.modules["onnx"].__file__ or ""
    for trace in (
        str(Path(__file__).parent),
        str(Path.cwd()),
        str(Path.home()),
        "site-packages",
        "networks",
        torch_home,
    ):
        assert trace.encode() not in content, trace


def test_the_source_is_remembered_by_the_models_hash(linear: Exported) -> None:
    remembered = recall(linear.artifact.variant().files[0].sha256)
    assert remembered is not None
    assert remembered.entry == "networks.py:linear"


def test_an_example_of_one_row_serves_for_a_dynamic_batch(requested: Requested, tmp_path: Path) -> None:
    exported = run(requested("linear_of_one", tmp_path / "a.edge", dynamic=("x:0=batch",)))
    with load(exported.artifact.path) as model:
        assert model(x=np.ones((3, 13), np.float32))["output"].tolist() == [[0.5]] * 3


def test_old_opsets_are_really_written_and_the_stages_are_told(requested: Requested, tmp_path: Path) -> None:
    stages: list[Stage] = []
    exported = run(
        requested("linear", tmp_path / "a.edge", opset=11, input_names=("input",), output_names=("y",)),
        progress=stages.append,
    )
    proto = onnx.load(tmp_path / "a.edge/fp32/model.onnx")
    assert (proto.opset_import[0].version, proto.ir_version) == (11, 6)
    assert (exported.conversion.exporter, exported.conversion.opset_asked) == ("torchscript", 11)
    assert ([port.name for port in proto.graph.input], [port.name for port in proto.graph.output]) == (["input"], ["y"])
    assert [stage.name for stage in stages if stage.seconds is not None] == [
        "open",
        "answer",
        "trace",
        "convert",
        "fold",
        "shapes",
        "strip",
        "check",
        "verify",
        "goldens",
        "package",
    ]


def test_an_opset_that_the_exporter_does_not_write_is_refused_with_both_numbers(
    requested: Requested, tmp_path: Path
) -> None:
    with pytest.raises(OpsetUnavailable, match=r"opset 11 was asked for, it wrote opset 18") as caught:
        run(requested("linear", tmp_path / "a.edge", opset=11, exporter="dynamo"))
    assert caught.value.exit_code == 5
    assert left_in(tmp_path) == []


def test_a_branch_on_values_is_found_before_anything_is_converted(requested: Requested, tmp_path: Path) -> None:
    stages: list[Stage] = []
    line = line_of("return x * 2 if x.sum() > 0 else -x")
    with pytest.raises(
        ParityLost, match=rf"forward depends on input values at networks\.py:{line}: the case zeros takes another path"
    ) as caught:
        run(requested("branch", tmp_path / "a.edge"), progress=stages.append)
    assert caught.value.exit_code == 1
    assert "torch.cond" in caught.value.hint
    assert "--allow-frozen-branch" in caught.value.hint
    assert {stage.name for stage in stages} == {"open", "answer"}
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("exporter", ["auto", "torchscript"])
def test_a_branch_that_no_case_takes_is_found_by_how_forward_was_traced(
    requested: Requested, tmp_path: Path, exporter: str
) -> None:
    line = line_of("if x.abs().max() > 1e6:")
    with pytest.raises(ParityLost) as caught:
        run(requested("far_branch", tmp_path / "x.edge", exporter=exporter))
    assert caught.value.what == f"forward depends on input values at networks.py:{line}"
    assert not (tmp_path / "x.edge").exists()


def test_a_frozen_branch_that_is_allowed_is_proven_on_the_examples_path(requested: Requested, tmp_path: Path) -> None:
    exported = run(requested("branch", tmp_path / "a.edge", allow_frozen_branch=True, exporter="auto"))
    place = f"networks.py:{line_of('return x * 2 if x.sum() > 0 else -x')}"
    assert exported.conversion.exporter == "torchscript"
    assert exported.conversion.frozen == (place,)
    assert exported.artifact.manifest.frozen == (place,)
    left_out = f"the case zeros is left out: at {place} it takes another path than the example"
    assert left_out in exported.warnings
    names = [case.name for case in exported.artifact.golden(exported.artifact.variant())]
    assert "real" in names
    assert "zeros" not in names
    with load(exported.artifact.path) as model:
        assert model(x=-np.ones((2, 3), np.float32))["output"].tolist() == [[-2.0] * 3] * 2


@pytest.mark.parametrize(("source", "operator"), [("both_branches", "If"), ("masked", "NonZero")])
def test_branches_and_masks_that_are_part_of_the_graph_are_exported(
    requested: Requested, tmp_path: Path, source: str, operator: str
) -> None:
    exported = run(requested(source, tmp_path / "a.edge"))
    assert operator in dict(exported.conversion.operators)
    with load(exported.artifact.path) as model:
        for sign in (1, -1):
            x = sign * np.linspace(-1, 2, 6, dtype=np.float32).reshape(2, 3)
            wanted = {"both_branches": x * 2 if x.sum() > 0 else -x, "masked": x[x > 0] * 2}[source]
            assert np.array_equal(model(x=x)["output"], wanted)


def test_indices_may_differ_where_values_are_equal_and_such_a_case_is_no_golden_one(
    requested: Requested, tmp_path: Path
) -> None:
    np.savez(tmp_path / "pairs.npz", x=np.repeat(np.arange(6, dtype=np.float32), 2).reshape(1, 12).repeat(2, 0))
    exported = run(requested("ranks", tmp_path / "a.edge", data=tmp_path / "pairs.npz"))
    tied = exported.verification.tied
    assert "data-0-pairs" in tied  # not constant, and yet full of ties: PyTorch names 11, 10, onnxruntime 10, 11
    golden = {case.name for case in exported.artifact.golden(exported.artifact.variant())}
    assert golden == {"real", "normal", "uniform", "large", "small"} - tied
    assert check(exported.artifact.path).ok


def test_both_reasons_are_told_when_no_exporter_can(requested: Requested, tmp_path: Path) -> None:
    with pytest.raises(ExportFailed, match=r"\(torchscript: .+eig.*; dynamo: .+eigh\)") as caught:
        run(requested("spectrum", tmp_path / "a.edge", exporter="auto"))
    assert caught.value.exit_code == 5
    assert "\n" not in str(caught.value)
    assert left_in(tmp_path) == []


def test_a_module_that_caches_at_its_first_forward_is_exported_from_a_fresh_process(
    requested: Requested, tmp_path: Path
) -> None:
    exported = run(requested("cached", tmp_path / "a.edge", dynamic=("x:0=rows",)))
    with load(exported.artifact.path) as model:
        assert model(x=np.zeros((3, 1 + 2), np.float32))["output"][:, 0].tolist() == [0.0, 0.5, 1.0]


def test_shared_dimensions_integers_and_joint_sizes_come_out_right(requested: Requested, tmp_path: Path) -> None:
    exported = run(
        requested(
            "several", tmp_path / "a.edge", dynamic=("ids:0=n", "values:0=n"), output_names=("both", "next", "first")
        )
    )
    manifest = exported.artifact.manifest
    assert [(port.name, port.dtype, port.shape) for port in manifest.inputs] == [
        ("ids", "int64", ("n",)),
        ("values", "float32", ("n", 2)),
    ]
    assert [(port.name, port.dtype, port.shape) for port in manifest.outputs] == [
        ("both", "float32", ("both_dim_0", 2)),
        ("next", "int64", ("n",)),
        ("first", "float32", (1, 2)),
    ]


def test_a_builder_that_is_not_deterministic_is_refused(requested: Requested, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="not deterministic") as caught:
        run(requested("unseeded", tmp_path / "a.edge"))
    assert "torch.manual_seed" in caught.value.hint


def test_a_module_that_answers_by_chance_is_refused(requested: Requested, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="forward draws random numbers at"):
        run(requested("noisy", tmp_path / "a.edge"))


def test_a_module_that_keeps_state_between_calls_is_refused(requested: Requested, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="keeps state between calls"):
        run(requested("counter", tmp_path / "a.edge"))


def test_a_size_that_the_module_refuses_is_named_with_the_flag_that_excludes_it(
    requested: Requested, tmp_path: Path
) -> None:
    with pytest.raises(
        SourceError, match=r"fails at rows=1: forward raised ValueError: the rows must come in pairs"
    ) as caught:
        run(requested("evens", tmp_path / "a.edge", dynamic=("x:0=rows",)))
    assert "--dynamic x:0=rows:MIN..MAX/STEP" in caught.value.hint


def test_a_step_excludes_the_sizes_between(requested: Requested, tmp_path: Path) -> None:
    exported = run(requested("evens", tmp_path / "a.edge", dynamic=("x:0=rows:2..64/2",)))
    assert dict(exported.artifact.manifest.inputs[0].tested or ())["rows"] == (2, 4, 6, 64)


def test_an_example_with_nan_proves_nothing_and_is_refused(requested: Requested, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="x holds NaN") as caught:
        run(requested("not_finite", tmp_path / "a.edge"))
    assert caught.value.exit_code == 3


def test_real_inputs_become_cases_and_all_respect_the_declared_range(requested: Requested, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    np.savez(tmp_path / "data" / "wide.npz", x=np.full((6, 13), 0.25, np.float32), labels=np.arange(6))
    ranges = (parse_range("x=0..1"),)
    exported = run(
        requested("linear", tmp_path / "a.edge", dynamic=("x:0=batch",), data=tmp_path / "data", ranges=ranges)
    )
    golden = {case.name: case.inputs["x"] for case in exported.artifact.golden(exported.artifact.variant())}
    assert "data-0-wide" in golden
    assert all(0 <= array.min() <= array.max() <= 1 for array in golden.values())
    assert exported.artifact.manifest.inputs[0].ranges == (0, 1)


def test_an_output_that_is_there_is_refused_before_any_work(requested: Requested, tmp_path: Path) -> None:
    taken = tmp_path / "a.edge"
    taken.mkdir()
    with pytest.raises(OutputExists):
        run(requested("sleeps", taken))
    with pytest.raises(OutputExists, match="is not an artifact"):
        run(requested("sleeps", taken, force=True))
    assert left_in(taken) == []


def test_force_never_replaces_a_folder_that_only_looks_like_an_artifact(requested: Requested, tmp_path: Path) -> None:
    extension = tmp_path / "extension"
    extension.mkdir()
    (extension / "manifest.json").write_text('{"name": "a browser extension"}')
    (extension / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputExists, match="is not an artifact"):
        run(requested("linear", extension, force=True))
    assert (extension / "thesis.txt").read_text() == "years of work"


def test_a_users_file_named_like_a_size_does_not_overwrite_its_golden_case(
    requested: Requested, tmp_path: Path
) -> None:
    np.savez(tmp_path / "batch-1.npz", x=np.ones((4, 13), np.float32))
    np.savez(tmp_path / "size-batch-1.npz", x=np.zeros((4, 13), np.float32))
    made = run(requested("linear", tmp_path / "x.edge", dynamic=("x:0=batch",), data=tmp_path))
    assert len(list((tmp_path / "x.edge/golden").iterdir())) == len(made.artifact.manifest.golden)
    assert check(tmp_path / "x.edge").ok


def test_force_replaces_an_artifact(linear: Exported, requested: Requested, tmp_path: Path) -> None:
    taken = tmp_path / "a.edge"
    taken.mkdir()
    (taken / "manifest.json").write_text(linear.artifact.manifest.to_json())
    run(requested("linear", taken, force=True, version="2"))
    assert open_artifact(taken).manifest.version == "2"
    assert left_in(tmp_path) == ["a.edge"]


def test_an_output_that_can_not_be_written_is_refused_before_any_work(requested: Requested, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unwritable, match="no such folder") as caught:
        run(requested("sleeps", tmp_path / "file" / "a.edge"))
    assert caught.value.exit_code == 3


def test_a_module_object_travels_and_is_remembered_with_its_pickle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "own_networks.py").write_text(
        textwrap.dedent("""
            import torch

            class Own(torch.nn.Module):
                def __init__(self):
                    super().__init__()
                    self.scale = torch.nn.Parameter(torch.rand(3))

                def forward(self, image, mask):
                    return image * self.scale * mask
        """)
    )
    module: Any = importlib.import_module("own_networks").Own()
    artifact = export(
        module, (torch.ones(2, 3), np.ones((2, 3), np.float32)), tmp_path / "own.edge", opset=17, exporter="torchscript"
    )
    assert artifact.manifest.source_entry == "own_networks.Own"
    remembered = recall(artifact.variant().files[0].sha256)
    assert remembered is not None
    assert Path(remembered.entry).is_file()
    with load(artifact.path) as model:
        got = model(image=np.ones((2, 3), np.float32), mask=np.ones((2, 3), np.float32))["output"]
    assert np.allclose(got, module.state_dict()["scale"].numpy())


def test_a_module_from_main_is_refused_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")

    class Here(torch.nn.Module):  # type: ignore[misc, name-defined] # torch is imported late
        pass

    Here.__module__ = "__main__"
    with pytest.raises(SourceError, match="defined in __main__") as caught:
        export(Here(), torch.ones(1), tmp_path / "a.edge")
    assert caught.value.exit_code == 3


def test_the_manifest_holds_nothing_that_is_not_json(linear: Exported) -> None:
    document = json.loads((linear.artifact.path / "manifest.json").read_text())
    proof = document["variants"][0]["verification"]
    assert proof["cases"] == len(linear.verification.rows) == 14
    assert proof["worst_abs"] == max(row.difference.max_abs for row in linear.verification.rows)
    assert 100 < proof["snr_db"] < 200
    assert SourceSpec(entry="a.py:b").cwd == str(Path.cwd())


def test_of_a_large_model_the_second_exporter_is_not_tried(
    requested: Requested, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("export_tools.reference.MAX_AT_ONCE_BYTES", 10)
    told: list[str] = []
    exported = run(
        requested("linear", tmp_path / "a.edge", exporter="auto"), progress=lambda stage: told.append(stage.detail)
    )
    assert exported.conversion.why == f"it verifies; {NOT_TRIED}"
    assert not any("torchscript" in detail for detail in told)
