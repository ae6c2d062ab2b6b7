from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edge_runtime import session
from edge_runtime.manifest import Port
from edge_runtime.npz import Array
from export_tools.cases import Case
from export_tools.errors import ExportFailed, ParityLost
from export_tools.noise import FACTOR, LEAST_NOISE, Answers, profile, tolerances
from export_tools.verify import AS_WRITTEN, OPTIMISED, compared, departed, output_shapes, refuse_invalid, verify

Model = Callable[..., Path]
X = np.linspace(-2, 2, 6, dtype=np.float32).reshape(2, 3)


def answers(plain: Array, precise: Array | None = None) -> Answers:
    wide = plain.astype(np.float64) if precise is None else precise
    return Answers({"y": plain}, {"y": wide})


def case(name: str, x: Array = X, **sizes: int) -> Case:
    return Case(name, {"x": x}, sizes)


@pytest.fixture
def model(tmp_path: Path) -> Model:
    """Return what writes a model of one operator, with an output of the right type."""

    def written(
        kind: str = "Neg", out: int = TensorProto.FLOAT, rows: int | str = "batch", **attributes: float
    ) -> Path:
        graph = helper.make_graph(
            [helper.make_node(kind, ["x"], ["y"], **attributes)],
            "one",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, 3])],
            [helper.make_tensor_value_info("y", out, [rows, 3])],
        )
        path = tmp_path / "model.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
        return path

    return written


def test_equal_answers_pass_and_the_figures_say_so(model: Model) -> None:
    proof = verify(model(), [case("real")], [answers(-X)], threads=1, where="here")
    assert (proof.summary.cases, proof.summary.worst_abs, proof.summary.snr_db) == (1, 0.0, None)
    assert proof.summary.tolerance == FACTOR * LEAST_NOISE
    assert proof.warnings == ()


def test_the_worst_output_case_and_error_are_named(model: Model) -> None:
    wanted = -X
    wanted[1, 2] += 0.5
    with pytest.raises(
        ParityLost, match=r"1 of 2 outputs differ; the worst is y of the case odd: it is off by 0\.5 at \[1, 2\]"
    ) as caught:
        verify(model(), [case("real"), case("odd")], [answers(-X), answers(wanted)], threads=1, where="here")
    assert caught.value.exit_code == 1


def test_a_frozen_size_is_told_as_such(model: Model) -> None:
    with pytest.raises(ParityLost, match="PyTorch answers the case batch-1, onnxruntime fails") as caught:
        verify(
            model(rows=2),
            [case("real"), case("batch-1", X[:1], batch=1)],
            [answers(-X), answers(-X[:1])],
            threads=1,
            where="here",
        )
    assert "this case has batch=1" in caught.value.hint


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_small_and_large_outputs_are_judged_by_their_own_magnitude(model: Model, scale: float) -> None:
    inputs = (X * scale).astype(np.float32)
    verify(model(), [case("real", inputs)], [answers(-inputs)], threads=1, where="here")
    with pytest.raises(ParityLost):
        verify(model(), [case("real", inputs)], [answers(-inputs * np.float32(1.001))], threads=1, where="here")


def test_an_output_of_zeros_must_be_zero(model: Model) -> None:
    zeros = np.zeros_like(X)
    verify(model(), [case("zeros", zeros)], [answers(zeros)], threads=1, where="here")
    with pytest.raises(ParityLost):
        verify(model(), [case("near", np.full_like(X, 1e-12))], [answers(zeros)], threads=1, where="here")


def test_nan_and_infinities_must_stand_at_the_same_places(model: Model) -> None:
    odd = np.array([[-1.0, 0.0, 4.0]], np.float32)
    roots = np.array([[np.nan, 0.0, 2.0]], np.float32)
    verify(model("Sqrt"), [case("odd", odd)], [answers(roots)], threads=1, where="here")
    with pytest.raises(ParityLost, match="is nan at"):
        verify(model("Sqrt"), [case("odd", odd)], [answers(np.nan_to_num(roots))], threads=1, where="here")


def test_integers_must_be_equal(model: Model) -> None:
    wanted = X.astype(np.int64)
    verify(
        model("Cast", TensorProto.INT64, to=TensorProto.INT64),
        [case("real")],
        [answers(wanted)],
        threads=1,
        where="here",
    )
    with pytest.raises(ParityLost, match="y of the case real"):
        verify(
            model("Cast", TensorProto.INT64, to=TensorProto.INT64),
            [case("real")],
            [answers(wanted + (X > 1))],
            threads=1,
            where="here",
        )


