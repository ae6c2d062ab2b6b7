"""Traps, from the command to the refusal or the proven artifact: each export takes seconds, so there are few."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edge_runtime import load
from export_tools import ExportRequest
from export_tools.errors import ParityLost, SourceError, SourceLost
from export_tools.pipeline import run
from export_tools.random_nodes import refuse_random

Requested = Callable[..., ExportRequest]


def line_of(text: str) -> int:
    lines = (Path(__file__).parent / "sources" / "traps.py").read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


def test_weights_that_no_state_dict_holds_are_compared_too(requested: Requested, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"not deterministic: built twice, .* different weights: table") as caught:
        run(requested("traps.py:unregistered", tmp_path / "a.edge"))
    assert "torch.manual_seed" in caught.value.hint
    assert "--weights" in caught.value.hint


def test_noise_below_any_tolerance_is_refused_with_its_line(requested: Requested, tmp_path: Path) -> None:
    place = rf"traps\.py:{line_of('torch.randn_like(x) * 1e-7')}"
    with pytest.raises(SourceError, match=rf"draws random numbers at {place}, by aten\.randn_like") as caught:
        run(requested("traps.py:tiny", tmp_path / "a.edge"))
    assert caught.value.where == "traps.py:tiny"


def test_state_that_other_inputs_leave_is_shown_with_both_answers(requested: Requested, tmp_path: Path) -> None:
    with pytest.raises(
        SourceError,
        match=r"keeps state between calls: after other inputs it answers the example differently, "
        r"output\[\d, \d\] = \S+ at first and \S+ after them; what it holds has changed: "
        r".*attribute 'largest' \(1\.0 →",
    ):
        run(requested("traps.py:remembers", tmp_path / "a.edge"))


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_a_module_that_writes_to_its_input_is_equal_and_said_to(
    requested: Requested, tmp_path: Path, exporter: str
) -> None:
    exported = run(requested("traps.py:writes_input", tmp_path / "a.edge", exporter=exporter))
    assert "forward writes to its input x; the artifact leaves what it is given as it is" in exported.notes
    with load(exported.artifact.path) as model:
        x = np.ones((4, 3), np.float32)
        assert np.array_equal(model(x=x)["output"], np.full((4, 3), 4, np.float32))
        assert x.max() == 1


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_tied_weights_are_stored_once(requested: Requested, tmp_path: Path, exporter: str) -> None:
    exported = run(requested("traps.py:tied", tmp_path / "a.edge", exporter=exporter))
    once = 500 * 64 * 4
    assert once <= exported.artifact.model_path(exported.artifact.variant()).stat().st_size < 1.1 * once


def test_a_forward_that_prints_is_no_matter_and_one_that_leaves_is_told(requested: Requested, tmp_path: Path) -> None:
    run(requested("traps.py:prints_in_forward", tmp_path / "a.edge"))
    with pytest.raises(SourceError, match="forward raised SystemExit: 3"):
        run(requested("traps.py:leaves_politely", tmp_path / "b.edge"))
    with pytest.raises(SourceError, match="forward raised EOFError"):
        run(requested("traps.py:reads_stdin", tmp_path / "b.edge"))
    with pytest.raises(SourceLost, match="ended with exit code 3") as caught:
        run(requested("traps.py:leaves_at_once", tmp_path / "b.edge"))
    assert "look for os._exit" in caught.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["a.edge"]


def test_inputs_and_outputs_may_be_called_as_weights_and_inner_values_are(requested: Requested, tmp_path: Path) -> None:
    names: dict[str, Any] = {"input_names": ("weights",), "output_names": ("add",)}
    exported = run(requested("linear", tmp_path / "a.edge", dynamic=("weights:0=bias",), **names))
    manifest = exported.artifact.manifest
    assert [(port.name, port.shape) for port in (*manifest.inputs, *manifest.outputs)] == [
        ("weights", ("bias", 13)),
        ("add", ("bias", 1)),
    ]


def test_an_input_may_be_an_output_and_a_tensor_two_of_them(requested: Requested, tmp_path: Path) -> None:
    exported = run(requested("traps.py:passes_on", tmp_path / "a.edge", dynamic=("x:0=rows",)))
    with load(exported.artifact.path) as model:
        x, mask = np.ones((2, 3), np.float32), np.array([[True, False, False]])
        got = model(x=x, mask=mask)
        assert np.array_equal(got["mask_out"], mask)
        for name, wanted in (("all_0", x), ("again", x), ("kept", x * mask), ("all_1", x * mask)):
            assert np.array_equal(got[name], wanted)


def test_sizes_that_a_module_wants_equal_are_told_to_share_a_name(requested: Requested, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="the module itself fails at rows=1, others=2") as caught:
        run(requested("traps.py:adds", tmp_path / "a.edge", dynamic=("a:0=rows", "b:0=others")))
    assert "if rows and others are always equal, give them one name" in caught.value.hint


def test_noise_that_only_the_graph_shows_is_refused(requested: Requested, tmp_path: Path) -> None:
    with pytest.raises(ParityLost, match="the graph draws random numbers: RandomNormalLike"):
        run(requested("traps.py:noisy_in_batches", tmp_path / "a.edge", dynamic=("x:0=rows",), exporter="torchscript"))


def graph(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    port = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("x", "y")]
    return helper.make_model(helper.make_graph(list(nodes), "g", port[:1], port[1:]))


def test_a_random_operator_in_the_graph_is_refused_wherever_it_is() -> None:
    noise = helper.make_node("RandomNormalLike", ["x"], ["n"], name="noise")
    add = helper.make_node("Add", ["x", "n"], ["y"])
    with pytest.raises(ParityLost, match="the graph draws random numbers: RandomNormalLike noise"):
        refuse_random(graph(noise, add), "here")
    inner = helper.make_graph([noise], "branch", [], [helper.make_tensor_value_info("n", TensorProto.FLOAT, [2])])
    branch = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    with pytest.raises(ParityLost, match="RandomNormalLike noise, RandomNormalLike noise"):
        refuse_random(graph(branch), "here")


def test_a_random_operator_that_reaches_no_output_is_no_matter() -> None:
    noise = helper.make_node("RandomNormalLike", ["x"], ["n"])
    refuse_random(graph(noise, helper.make_node("Relu", ["x"], ["y"])), "here")
    with pytest.raises(ParityLost, match="RandomNormalLike"):  # the same node, where it does
        refuse_random(graph(noise, helper.make_node("Relu", ["n"], ["y"])), "here")


@pytest.mark.parametrize(("switch", "draws"), [("on", True), ("off", False), ("", False), ("an input", True)])
def test_dropout_draws_in_training_mode_only(switch: str, draws: bool) -> None:
    nodes = [helper.make_node("Dropout", ["x", "", switch] if switch else ["x"], ["y"])]
    if switch in {"on", "off"}:
        value = helper.make_tensor("flag", TensorProto.BOOL, [], [switch == "on"])
        nodes.insert(0, helper.make_node("Constant", [], [switch], value=value))
    if draws:
        with pytest.raises(ParityLost, match="Dropout"):
            refuse_random(graph(*nodes), "here")
    else:
        refuse_random(graph(*nodes), "here")
