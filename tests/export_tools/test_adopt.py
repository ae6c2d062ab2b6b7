import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bench.errors import SourceUnknown
from bench.runner import bench
from edge_runtime import load
from edge_runtime.errors import EdgeError, InvalidModel, UnsupportedModel, UsageError, WrongInput
from edge_runtime.session import open_model
from export_tools import ExportRequest, foreign
from export_tools.errors import OpsetUnavailable, ParityLost, SourceError
from export_tools.pipeline import Exported, run
from export_tools.request import SourceSpec, parse_dynamic, parse_example, parse_range, parse_state
from export_tools.reverify import reverify
from export_tools.target import parse as parse_target
from export_tools.verify import ITSELF

Ports = dict[str, tuple[int, list[Any] | None]]
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def file(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: Ports,
    outputs: Ports,
    weights: dict[str, Any] | None = None,
    *,
    opset: int = 17,
    ir: int = 8,
    domains: tuple[str, ...] = (),
    **options: Any,
) -> Path:
    """Write a file as another tool would."""
    ports = [[helper.make_tensor_value_info(name, *kind) for name, kind in part.items()] for part in (inputs, outputs)]
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in (weights or {}).items()]
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    graph = helper.make_graph(nodes, "elsewhere", *ports, tensors)
    model = helper.make_model(graph, opset_imports=imports, ir_version=ir, producer_name="another tool", **options)
    path.write_bytes(model.SerializeToString())
    return path


def one(path: Path, op: str, *, shape: list[Any] | None = None, inputs: Ports | None = None, **options: Any) -> Path:
    """Write a file of one node, from x to y."""
    keys = {key: options.pop(key) for key in ("opset", "ir", "domains", "weights", "functions") if key in options}
    node = helper.make_node(op, [*(inputs or ["x"]), *keys.get("weights", {})], ["y"], **options)
    return file(path, [node], inputs or {"x": (FLOAT, shape or ["n", 4])}, {"y": (FLOAT, None)}, **keys)


def network(path: Path, **options: Any) -> Path:
    """Write a small CNN with a batch, a height without a name and a width."""
    random = np.random.default_rng(0)
    weights = {
        "w": random.standard_normal((8, 3, 3, 3)).astype(np.float32),
        "f": random.standard_normal((8, 5)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["c"], pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["g"]),
        helper.make_node("Flatten", ["g"], ["flat"]),
        helper.make_node("Gemm", ["flat", "f"], ["scores"]),
    ]
    ports: Ports = {"image": (FLOAT, ["N", 3, None, "W"])}
    return file(path, nodes, ports, {"scores": (FLOAT, None)}, weights, **{"opset": 11, "ir": 6, **options})


@pytest.fixture
def request_for(tmp_path: Path) -> Callable[..., ExportRequest]:
    """Return what makes a request for a file; flags as on the command line."""

    def made(path: Path, **options: Any) -> ExportRequest:
        spec = SourceSpec(entry=path.name, cwd=str(path.parent), **options.pop("source", {}))
        for name, parse in (("dynamic", parse_dynamic), ("ranges", parse_range), ("state", parse_state)):
            options[name] = tuple(parse(text) for text in options.get(name, ()))
        options["example"] = parse_example(options.get("example", ()))
        options["keep_opset"] = "opset" not in options
        return ExportRequest(
            source=spec, output=tmp_path / "out.edge", name="tested", origin=spec.origin, timeout_s=60.0, **options
        )

    return made


