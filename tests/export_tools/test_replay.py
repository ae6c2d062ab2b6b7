"""The command that a failed proof prints: whatever was asked is asked again, from any folder."""

import shlex
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.cli import main
from edge_runtime.manifest import State
from export_tools import ExportRequest
from export_tools.cli import _export_parser, _request, _verify_parser
from export_tools.postprocess import Postprocess
from export_tools.preprocess import parse
from export_tools.replay import of_export, of_verify
from export_tools.request import DEFAULT_OPSET, SourceSpec, TensorSpec, parse_range

Requested = Callable[..., ExportRequest]

NET = """
import torch


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(3))

    def forward(self, image):
        return image * self.scale * float(image.detach().numpy().max())


def build():
    return Net()
"""


def read_back(command: str) -> ExportRequest:
    words = shlex.split(command)
    assert words[:2] == ["edge", "export"]
    return _request(_export_parser().parse_args(words[2:]))


def test_all_that_was_asked_is_asked_again(requested: Requested, tmp_path: Path) -> None:
    asked = replace(
        requested("linear", tmp_path / "a b.edge", dynamic=("x:0=batch:2..8/2", "x:1=wide"), opset=17),
        name="ab",
        ranges=(parse_range("x=-1.23456789..1e-30"), parse_range("ids=0..4294967295")),
        output_names=("y", "h"),
        input_names=("x", "h_in", "ids"),
        state=(State(input="h_in", output="h"),),
        preprocess=parse(["x:int16-mono"]),
        postprocess=Postprocess(output="y", softmax=True, top=3),
        example=(TensorSpec(name="x", shape=(2, 3), dtype="float32"), TensorSpec(name="ids", shape=(), dtype="int64")),
        timeout_s=600.0,
        seed=7,
        allow_frozen_branch=True,
        force=True,
    )
    again = read_back(of_export(asked, Path("x y.npz")))
    sources = Path(__file__).parent / "sources"
    assert again.source.entry == f"{sources}/networks.py:linear"
    assert again.data == Path.cwd() / "x y.npz"
    assert replace(again, source=asked.source, data=None, origin=asked.origin, keep_opset=False) == asked
    plain = ExportRequest(source=asked.source, output=asked.output, name="ab", origin="", opset=DEFAULT_OPSET)
    same = {one.name for one in fields(asked) if getattr(asked, one.name) == getattr(plain, one.name)}
    # what else there is to ask either makes no other answers, or is told by what it leads to (target: the opset)
    assert same == {
        *("source", "output", "name"),
        *("data", "keep_opset", "labels", "skip", "prove_target", "target", "timeout_s", "version"),
    }


def test_an_example_in_a_file_and_a_pickles_files_are_named_in_full(tmp_path: Path) -> None:
    spec = SourceSpec(entry="m.pt", weights="w.pt", import_from="code", trust_pickle=True, cwd="/a b")
    asked = ExportRequest(source=spec, output=Path("/x.edge"), name="x", origin="m.pt", example=Path("/e.npz"))
    again = read_back(of_export(asked, Path("/d.npz")))
    assert (again.source.entry, again.source.weights, again.source.import_from, again.source.trust_pickle) == (
        *("/a b/m.pt", "/a b/w.pt", "/a b/code"),
        True,
    )
    assert again.example == Path("/e.npz")


@pytest.mark.parametrize(
    ("options", "told"), [({"keep_opset": True}, ""), ({}, "--opset 18"), ({"opset": 12}, "--opset 12")]
)
def test_a_foreign_file_keeps_its_opset_or_gets_the_one_asked(options: dict[str, Any], told: str) -> None:
    spec = SourceSpec(entry="m.onnx", cwd="/a")
    command = of_export(
        ExportRequest(source=spec, output=Path("/x.edge"), name="x", origin="", **options), Path("/d.npz")
    )
    assert command == " ".join(filter(None, ["edge export /a/m.onnx -o /x.edge --data /d.npz", told]))


@pytest.mark.parametrize(
    ("entry", "begin"),
    [
        ("net.py:build", "edge export '/a b/net.py:build' "),
        ("nets/net.py:build", "cd '/a b' && edge export '/a b/nets/net.py:build' "),  # its imports may lie in /a b
        ("package.net:build", "cd '/a b' && edge export package.net:build "),
    ],
)
def test_a_source_is_found_from_any_folder(entry: str, begin: str) -> None:
    spec = SourceSpec(entry=entry, cwd="/a b")
    asked = ExportRequest(source=spec, output=Path("/x.edge"), name="x", origin=entry)
    assert of_export(asked, Path("/d.npz")).startswith(begin)
    steps: dict[str, Any] = {"preprocess": parse(["x:int16-mono"]), "postprocess": Postprocess(softmax=True)}
    asked = replace(asked, seed=3, allow_frozen_branch=True, **steps)
    verified = of_verify(Path("/x.edge"), "fp32", asked, Path("/d.npz"))
    options = _verify_parser().parse_args(shlex.split(verified.rpartition("edge verify ")[2]))
    assert (options.variant, options.data, options.seed, options.allow_frozen_branch) == (
        *("fp32", Path("/d.npz"), 3),
        True,
    )
    assert options.source.endswith(entry)
    assert (parse(options.preprocess), options.postprocess) == (asked.preprocess, ["softmax"])


def test_a_module_given_as_an_object_is_replayed_from_python() -> None:
    spec = SourceSpec(entry="/tmp/edge-source-1/module.pt", trust_pickle=True, pickle_sha256="0" * 64)
    asked = ExportRequest(source=spec, output=Path("/x.edge"), name="x", origin="net.Net")
    assert of_export(asked, Path("/d.npz")) == "export(..., data='/d.npz') with the same module and options"
    assert of_verify(Path("/x.edge"), "fp32", asked, Path("/d.npz")) == (
        "edge verify /x.edge --data /d.npz --variant fp32"
    )


def test_the_printed_command_fails_in_the_same_way_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home, elsewhere = tmp_path / "my nets", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    (home / "net.py").write_text(NET)
    monkeypatch.chdir(home)
    words = ["net.py:build", "-o", "its name.edge", "--name", "net", "--example", "image=2x3:float32"]
    assert main(["export", *words, "--exporter", "torchscript", "--range", "image=0..0.9"]) == 1
    command = capsys.readouterr().err.partition("replay it: ")[2].strip()
    monkeypatch.chdir(elsewhere)
    assert shlex.split(command)[0] == "edge"
    assert main(shlex.split(command)[1:]) == 1
    told = capsys.readouterr().err
    assert "the exported model is not the module" in told
    assert "net.py:11" in told
    assert command in told
    assert list(elsewhere.iterdir()) == []