def test_another_type_or_shape_is_another_answer(model: Model) -> None:
    with pytest.raises(ParityLost, match=r"is float32\[2, 3\], expected float64\[2, 3\]"):
        verify(model(), [case("real")], [answers((-X).astype(np.float64))], threads=1, where="here")


def test_a_file_that_the_checker_refuses_is_a_failed_export(model: Model, tmp_path: Path) -> None:
    path = model("NoSuchOperator")
    with pytest.raises(ExportFailed, match="onnx's checker refuses"):
        refuse_invalid(path, where="here")
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ExportFailed):
        verify(path, [case("real")], [answers(-X)], threads=1, where="here")


def test_the_tolerance_is_a_multiple_of_what_float32_does_to_the_module() -> None:
    noisy = answers(np.array([1.0, 2.0], np.float32), np.array([1.0, 2.0 + 2e-4]))
    quiet = answers(np.array([4.0], np.float32))
    first, second = tolerances([noisy, quiet])
    beyond_rounding = (2e-4 - 2 * LEAST_NOISE) / 2
    assert first["y"].relative == pytest.approx(FACTOR * beyond_rounding, rel=1e-3)
    assert second["y"].tolerance.abs == pytest.approx(4 * FACTOR * beyond_rounding, rel=1e-3)
    assert second["y"].tolerance.rel == FACTOR * LEAST_NOISE


def test_a_case_where_all_cancels_does_not_excuse_the_others() -> None:
    cancelled = answers(np.array([3e-8], np.float32), np.array([1e-17]))
    quiet = answers(np.array([4.0], np.float32))
    first, second = tolerances([cancelled, quiet])
    assert second["y"].relative == FACTOR * LEAST_NOISE
    assert first["y"].tolerance.abs == pytest.approx(FACTOR * 3e-8, rel=1e-3)


def test_a_case_that_rounds_far_more_than_the_others_does_not_excuse_them(model: Model) -> None:
    quiet = answers(X, X.astype(np.float64) * (1 + 2e-6))
    loud = answers(X, X.astype(np.float64) * (1 + 5e-3))  # below what makes a case ill-conditioned by itself
    *others, last = tolerances([quiet] * 5 + [loud])
    assert all(one["y"].relative < 1e-4 for one in others)
    assert last["y"].relative > FACTOR * 4e-3
    assert profile([quiet] * 5).including(loud).grants(quiet)["y"].relative < 1e-4
    off = answers(X * np.float32(1.01), X.astype(np.float64) * 1.01)
    cases = [case(str(index), -X) for index in range(6)]
    with pytest.raises(ParityLost, match="1 of 6 outputs differ; the worst is y of the case 4"):
        verify(model(), cases, [*[quiet] * 4, off, loud], threads=1, where="here")


def test_a_large_value_beside_a_small_one_excuses_nothing_there(model: Model) -> None:
    mixed = np.array([[1e8, 0.07, -3.0], [4e7, 0.5, 2.0]], np.float32)
    proof = verify(model(), [case("real", -mixed)], [answers(mixed)], threads=1, where="here")
    (row,) = proof.rows
    assert row.tolerance.abs < 1e-3 * 0.07  # what a golden case stores sees a wrong probability too
    halved = mixed.copy()
    halved[0, 1] /= 2
    with pytest.raises(ParityLost, match=r"is off by 0\.035 at \[0, 1\]"):
        verify(model(), [case("real", -mixed)], [answers(halved)], threads=1, where="here")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_output_that_is_never_a_number_proves_nothing(model: Model, value: float) -> None:
    odd = np.full_like(X, value)
    with pytest.raises(ParityLost, match="nothing to compare"):
        verify(model(), [case("real", -odd)], [answers(odd)], threads=1, where="here")


def test_without_float64_the_tolerance_is_fixed_and_the_summary_says_so(model: Model) -> None:
    plain = Answers({"y": -X}, None)
    proof = verify(model(), [case("real")], [plain], threads=1, where="here")
    assert (proof.summary.tolerance, proof.summary.reference) == (1e-3, "torch float32")


def test_an_output_that_never_changes_is_a_weak_proof(model: Model) -> None:
    zeros = np.zeros_like(X)
    proof = verify(
        model("Relu"), [case("one", -abs(X)), case("two", zeros)], [answers(zeros)] * 2, threads=1, where="here"
    )
    assert len(proof.warnings) == 1
    assert "y is 0.0 in every case" in proof.warnings[0]


def test_output_dimensions_get_the_name_they_follow() -> None:
    ports = (Port(name="x", dtype="float32", shape=("n", "m")),)
    sizes = [(2, 2), (1, 3), (3, 1), (2, 5)]
    cases = [case(str(index), np.zeros(shape, np.float32)) for index, shape in enumerate(sizes)]
    found: list[Answers] = [Answers({"y": np.zeros((m, 7, n, n + m), np.float32)}, None) for n, m in sizes]
    assert output_shapes(cases, found, ports) == {"y": ("m", 7, "n", "y_dim_3")}