@pytest.fixture(scope="module")
def adopted(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Return the small CNN as an artifact, with other names and a range for one of its dimensions."""
    folder = tmp_path_factory.mktemp("adopted")
    spec = SourceSpec(entry="net.onnx", cwd=str(network(folder / "net.onnx").parent))
    request = ExportRequest(
        source=spec,
        output=folder / "net.edge",
        name="net",
        origin=spec.origin,
        keep_opset=True,
        dynamic=(parse_dynamic("picture:2=height:8..64"),),
        input_names=("picture",),
        output_names=("classes",),
        labels=("a", "b", "c", "d", "e"),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
        return run(request)


def test_a_file_is_adopted_with_its_own_opset_and_held_against_itself(adopted: Exported) -> None:
    manifest = adopted.artifact.manifest
    variant = adopted.artifact.variant()
    assert (manifest.source_framework, manifest.source_entry) == ("onnx", "net.onnx")
    assert (variant.exporter, variant.opset_asked, variant.opset_written, manifest.requires_ir) == (
        "adopted",
        11,
        11,
        6,
    )
    assert variant.why == "it came as ONNX, and its opset 11 is kept"
    assert dict(manifest.producer)["torch"] is None
    assert adopted.verification.summary.reference.startswith(ITSELF)
    assert "another tool" not in adopted.artifact.model_path(variant).read_text(errors="replace")
    assert [str(port) for port in manifest.inputs] == ["float32[N, 3, height, W]"]
    sizes = dict(manifest.inputs[0].tested or ())
    assert sizes["height"][0] == 8
    assert sizes["height"][-1] == 64
    assert 1 in sizes["N"]


def test_an_adopted_artifact_answers_by_its_new_names(adopted: Exported) -> None:
    image = np.random.default_rng(1).standard_normal((3, 3, 9, 5)).astype(np.float32)
    answer = load(adopted.artifact.path)(picture=image)
    source = Path(adopted.artifact.path).with_name("net.onnx")
    wanted = open_model(source, threads=1, where="here", optimised=True).run(None, {"image": image})[0]
    assert np.abs(answer["classes"] - wanted).max() < 1e-5


def test_an_adopted_artifact_is_verified_again_against_the_file_it_came_from(adopted: Exported) -> None:
    found = reverify(adopted.artifact.path)
    assert found.against == "the source net.onnx"
    assert found.verification.summary.cases == adopted.verification.summary.cases
    assert reverify(adopted.artifact.path, against="goldens").against == "its golden cases"


def test_another_file_is_no_source_of_an_artifact(adopted: Exported, tmp_path: Path) -> None:
    other = one(tmp_path / "other.onnx", "Relu", shape=["n", 3, 8, 8])
    spec = SourceSpec(entry=str(other))
    with pytest.raises(EdgeError):
        reverify(adopted.artifact.path, source=replace(spec, cwd=str(tmp_path)))
    changed = onnx.load(Path(adopted.artifact.path).with_name("net.onnx"))
    weight = numpy_helper.to_array(changed.graph.initializer[1]) * 2
    changed.graph.initializer[1].CopyFrom(numpy_helper.from_array(weight, "f"))
    onnx.save(changed, tmp_path / "changed.onnx")
    with pytest.raises(SourceError, match="its weights have the SHA-256"):
        reverify(adopted.artifact.path, source=SourceSpec(entry="changed.onnx", cwd=str(tmp_path)))


def test_pytorch_has_no_module_to_compare_an_adopted_file_with(adopted: Exported) -> None:
    with pytest.raises(SourceUnknown, match=r"it was adopted from net\.onnx, and PyTorch needs a module"):
        bench(adopted.artifact.path, against=["torch"])


def test_adopting_does_not_need_torch(tmp_path: Path) -> None:
    network(tmp_path / "net.onnx")
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "sitecustomize.py").write_text("import sys\nsys.modules['torch'] = None\n", "utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path / "hidden"), str(Path.cwd())))}
    told = "from export_tools import export; print(export('net.onnx').variant().exporter)"
    words = (sys.executable, "-c", told)
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "adopted\n"
    assert (tmp_path / "net.edge" / "manifest.json").is_file()


def test_the_opset_is_converted_when_another_is_asked_for(
    request_for: Callable[..., ExportRequest], tmp_path: Path
) -> None:
    exported = run(request_for(network(tmp_path / "net.onnx"), opset=18))
    assert exported.artifact.variant().opset_written == 18
    assert onnx.load(exported.artifact.model_path(exported.artifact.variant())).opset_import[0].version == 18


@pytest.mark.parametrize(("opset", "written"), [(21, 18), (13, 13)])
def test_a_target_lowers_the_opset_where_it_reads_no_more(
    request_for: Callable[..., ExportRequest], tmp_path: Path, opset: int, written: int
) -> None:
    path = one(tmp_path / "a.onnx", "Relu", opset=opset, ir=10)
    exported = run(replace(request_for(path), target=parse_target("onnxruntime==1.14")))
    assert exported.artifact.manifest.requires_opset == written
    assert exported.artifact.manifest.requires_ir <= 8


def test_an_opset_that_can_not_be_had_is_refused(request_for: Callable[..., ExportRequest], tmp_path: Path) -> None:
    layer = one(tmp_path / "a.onnx", "LayerNormalization", weights={"s": np.ones(4, np.float32)})
    with pytest.raises(OpsetUnavailable, match="it is of opset 17, and can't be converted to 9") as caught:
        run(request_for(layer, opset=9))
    assert caught.value.hint == "leave --opset out, and it keeps its own: 17"
    assert not (tmp_path / "out.edge").exists()


def test_a_conversion_that_changes_the_answers_is_refused(
    request_for: Callable[..., ExportRequest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
        made = onnx.ModelProto()
        made.CopyFrom(model)
        made.opset_import[0].version = opset
        made.graph.node[0].op_type = "Neg"
        return made

    monkeypatch.setattr(onnx.version_converter, "convert_version", wrong)
    with pytest.raises(OpsetUnavailable, match="converted to opset 18 it answers otherwise"):
        run(request_for(one(tmp_path / "a.onnx", "Relu"), opset=18))


def test_a_graph_that_onnxruntime_optimises_wrongly_or_a_stage_spoils_is_no_artifact(
    request_for: Callable[..., ExportRequest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(model: onnx.ModelProto, names: dict[str, str]) -> None:
        model.graph.node[0].op_type = "Neg"

    monkeypatch.setattr("export_tools.adopt.rename", spoil)
    with pytest.raises(ParityLost, match="it answers otherwise than the file as it came: "):
        run(request_for(one(tmp_path / "a.onnx", "Relu")))


def test_inputs_that_have_a_value_in_the_file_become_constants(
    request_for: Callable[..., ExportRequest], tmp_path: Path
) -> None:
    ports: Ports = {"x": (FLOAT, ["n", 4]), "w": (FLOAT, [4])}
    add = helper.make_node("Add", ["x", "w"], ["y"])
    old = file(
        tmp_path / "old.onnx", [add], ports, {"y": (FLOAT, ["n", 4])}, {"w": np.ones(4, np.float32)}, opset=8, ir=3
    )
    exported = run(request_for(old))
    assert [port.name for port in exported.artifact.manifest.inputs] == ["x"]
    assert "inputs that have a value in the file are constants from here on: w" in exported.notes


def test_recurrent_state_is_proven_over_sequences(request_for: Callable[..., ExportRequest], tmp_path: Path) -> None:
    nodes = [helper.make_node("Add", ["x", "h"], ["s"]), helper.make_node("Tanh", ["s"], ["h_out"])]
    ports: Ports = {"x": (FLOAT, [1, 4]), "h": (FLOAT, [1, 4])}
    exported = run(request_for(file(tmp_path / "r.onnx", nodes, ports, {"h_out": (FLOAT, [1, 4])}), state=("h:h_out",)))
    assert any(row.case == "sequence-16-step-16" for row in exported.verification.rows)
    assert exported.artifact.manifest.state is not None


def test_without_a_shape_an_example_is_asked_for(request_for: Callable[..., ExportRequest], tmp_path: Path) -> None:
    path = one(tmp_path / "a.onnx", "Relu", inputs={"x": (FLOAT, None)})
    with pytest.raises(UsageError, match="the file does not say what shape x has"):
        run(request_for(path))
    exported = run(request_for(path, example=("x=2x3:float32",), dynamic=("x:0=batch",)))
    assert [str(port) for port in exported.artifact.manifest.inputs] == ["float32[batch, 3]"]


@pytest.mark.parametrize(
    ("options", "error", "what"),
    [
        ({"dynamic": ("x:1=k",)}, UsageError, "the file fixes it at 4"),
        ({"dynamic": ("z:1=k",)}, UsageError, "no input 'z'"),
        ({"dynamic": ("x:2=k",)}, UsageError, "x has no axis 2"),
        ({"example": ("x=2x5:float32",)}, WrongInput, r"x is float32\[2, 5\], the file takes float32\[n, 4\]"),
        ({"example": ("x=2x4:int64",)}, WrongInput, "the file takes float32"),
        ({"example": ("z=2x4:float32",)}, UsageError, "no input 'x' in the example"),
        ({"input_names": ("a", "b")}, UsageError, r"2 input names for 1 inputs \(x\)"),
        ({"input_names": ("y",)}, UsageError, "y is an input and an output"),
        ({"exporter": "dynamo"}, UsageError, "no exporter runs"),
        ({"allow_frozen_branch": True}, UsageError, "its branches are part of the graph"),
        ({"source": {"weights": "w.pt"}}, UsageError, "its weights are in the file"),
        ({"labels": ("a", "b")}, EdgeError, "2 names for 4 classes"),
    ],
)
def test_what_does_not_fit_the_file_is_refused(
    request_for: Callable[..., ExportRequest],
    tmp_path: Path,
    options: dict[str, Any],
    error: type[EdgeError],
    what: str,
) -> None:
    with pytest.raises(error, match=what):
        run(request_for(one(tmp_path / "a.onnx", "Relu"), **options))


def test_random_operators_are_named(request_for: Callable[..., ExportRequest], tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"answers differently at each call.*: it holds RandomNormalLike noise"):
        run(request_for(one(tmp_path / "a.onnx", "RandomNormalLike", name="noise")))


def test_a_file_that_answers_with_nan_alone_proves_nothing(
    request_for: Callable[..., ExportRequest], tmp_path: Path
) -> None:
    path = one(tmp_path / "a.onnx", "Add", weights={"w": np.full(4, np.nan, np.float32)})
    with pytest.raises(ParityLost, match="y is empty, NaN or infinite in every case"):
        run(request_for(path))


def test_an_example_that_the_file_does_not_answer_is_its_own_words(
    request_for: Callable[..., ExportRequest], tmp_path: Path
) -> None:
    path = one(tmp_path / "a.onnx", "Reshape", weights={"s": np.array([7, 11])}, shape=["n", "m"])
    with pytest.raises(SourceError, match=r"it answers no example that could be made for it: .*Reshape") as caught:
        run(request_for(path))
    assert "--example" in caught.value.hint


def brought(path: Path, work: Path) -> foreign.Foreign:
    return foreign.bring_in(path, work / "came")


@pytest.mark.parametrize("content", [b"", b"no model", b"\x08\x08", b"PK\x03\x04" + b"\0" * 100])
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.onnx").write_bytes(content)
    with pytest.raises(InvalidModel, match="it is no ONNX file"):
        brought(tmp_path / "a.onnx", tmp_path)
    with pytest.raises(SourceError, match="no such file"):
        brought(tmp_path / "absent.onnx", tmp_path)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    content = network(tmp_path / "a.onnx").read_bytes()
    for size in (len(content) // 2, len(content) - 1):
        (tmp_path / "a.onnx").write_bytes(content[:size])
        with pytest.raises(InvalidModel, match="it is no ONNX file"):
            brought(tmp_path / "a.onnx", tmp_path)


def test_a_file_beyond_protobuf_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "a.onnx").open("wb") as stream:
        stream.truncate(2**31)
    with pytest.raises(InvalidModel, match="an ONNX file ends at 2 GiB"):
        brought(tmp_path / "a.onnx", tmp_path)


@pytest.mark.parametrize(
    ("made", "error", "what"),
    [
        ({"op": "Relu", "opset": 6}, UnsupportedModel, "it is of opset 6, onnxruntime runs 7 and later"),
        ({"op": "Relu", "opset": 99}, UnsupportedModel, "it is of opset 99, this onnx"),
        (
            {"op": "Own", "domain": "mine", "domains": ("mine",)},
            UnsupportedModel,
            "the operator 'Own' is of the domain 'mine'",
        ),
        (
            {"op": "Conv", "domain": foreign.BAKED, "domains": (foreign.BAKED,)},
            UnsupportedModel,
            "optimised by onnxruntime for one kind of CPU",
        ),
        ({"op": "NoSuch"}, InvalidModel, "onnx's checker refuses it: No Op registered for NoSuch"),
        (
            {"op": "Relu", "inputs": {"x": (TensorProto.STRING, ["n"])}},
            UnsupportedModel,
            "the input 'x' is a tensor of string",
        ),
        (
            {"op": "Relu", "inputs": {"x": (TensorProto.BFLOAT16, ["n"])}},
            UnsupportedModel,
            "the input 'x' is a tensor of bfloat16",
        ),
    ],
)
def test_what_an_artifact_can_not_hold_is_refused(
    tmp_path: Path, made: dict[str, Any], error: type[EdgeError], what: str
) -> None:
    options = dict(made)
    with pytest.raises(error, match=what):
        brought(one(tmp_path / "a.onnx", options.pop("op"), **options), tmp_path)


def test_a_function_in_the_model_is_no_unknown_operator(
    request_for: Callable[..., ExportRequest], tmp_path: Path
) -> None:
    body = helper.make_function(
        "mine", "Own", ["a"], ["b"], [helper.make_node("Neg", ["a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    path = one(tmp_path / "a.onnx", "Own", domain="mine", domains=("mine",), functions=[body])
    assert run(request_for(path)).conversion.operators == (("Neg", 1),)


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "link"])
def test_weights_outside_of_the_folder_are_refused_and_not_copied(tmp_path: Path, location: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "secret").write_bytes(b"s" * 10_000)
    (home / "link").symlink_to("../secret")
    model = onnx.load(network(home / "a.onnx"))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    (home / "a.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InvalidModel, match="its weights are said to be in"):
        brought(home / "a.onnx", tmp_path)
    assert not (tmp_path / "came").exists()


def test_a_constant_in_another_file_is_refused(tmp_path: Path) -> None:
    tensor = numpy_helper.from_array(np.ones(4, np.float32), "c")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="c.bin")
    (tmp_path / "c.bin").write_bytes(b"\0" * 16)
    nodes = [helper.make_node("Constant", [], ["c"], value=tensor), helper.make_node("Add", ["x", "c"], ["y"])]
    path = file(tmp_path / "a.onnx", nodes, {"x": (FLOAT, [4])}, {"y": (FLOAT, [4])})
    with pytest.raises(InvalidModel, match="the constant 'c' lies in another file"):
        brought(path, tmp_path)


def test_weights_beside_the_file_come_along_and_the_original_stays_as_it_is(
    request_for: Callable[..., ExportRequest], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    onnx.save(
        onnx.load(network(tmp_path / "a.onnx")),
        home / "a.onnx",
        save_as_external_data=True,
        size_threshold=0,
        location="weights.bin",
    )
    before = {path.name: path.read_bytes() for path in home.iterdir()}
    exported = run(request_for(home / "a.onnx"))
    assert [file.path for file in exported.artifact.variant().files] == ["fp32/model.onnx"]
    assert {path.name: path.read_bytes() for path in home.iterdir()} == before


def test_a_dimension_of_two_inputs_with_one_symbol_is_one_size(tmp_path: Path) -> None:
    ports = (
        foreign.ForeignPort("a", "float32", ("n", 4, "")),
        foreign.ForeignPort("b", "float32", ("n", "2k")),
    )
    axes = foreign.axes_of(ports, (parse_dynamic("b:0=batch:2..8/2"),))
    assert [(axis.input, axis.axis, axis.name, axis.high) for axis in axes] == [
        ("a", 0, "batch", 8),
        ("a", 2, "a_dim_2", None),
        ("b", 0, "batch", 8),
        ("b", 1, "_2k", None),
    ]


def test_a_new_name_moves_an_inner_value_that_has_it(tmp_path: Path) -> None:
    inner = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["t"])], "i", [], [helper.make_tensor_value_info("t", FLOAT, [4])]
    )
    nodes = [
        helper.make_node("Relu", ["x"], ["image"]),
        helper.make_node("If", ["c"], ["z"], then_branch=inner, else_branch=inner),
        helper.make_node("Add", ["image", "z"], ["y"]),
    ]
    model = onnx.load(
        file(tmp_path / "a.onnx", nodes, {"x": (FLOAT, [4]), "c": (TensorProto.BOOL, [])}, {"y": (FLOAT, [4])})
    )
    foreign.rename(model, {"x": "image", "y": "out"})
    onnx.checker.check_model(model)
    assert [value.name for value in (*model.graph.input, *model.graph.output)] == ["image", "c", "out"]
    assert model.graph.node[0].output == ["image_inner"]
    assert model.graph.node[1].attribute[0].g.node[0].input == ["image"]
