"""Runs on this machine with contenders whose faults or costs are known."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench import bench, runner
from bench.errors import UnknownBoard, UnknownContender
from edge_runtime import graph_cache, noise_floor, stats, summary
from edge_runtime import record as records
from edge_runtime.errors import HashMismatch, RecordError, UsageError, WrongInput
from edge_runtime.record import Record
from edge_runtime.rounds import Plan, Progress
from edge_runtime.samples import Launch

Rival = Callable[[str], str]
Quick = Callable[[int], Plan]


def test_a_known_ratio_of_two_busy_waits_is_found(raced: Record) -> None:
    found = summary.compare(raced, baseline="waits_600us", contender="waits_300us")
    assert found.speedup is not None
    assert found.speedup.low is not None
    assert found.speedup.high is not None
    # loose by 5 %: both also make a real call, and this machine does other things
    assert found.speedup.low / 1.05 <= 2 <= found.speedup.high * 1.05
    assert found.rounds == 4


def test_a_contender_that_answers_wrongly_is_recorded_and_never_timed(raced: Record) -> None:
    wrong = next(one for one in raced.contenders if one.name == "adds_one")
    assert wrong.answers.agree is False
    assert wrong.answers.max_abs == pytest.approx(1, abs=1e-5)
    assert raced.launches_of("adds_one") == ()
    assert [one.contender for one in raced.memory] == ["edge", "waits_300us", "waits_600us"] * 3
    assert summary.compare(raced, baseline="adds_one", contender="edge").verdict == "invalid"
    assert any("adds_one answers wrongly" in warning for warning in raced.warnings)


def test_every_round_launches_each_contender_once_and_turns_the_order(raced: Record) -> None:
    order = [(launch.round, launch.order, launch.contender) for launch in raced.launches]
    assert order == sorted(order)
    names = [[name for at, _, name in order if at == index] for index in range(4)]
    assert names[:3] == [
        ["edge", "waits_300us", "waits_600us"],
        ["waits_300us", "waits_600us", "edge"],
        ["waits_600us", "edge", "waits_300us"],
    ]
    assert names[3] == ["waits_600us", "waits_300us", "edge"]


def middle(samples: Sequence[int]) -> int:
    return sorted(samples)[(len(samples) + 1) // 2 - 1]


def pieces(launch: Launch) -> list[int]:
    """Return the median of each piece of a block."""
    ends = np.cumsum(launch.slices)
    return [middle(launch.block_ns[end - size : end]) for end, size in zip(ends, launch.slices, strict=True)]


def test_the_summary_is_computed_from_the_raw_samples_alone(raced: Record) -> None:
    told = summary.document(raced, summary.comparisons(raced, contender="edge"))
    launches = {name: [one for one in raced.launches if one.contender == name] for name in ("edge", "waits_600us")}
    medians = {name: [middle(one.steady_ns) for one in of_one] for name, of_one in launches.items()}
    assert all(len(one.slices) == Plan().block.slices for of_one in launches.values() for one in of_one)
    ratios = np.array(
        [
            np.median(np.log(np.array(pieces(theirs)) / np.array(pieces(ours))))
            for ours, theirs in zip(launches["edge"], launches["waits_600us"], strict=True)
        ]
    )
    half = stats.t_quantile(0.975, 3) * ratios.std(ddof=1) / 2
    shown = next(one for one in told["comparisons"] if one["baseline"] == "waits_600us")
    assert shown["speedup"] == pytest.approx(np.exp(ratios.mean()))
    assert (shown["low"], shown["high"]) == pytest.approx(tuple(np.exp([ratios.mean() - half, ratios.mean() + half])))
    assert told["contenders"]["edge"]["latency_ns"]["p50"][0] == pytest.approx(np.exp(np.log(medians["edge"]).mean()))


def test_a_record_survives_its_file(raced: Record, tmp_path: Path) -> None:
    raced.save(tmp_path / "record.json")
    assert records.load_record(tmp_path / "record.json") == raced


def test_the_record_says_how_it_was_taken(raced: Record) -> None:
    assert (raced.board, raced.config.threads, raced.config.shapes) == ("local", 1, {"input": (8, 13)})
    assert raced.config.cpus == (max(os.sched_getaffinity(0)),)
    assert raced.stop_reason == "rounds"
    assert raced.seed == 0, "of the variants of inputs"
    assert raced.config.inputs == 8


def test_a_contender_that_turns_wrong_later_leaves_the_race(tiny: Path, rival: Rival, quick: Quick) -> None:
    told: list[Progress] = []
    record = bench(tiny, against=[rival("late_wrong")], plan=quick(2), progress=told.append)
    rounds = [now.round for now in told if now.contender == "late_wrong"]
    assert rounds == [None, None], "its second launch measures memory again, and is its last"
    assert [one.answers.agree for one in record.contenders] == [True, False]
    assert record.launches_of("late_wrong") == ()
    assert len(record.launches_of("edge")) == 2


def test_a_contender_may_print_whatever_it_likes(tiny: Path, rival: Rival, quick: Quick) -> None:
    record = bench(tiny, against=[rival("talks")], plan=quick(1))
    assert len(record.launches_of("talks")) == 1


@pytest.mark.parametrize(
    ("name", "told"), [("dies", "SIGKILL"), ("breaks_protocol", "this is no event")], ids=["killed", "garbage"]
)
def test_a_rival_whose_worker_is_lost_is_reported_with_how_and_the_others_go_on(
    name: str, told: str, tiny: Path, rival: Rival, quick: Quick
) -> None:
    record = bench(tiny, against=[rival(name)], plan=quick(1))
    lost = record.contenders[1].failure
    assert lost is not None
    assert (lost.kind, told in lost.reason) == ("lost", True)
    assert len(record.launches_of("edge")) == 1


def test_the_checked_call_and_a_named_variant_are_contenders_of_our_own(tiny: Path, quick: Quick) -> None:
    record = bench(tiny, against=["edge:call", "edge:fp32"], plan=quick(1))
    told = [(one.name, one.answers.agree, one.configuration["call"]) for one in record.contenders]
    assert told == [("edge", True, "bound"), ("edge:call", True, "checked"), ("edge:fp32", True, "bound")]
    assert all(one.first_start_ns is not None for one in record.contenders)
    assert len(record.launches) == 3


def test_a_variant_that_the_artifact_lacks_is_refused_before_any_worker_starts(tiny: Path, quick: Quick) -> None:
    told: list[Progress] = []
    with pytest.raises(UsageError, match="int4"):
        bench(tiny, against=["edge:int4"], plan=quick(1), progress=told.append)
    assert told == []


def test_the_plain_script_gives_the_same_answers(tiny: Path, quick: Quick) -> None:
    record = bench(tiny, against=["onnxruntime"], plan=quick(1))
    assert [(one.name, one.answers.agree) for one in record.contenders] == [("edge", True), ("onnxruntime", True)]
    assert record.contenders[1].engine == record.contenders[0].engine


def test_own_inputs_are_timed_and_the_golden_cases_still_checked(tiny: Path, rival: Rival, quick: Quick) -> None:
    inputs = {"input": np.ones((5, 13), np.float32)}
    record = bench(tiny, against=[rival("adds_one")], inputs=inputs, plan=quick(1))
    assert record.config.shapes == {"input": (5, 13)}
    assert [one.answers.agree for one in record.contenders] == [True, False]


def test_inputs_that_do_not_fit_are_refused_by_name(tiny: Path, quick: Quick, private_tmp: Path) -> None:
    with pytest.raises(WrongInput, match=r'input "input" is float32\[5, 12\]'):
        bench(tiny, against=["onnxruntime"], inputs={"input": np.ones((5, 12), np.float32)}, plan=quick(1))
    assert list(private_tmp.iterdir()) == []


def test_the_record_is_kept_after_each_launch_and_says_it_is_unfinished(tiny: Path, quick: Quick) -> None:
    kept: list[Record] = []
    final = bench(tiny, against=[], plan=quick(2), keep=kept.append)
    assert [(len(one.launches), one.stop_reason) for one in kept] == [
        *[(0, "unfinished")] * 3, (1, "unfinished"), (2, "unfinished"),
    ]  # fmt: skip
    assert final.launches == kept[-1].launches


def test_a_calibration_gives_the_margin_of_the_runs_after_it(
    tiny: Path, quick: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_CACHE", str(tmp_path / "cache"))
    record, floor = runner.calibrate(tiny, plan=quick(2))
    assert [one.name for one in record.contenders] == ["edge", "edge-again"]
    assert {one.artifact.sha256 for one in record.contenders} == {record.contenders[0].artifact.sha256}
    assert floor.share > 0
    noise_floor.keep(graph_cache.noise_folder(), replace(floor, share=0.5))
    after = bench(tiny, against=[], plan=quick(1))
    assert after.config.margin == pytest.approx(0.75)
    assert after.config.noise_floor == 0.5


def test_a_damaged_artifact_is_refused_before_any_worker_starts(
    tiny: Path, tmp_path: Path, quick: Quick, private_tmp: Path
) -> None:
    damaged = tmp_path / "damaged.edge"
    damaged.mkdir()
    for file in tiny.rglob("*"):
        there = damaged / file.relative_to(tiny)
        there.mkdir(parents=True) if file.is_dir() else there.write_bytes(file.read_bytes())
    model = damaged / "fp32/model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"?")
    told: list[object] = []
    with pytest.raises(HashMismatch, match=r"fp32/model\.onnx"):
        bench(damaged, against=[], plan=quick(1), progress=told.append)
    assert told == []
    assert list(private_tmp.iterdir()) == []


def test_unknown_contenders_are_answered_with_the_known_ones(tiny: Path) -> None:
    with pytest.raises(UnknownContender, match="known are edge, edge:call, onnxruntime, torch"):
        bench(tiny, against=["tensorflow"])


def test_a_missing_contender_file_is_named(tiny: Path) -> None:
    with pytest.raises(UnknownContender, match=r"no such file – /nowhere/mine\.py"):
        bench(tiny, against=["/nowhere/mine.py:open_contender"])


def test_a_contender_named_twice_is_refused(tiny: Path) -> None:
    with pytest.raises(UsageError, match="'edge' is there twice"):
        bench(tiny, against=["edge"])


def test_only_the_local_board_is_known(tiny: Path) -> None:
    with pytest.raises(UnknownBoard, match="no board 'pi5'"):
        bench(tiny, on="pi5", against=[])


def test_more_threads_than_cpus_are_refused(tiny: Path) -> None:
    cpus = len(os.sched_getaffinity(0))
    with pytest.raises(UsageError, match=f"{cpus + 1} threads on {cpus} CPUs"):
        bench(tiny, against=[], threads=cpus + 1)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"schema": 5}, "schema is 5, this version of edge reads up to 4"),
        ({"kind": "edge-artifact"}, "this is no record"),
        ({"surprise": 1}, "unknown keys: surprise"),
        ({"stop_reason": "boredom"}, "expected one of rounds, precision"),
    ],
)
def test_a_record_that_was_changed_is_refused(raced: Record, change: dict[str, object], told: str) -> None:
    text = json.dumps({**raced.to_document(), **change})
    with pytest.raises(RecordError, match=told):
        records.parse(text, where="changed.json")


@pytest.mark.parametrize(("value", "told"), [(-1, "-1"), (0, "0"), (1.5, "1.5"), (float("nan"), "NaN")])
def test_times_that_can_not_be_are_refused(raced: Record, value: float, told: str) -> None:
    document = raced.to_document()
    document["launches"][0]["block_ns"][3] = value
    with pytest.raises(RecordError, match=told):
        records.parse(json.dumps(document), where="changed.json")


def test_a_truncated_record_is_refused(raced: Record) -> None:
    text = json.dumps(raced.to_document())
    with pytest.raises(RecordError, match="not valid JSON"):
        records.parse(text[: len(text) // 2], where="half.json")
