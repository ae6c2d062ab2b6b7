"""Recurrent state: declared, proven step after step, and carried by the runtime as by one long run of the module."""

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from edge_runtime import check, load
from edge_runtime.errors import UsageError
from edge_runtime.manifest import Port, State
from export_tools import ExportRequest
from export_tools.cases import Case
from export_tools.errors import ParityLost
from export_tools.noise import Answers
from export_tools.pipeline import Exported, run
from export_tools.request import parse_range, parse_state
from export_tools.sequences import LENGTHS, carried_on, make_sequences, refuse_unknown, refuse_unlike
from export_tools.verify import verify

Requested = Callable[..., ExportRequest]
Array = np.ndarray[Any, np.dtype[Any]]
PAIR = (State(input="h", output="left"),)
STATE = (State(input="h_in", output="h_out"), State(input="c_in", output="c_out"))
FLAGS: dict[str, Any] = {
    "state": STATE,
    "output_names": ("scores", "h_out", "c_out"),
    "dynamic": ("row:0=batch", "h_in:1=batch", "c_in:1=batch"),
    "ranges": tuple(map(parse_range, ("row=0..1", "h_in=-1..1", "c_in=-4..4"))),  # what gates leave
}
STEPS = 10_000


def test_state_is_read_as_input_and_output() -> None:
    assert parse_state("h_in:h_out") == State(input="h_in", output="h_out")
    assert parse_state("a:0:b") == State(input="a:0", output="b")