def test_an_output_whose_rank_changes_can_not_be_described() -> None:
    ports = (Port(name="x", dtype="float32", shape=(2, 3)),)
    changing: list[Mapping[str, Array]] = [{"y": X}, {"y": X[0]}]
    with pytest.raises(ExportFailed, match="rank of y"):
        output_shapes([case("a"), case("b")], [Answers(plain, None) for plain in changing], ports)


def test_the_order_of_equal_values_is_not_held_against_a_model(model: Model) -> None:
    same = np.zeros_like(X)
    cast = model("Cast", TensorProto.INT64, to=TensorProto.INT64)
    other_order = np.array([[3, 0, 1], [2, 0, 1]])  # what PyTorch's topk might name among equal values
    right = X.astype(np.int64)
    both = [case("real"), case("zeros", same)]
    proof = verify(cast, both, [answers(right), answers(other_order)], threads=1, where="here")
    assert proof.tied == {"zeros"}  # no golden case: another machine may name yet another
    assert proof.summary.cases == 2
    assert proof.warnings[0].endswith("as they may, so these are no golden cases: zeros")
    with pytest.raises(ParityLost):  # among different values it is an error
        verify(cast, both, [answers(right + 1), answers(other_order)], threads=1, where="here")


def test_indices_that_differ_are_judged_and_other_outputs_are_not(model: Model) -> None:
    asked: list[tuple[str, str, list[int]]] = []

    def tied(case: Case, output: str, got: Array) -> bool:
        asked.append((case.name, output, got[0].tolist()))
        return True

    cast = model("Cast", TensorProto.INT64, to=TensorProto.INT64)
    wanted = X.astype(np.int64) + 1
    proof = verify(cast, [case("real")], [answers(wanted)], threads=1, where="here", tied=tied)
    assert proof.tied == {"real"}
    assert asked == [("real", "y", [-2, -1, 0])] * 2  # on both of onnxruntime's graphs
    with pytest.raises(ParityLost):
        verify(model(), [case("real")], [answers(X)], threads=1, where="here", tied=tied)
    with pytest.raises(ParityLost):
        verify(cast, [case("real")], [answers(wanted.astype(np.int32))], threads=1, where="here", tied=tied)
    assert len(asked) == 2


def test_an_answer_that_only_the_optimiser_changes_is_told_as_such(model: Model) -> None:
    proof = compared(model(), [case("real")], [answers(X)], threads=1, where="here")
    assert [(row.graph, row.difference.ok) for row in proof.rows] == [(AS_WRITTEN, False)]
    assert "only as" not in departed(proof, [case("real")], Path("m"), "here").what
    optimised = replace(proof, rows=tuple(replace(row, graph=OPTIMISED) for row in proof.rows))
    error = departed(optimised, [case("real")], Path("m"), "here")
    assert error.what.endswith("and only as onnxruntime optimises the graph")
    assert error.failing is not None
    assert (error.failing.proof, error.failing.case.name, error.failing.row.output) == (optimised, "real", "y")


def test_the_profile_of_some_cases_grants_tolerances_to_others() -> None:
    noisy = answers(np.array([1.0, 2.0], np.float32), np.array([1.0, 2.0 + 2e-4]))
    quiet = answers(np.array([1.0, 2.0], np.float32))
    assert profile([noisy]).grants(quiet)["y"].relative == tolerances([noisy, quiet])[1]["y"].relative > 1e-3
    assert profile([quiet]).grants(quiet)["y"].relative == FACTOR * LEAST_NOISE


def test_each_case_runs_on_the_graph_as_written_and_as_onnxruntime_optimises_it(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_alone: list[bool] = []

    def opened(path: Path, **options: Any) -> Any:
        left_alone.append(options["optimised"])
        return Answering(-X if options["optimised"] else X)  # the optimiser of this one spoils it

    monkeypatch.setattr(session, "open_model", opened)
    proof = compared(model(), [case("real")], [answers(-X)], threads=1, where="here")
    assert left_alone == [True, False]
    assert [(row.graph, row.difference.ok) for row in proof.rows] == [(OPTIMISED, False)]


class Answering:
    """A session that gives one answer to all."""

    def __init__(self, answer: Array) -> None:
        self.answer = answer

    def get_outputs(self) -> list[Any]:
        return [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])]

    def run(self, _names: list[str], _inputs: dict[str, Array]) -> list[Array]:
        return [self.answer]
