"""A whole profile in real workers: the sums agree, the counts are those of the model, the trace is one."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_runtime import peaks
from edge_runtime.chrome_trace import trace_document
from edge_runtime.errors import SelfCheckFailed, UsageError, WrongInput
from edge_runtime.model import load
from edge_runtime.profiling import Plan, Profile, profile
from tests import fakes
from tests.conftest import Maker

QUICK = Plan(budget_s=0.05)


def conv_gemm() -> fakes.Sample:
    """float32[n, 16, 12, 12] → Conv, Relu, average, Gemm → float32[n, 10]."""
    random = np.random.default_rng(0)
    shapes = {"w": (32, 16, 3, 3), "b": (32,), "wg": (10, 32), "bg": (10,)}
    return fakes._sample(
        [
            helper.make_node("Conv", ["x", "w", "b"], ["c"], name="conv", pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c"], ["r"], name="relu"),
            helper.make_node("GlobalAveragePool", ["r"], ["p"], name="pool"),
            helper.make_node("Flatten", ["p"], ["f"], name="flat"),
            helper.make_node("Gemm", ["f", "wg", "bg"], ["y"], name="gemm", transB=1),
        ],
        {"x": (TensorProto.FLOAT, ["n", 16, 12, 12])},
        {"y": (TensorProto.FLOAT, ["n", 10])},
        [{"x": random.normal(size=(2, 16, 12, 12)).astype("f4")}],
        {name: (random.normal(size=shape) * 0.1).astype("f4") for name, shape in shapes.items()},
    )


def looped() -> fakes.Sample:
    """float32[4], three times plus one and doubled."""
    one = numpy_helper.from_array(np.ones(1, "f4"), "one")
    scalar: list[int | str] = []
    vector: list[int | str] = [4]
    body = helper.make_graph(
        [
            helper.make_node("Add", ["acc", "one"], ["more"], name="plus"),
            helper.make_node("Add", ["more", "more"], ["twice"], name="double"),
            helper.make_node("Identity", ["go"], ["go_on"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, scalar),
            helper.make_tensor_value_info("go", TensorProto.BOOL, scalar),
            helper.make_tensor_value_info("acc", TensorProto.FLOAT, vector),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, scalar),
            helper.make_tensor_value_info("twice", TensorProto.FLOAT, vector),
        ],
        [one],
    )
    return fakes._sample(
        [onnx.helper.make_node("Loop", ["times", "always", "x"], ["y"], name="loop", body=body)],
        {"x": (TensorProto.FLOAT, [4])},
        {"y": (TensorProto.FLOAT, [4])},
        [{"x": np.zeros(4, "f4")}],
        {"times": np.array(3, "i8"), "always": np.array(True)},
    )


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of this file's own, shared by its tests, for peaks take seconds to measure."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGE_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fakes.write_artifact(tmp_path_factory.mktemp("conv gemm") / "net.edge", conv_gemm())


@pytest.fixture(scope="module")
def found(artifact: Path) -> Profile:
    with load(artifact, threads=1) as model:
        return profile(model, plan=QUICK)


def test_the_times_of_nodes_add_up_to_the_total_and_stay_below_a_run(found: Profile) -> None:
    assert sum(node.ns for node in found.nodes) == found.nodes_ns > 0
    assert sum(node.share for node in found.nodes) == pytest.approx(1)
    assert sum(operator.ns for operator in found.operators) == found.nodes_ns
    assert sum(operator.share for operator in found.operators) == pytest.approx(1)
    # a sum of medians may pass the median of the sums, by no more than they scatter
    assert found.nodes_ns <= found.run_ns * 1.2
    assert found.p50_ns > 0
    assert found.overhead == found.profiled_ns / found.p50_ns


def test_nodes_and_operators_fall_in_time(found: Profile) -> None:
    for shares in (found.nodes, found.operators):
        assert len(shares) > 2
        assert [share.ns for share in shares] == sorted((share.ns for share in shares), reverse=True)


def test_every_run_after_the_warm_up_is_there(found: Profile) -> None:
    assert len(found.runs) >= 20
    assert {len(run.kernels) for run in found.runs} == {len(found.nodes)}


def test_the_work_is_that_of_the_model_weights_included(found: Profile) -> None:
    by_operator = {share.operator: share for share in found.operators}
    outputs = 2 * 32 * 12 * 12
    convolution = next(share for name, share in by_operator.items() if "Conv" in name)
    assert convolution.work.operations == outputs * 16 * 9 * 2 + outputs
    assert convolution.work.bytes == 4 * (2 * 16 * 144 + 32 * 16 * 9 + 32 + outputs)
    assert by_operator["Gemm"].work.operations == 20 * 32 * 2 + 20
    assert by_operator["Gemm"].work.bytes == 4 * (64 + 320 + 10 + 20)
    assert by_operator["Flatten"].work.bytes == 0


def test_rates_and_the_share_of_the_peak_follow_from_work_and_time(found: Profile) -> None:
    convolution = max(found.nodes, key=lambda node: node.work.operations or 0)
    assert convolution.work.operations is not None
    assert convolution.work.bytes is not None
    assert convolution.operations_per_s == convolution.work.operations * 10**9 // convolution.ns
    assert convolution.bytes_per_s == convolution.work.bytes * 10**9 // convolution.ns
    least_s = max(
        convolution.work.operations / found.peaks.float32_operations_per_s,
        convolution.work.bytes / found.peaks.copy_bytes_per_s,
    )
    assert convolution.attained == pytest.approx(least_s * 1e9 / convolution.ns)


def test_the_document_is_json_and_holds_every_node(found: Profile) -> None:
    document = json.loads(json.dumps(found.to_document(), allow_nan=False))
    assert (document["kind"], document["schema"]) == ("edge-profile", 1)
    assert len(document["nodes"]) == len(found.nodes)
    assert sum(node["ns"] for node in document["nodes"]) == document["nodes_ns"]
    assert document["runs"] == len(found.runs)


def test_the_peaks_are_measured_once_a_boot(found: Profile, cache: Path, artifact: Path) -> None:
    (kept,) = (cache / "peaks").iterdir()
    assert peaks.read_cached(cache / "peaks", kept.stem) == found.peaks
    kept.write_text(kept.read_text().replace(str(found.peaks.copy_bytes_per_s), "12345678"))
    with load(artifact, threads=1) as model:
        again = profile(model, plan=Plan(runs=2))
    assert again.peaks.copy_bytes_per_s == 12345678
    peaks.keep(cache / "peaks", kept.stem, found.peaks)


def test_the_trace_nests_kernels_in_runs(found: Profile) -> None:
    document = json.loads(json.dumps(trace_document(found)))
    assert document["displayTimeUnit"] == "ns"
    named = [event for event in document["traceEvents"] if event["ph"] == "M"]
    assert [event["name"] for event in named] == ["process_name", "thread_name"]
    slices = [event for event in document["traceEvents"] if event["ph"] == "X"]
    assert len(slices) + len(named) == len(document["traceEvents"])
    assert len(slices) == sum(1 + len(run.kernels) for run in found.runs)
    run_end = kernel_end = 0
    for event in slices:
        assert {"pid", "tid", "cat", "args"} <= event.keys()
        begin, end = event["ts"], event["ts"] + event["dur"]
        if event["cat"] == "run":
            assert begin >= run_end
            run_end, kernel_end = end, begin
        else:
            assert kernel_end <= begin
            assert end <= run_end
            kernel_end = end


def test_the_body_of_a_loop_is_called_as_often_as_it_turns(make_artifact: Maker) -> None:
    with load(make_artifact(looped()), threads=1) as model:
        found = profile(model, plan=Plan(runs=20))
    calls = {node.name: node.calls for node in found.nodes}
    assert (calls["loop"], calls["plus"], calls["double"]) == (1, 3, 3)
    work = {node.name: node.work.operations for node in found.nodes}
    assert (work["loop"], work["plus"]) == (None, 12)
    assert found.nodes_ns <= found.run_ns * 1.2
    assert any("no count of operations for Loop" in warning for warning in found.warnings)


def test_other_inputs_are_the_ones_that_run(artifact: Path) -> None:
    with load(artifact, threads=1) as model:
        found = profile(model, {"x": np.zeros((5, 16, 12, 12), "f4")}, plan=Plan(runs=3))
        assert len(found.runs) == 3
        assert {share.operator: share for share in found.operators}["Gemm"].work.operations == 50 * 32 * 2 + 50
        with pytest.raises(WrongInput, match="the model takes"):
            profile(model, {"x": np.zeros((5, 16, 12), "f4")}, plan=QUICK)


def test_a_model_that_answers_wrongly_is_not_profiled(make_artifact: Maker) -> None:
    with load(make_artifact(spoil=1.0), threads=1) as model, pytest.raises(SelfCheckFailed, match="answers wrongly"):
        profile(model, plan=QUICK)


def test_more_runs_than_a_profile_holds_are_refused(artifact: Path) -> None:
    with load(artifact, threads=1) as model, pytest.raises(UsageError, match="more than a profile holds"):
        profile(model, plan=Plan(runs=100_000))


@pytest.mark.parametrize(
    "plan", [{"threads": 0}, {"threads": 10_000}, {"runs": 0}, {"budget_s": 0.0}, {"budget_s": float("nan")}]
)
def test_a_plan_that_can_not_be_carried_out_is_refused(plan: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        Plan(**plan)  # type: ignore[arg-type]