@pytest.mark.parametrize("text", ["", "h", ":h", "h:"])
def test_state_that_names_no_pair_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no state"):
        parse_state(text)


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        (["x:left"], "no input 'x'"),
        (["h:y"], "no output 'y'"),
        (["h:left", "h:other"], "the input 'h' is there twice"),
        (["h:left", "g:left"], "the output 'left' is there twice"),
    ],
)
def test_state_of_unknown_or_doubled_names_is_refused(texts: list[str], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        refuse_unknown([parse_state(text) for text in texts], ["h", "g"], ["left", "other"])


@pytest.mark.parametrize(
    "left", [Port(name="left", dtype="float32", shape=(3,)), Port(name="left", dtype="int64", shape=("n",))]
)
def test_state_that_comes_out_otherwise_than_it_goes_in_is_refused(left: Port) -> None:
    with pytest.raises(UsageError, match=r"goes in as float32\[n\] and comes out as"):
        refuse_unlike(PAIR, [Port(name="h", dtype="float32", shape=("n",))], {"left": left})


def case(name: str, sizes: dict[str, int] | None = None, rows: int = 2) -> Case:
    values = np.arange(1, rows * 3 + 1, dtype="f4").reshape(rows, 3)
    return Case(name, {"x": values + len(name), "h": values}, sizes or {})


def test_sequences_begin_from_zeros_or_the_examples_state_and_then_follow() -> None:
    steps = make_sequences([case("real"), case("large")], PAIR, seed=0)
    assert [step.name for step in steps][:3] == ["sequence-2-step-1", "sequence-2-step-2", "sequence-3-step-1"]
    assert len(steps) == sum(LENGTHS)
    first = [step for step in steps if step.name.endswith("-step-1")]
    assert [step.follows for step in first] == [False] * 3
    assert [bool(step.inputs["h"].any()) for step in first] == [False, True, False]
    assert all(step.follows for step in steps if not step.name.endswith("-step-1"))


def test_a_sequences_inputs_are_values_of_the_usual_cases_in_other_orders() -> None:
    steps = [s for s in make_sequences([case("real"), case("large")], PAIR, seed=0) if s.name.startswith("sequence-16")]
    assert all(sorted(step.inputs["x"].ravel()) == sorted(case("real").inputs["x"].ravel()) for step in steps)
    assert len({step.inputs["x"].tobytes() for step in steps}) > 10


def test_one_sequence_has_another_size_of_the_dynamic_dimensions() -> None:
    steps = make_sequences([case("real"), case("size-n-5", {"n": 5}, rows=5)], PAIR, seed=0)
    assert {step.inputs["x"].shape[0] for step in steps if step.name.startswith("sequence-3-")} == {5}
    assert {step.inputs["x"].shape[0] for step in steps if not step.name.startswith("sequence-3-")} == {2}


def test_a_model_without_state_has_no_sequences() -> None:
    assert make_sequences([case("real")], (), seed=0) == ()


def test_a_step_goes_on_with_what_was_left() -> None:
    step = Case("step", {"x": np.ones(1), "h": np.zeros(1)}, {}, follows=True)
    assert carried_on(step, PAIR, {"left": np.full(1, 7.0)}).inputs["h"].tolist() == [7]
    assert carried_on(Case("step", step.inputs, {}), PAIR, {}).inputs["h"].tolist() == [0]


def test_onnxruntime_is_proven_on_the_state_that_it_left_itself(tmp_path: Path) -> None:
    def model(drift: float) -> Path:
        value = helper.make_tensor_value_info
        nodes = [helper.make_node("Sum", ["x", "h", "drift"], ["left"])]
        graph = helper.make_graph(
            nodes,
            "g",
            [value("x", TensorProto.FLOAT, [2]), value("h", TensorProto.FLOAT, [2])],
            [value("left", TensorProto.FLOAT, [2])],
            [helper.make_tensor("drift", TensorProto.FLOAT, [], [drift])],
        )
        onnx.save(
            helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path / "m.onnx"
        )
        return tmp_path / "m.onnx"

    ones = np.ones(2, "f4")
    # each step's own state input is a lie: only one who carries the state gets 1, 2, 3
    cases = [Case(f"s{i}", {"x": ones, "h": ones * 0}, {}, follows=i > 0) for i in range(3)]
    answers = [Answers({"left": ones * (i + 1)}, {"left": ones.astype("f8") * (i + 1)}) for i in range(3)]
    assert verify(model(0.0), cases, answers, threads=1, where="x", state=PAIR).worst.difference.max_abs == 0
    with pytest.raises(ParityLost, match="3 of 3 outputs differ"):
        verify(model(0.01), cases, answers, threads=1, where="x", state=PAIR)


def sources() -> Any:
    path = Path(__file__).parent / "sources" / "recurrent.py"
    found = importlib.util.spec_from_file_location("recurrent_sources", path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def digits() -> tuple[Array, Array]:
    datasets = pytest.importorskip("sklearn.datasets")
    images, labels = datasets.load_digits(return_X_y=True)
    return (images / 16).astype("f4").reshape(-1, 8, 8), labels


@pytest.fixture(scope="module")
def trained(digits: tuple[Array, Array]) -> Any:
    torch.manual_seed(0)
    module = sources().RowReader()
    rows, labels = torch.from_numpy(digits[0]).transpose(0, 1), torch.from_numpy(digits[1])
    optimizer = torch.optim.Adam(module.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        seen, _ = module.lstm(rows)
        nn.functional.cross_entropy(module.head(seen[-1]), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return module.eval()


@pytest.fixture(scope="module")
def exported(
    trained: Any, requested: Requested, spec: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Exported]:
    folder = tmp_path_factory.mktemp("rows")
    torch.save(trained.state_dict(), folder / "w.pt")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        source = spec("recurrent.py:row_reader", weights=str(folder / "w.pt"))
        yield run(requested("", folder / "rows.edge", source=source, **FLAGS))


def test_a_recurrent_network_is_exported_with_its_state_and_proven_over_sequences(exported: Exported) -> None:
    assert exported.artifact.manifest.state == STATE
    names = {row.case for row in exported.verification.rows}
    assert {f"sequence-{length}-step-{length}" for length in LENGTHS} <= names
    assert exported.verification.summary.reference.startswith("torch float32, tolerance by float64")
    assert check(exported.artifact.path).ok


def test_a_golden_case_of_a_sequence_holds_the_state_that_was_met_there(exported: Exported) -> None:
    steps = {case.name: case for case in exported.artifact.golden(exported.artifact.variant())}
    first, second = steps["sequence-2-step-1"], steps["sequence-2-step-2"]
    assert not first.inputs["h_in"].any()
    assert np.array_equal(second.inputs["h_in"], first.outputs["h_out"])
    assert np.array_equal(second.inputs["c_in"], first.outputs["c_out"])


def test_ten_thousand_steps_are_one_long_run_of_the_module(
    exported: Exported, trained: Any, digits: tuple[Array, Array]
) -> None:
    rows = digits[0].reshape(-1, 1, 8)[:STEPS]
    assert len(rows) == STEPS

    def long_run(module: Any, dtype: torch.dtype) -> Array:
        with torch.inference_mode():
            seen, _ = module.to(dtype).lstm(torch.from_numpy(rows).to(dtype))
            scores: Array = module.head(seen)[:, 0].numpy()
        return scores

    exact, plain = long_run(trained, torch.float64), long_run(trained, torch.float32)
    with load(exported.artifact.path, threads=1) as model:
        stream = model.with_state(row=rows[0])
        found = np.empty_like(plain)
        for step, row in enumerate(rows):
            stream.inputs["row"][...] = row
            found[step] = stream()["scores"]
    noise = np.abs(plain - exact).max()
    assert noise > 0
    assert np.abs(found - exact).max() <= 16 * noise  # the factor that an export grants
    assert np.ptp(plain, axis=0).min() > 1  # a network that says something


@pytest.mark.parametrize(
    ("entry", "flags", "problem"),
    [
        ("recurrent.py:growing", {"state": (State(input="past", output="output_1"),)}, "a state that grows is none"),
        ("recurrent.py:row_reader", {"state": (State(input="h_in", output="none"),)}, "no output 'none'"),
    ],
)
def test_a_source_whose_state_cannot_be_carried_is_refused(
    requested: Requested, tmp_path: Path, entry: str, flags: dict[str, Any], problem: str
) -> None:
    with pytest.raises(UsageError) as refused:
        run(requested(entry, tmp_path / "x.edge", **flags))
    assert problem in str(refused.value)
    assert list(tmp_path.iterdir()) == []
