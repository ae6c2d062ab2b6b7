"""Figures of records small enough to compute by hand."""

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from edge_runtime import summary
from edge_runtime.environment import Conditions, Machine
from edge_runtime.measured import Answers, MeasuredArtifact, MeasuredContender
from edge_runtime.record import Config, Record
from edge_runtime.samples import EnergyLaunch, Launch, MemoryLaunch
from edge_runtime.sensors import Memory

UNKNOWN = Conditions(governor=None, frequency_khz=None, temperature_millicelsius=None, load_1m_hundredths=None)


def launch(contender: str, index: int, block_ns: tuple[int, ...], **changes: Any) -> Launch:
    plain = Launch(
        contender=contender,
        round=index,
        order=0,
        phases_ns={"spawn": 10, "import": 20, "load": 30, "first": 40},
        warmup_ns=(1,),
        block_ns=block_ns,
        calls_per_sample=1,
        cut=None,
        steady=None,
        before=UNKNOWN,
        after=UNKNOWN,
        valid=True,
        reasons=(),
    )
    return replace(plain, **changes)


def contender(name: str, *, agree: bool | None = True) -> MeasuredContender:
    return MeasuredContender(
        name=name,
        engine=name,
        artifact=MeasuredArtifact(name="tiny", sha256="0" * 64, variant="fp32", bytes=1),
        answers=Answers(agree=agree, max_abs=0.0, max_rel=0.0, problem=""),
    )


def record(*launches: Launch, wrong: str = "", memory: tuple[MemoryLaunch, ...] = ()) -> Record:
    names = list(dict.fromkeys([one.contender for one in launches] + [one.contender for one in memory]))
    return Record(
        created="",
        command=(),
        seed=None,
        machine=Machine(key="", model="", cores=1, ram_bytes=None, kernel="", libc=None),
        board="local",
        config=Config(threads=1, cpus=(0,), scenario="single", shapes={}, precision=0.01, margin=0.02),
        contenders=tuple(contender(name, agree=name != wrong) for name in names),
        launches=launches,
        memory=memory,
        stop_reason="rounds",
        warnings=(),
    )


def test_the_launch_is_the_sample() -> None:
    # p50 of 1..6 is 3 and of ten times as much 30: the geometric mean is sqrt(90), whatever the pooled median
    (edge,) = summary.standings(
        record(launch("edge", 0, (1, 2, 3, 4, 5, 6)), launch("edge", 1, (10, 20, 30, 40, 50, 60)))
    )
    assert (edge.launches, edge.samples) == (2, 12)
    assert edge.latency is not None
    assert edge.latency.p50.estimate == pytest.approx(math.sqrt(3 * 30))
    assert edge.latency.mean.estimate == pytest.approx(math.sqrt(3.5 * 35))
    assert (edge.latency.min.estimate, edge.latency.min.low, edge.latency.min.high) == (1, 1, 10)
    assert (edge.latency.max.estimate, edge.latency.max.low, edge.latency.max.high) == (60, 6, 60)
    assert (edge.latency.p90, edge.latency.p99) == (None, None)
    assert edge.cold_start_ns is not None
    assert edge.cold_start_ns.estimate == pytest.approx(100)
    assert {name: one.estimate for name, one in edge.phases_ns.items()} == pytest.approx(
        {"spawn": 10, "import": 20, "load": 30, "first": 40}
    )


def test_tail_percentiles_appear_with_enough_samples() -> None:
    (edge,) = summary.standings(record(launch("edge", 0, tuple(range(1, 401)))))
    assert edge.latency is not None
    assert edge.latency.p90 is not None
    assert edge.latency.p99 is not None
    assert (edge.latency.p50.estimate, edge.latency.p90.estimate, edge.latency.p99.estimate) == (200, 360, 396)
    assert edge.latency.p90.low is None  # one launch shows no spread
    # the tail is bounded by the order of all samples together: ranks 392 and 400 of 400, as scipy's binom says
    assert (edge.latency.p99.low, edge.latency.p99.high) == (392, 400)


def test_a_p90_needs_enough_samples_in_each_launch_and_a_p99_only_in_all() -> None:
    launches = [launch("edge", index, tuple(range(1, 31))) for index in range(20)]
    (edge,) = summary.standings(record(*launches))
    assert edge.latency is not None
    assert edge.latency.p90 is None  # 600 samples in all, but each launch's own p90 would rest on 30
    assert edge.latency.p99 is not None
    assert edge.latency.shortfall("p90") == (30, 36)
    assert edge.latency.shortfall("p99") is None


def test_a_percentile_without_enough_samples_says_how_many_it_has_and_needs() -> None:
    (edge,) = summary.standings(record(launch("edge", 0, tuple(range(1, 401)))))
    assert edge.latency is not None
    assert {name: edge.latency.shortfall(name) for name in summary.FIGURES if edge.latency.shortfall(name)} == {
        "p99.9": (400, 3688)
    }
    (few,) = summary.standings(record(launch("edge", 0, (1, 2, 3)), launch("edge", 1, (1, 2, 3, 4))))
    assert few.latency is not None
    assert {name: few.latency.shortfall(name) for name in summary.TAIL} == {
        "p90": (3, 36), "p95": (7, 72), "p99": (7, 368), "p99.9": (7, 3688),
    }  # fmt: skip
    assert [few.latency.figures()[name] for name in summary.TAIL] == [None] * 4


def test_the_far_tail_and_the_spread_are_of_all_samples_together() -> None:
    launches = [launch("edge", index, tuple(range(1, 1001))) for index in range(4)]
    (edge,) = summary.standings(record(*launches))
    assert edge.latency is not None
    assert edge.latency.p95 is not None
    assert edge.latency.p99_9 is not None
    # of 4000, scipy's binom gives the ranks 3773 and 3828 for p95, 3992 and 4000 for p99.9; four have each value
    assert [edge.latency.p95.estimate, edge.latency.p95.low, edge.latency.p95.high] == [950, 944, 957]
    assert [edge.latency.p99_9.estimate, edge.latency.p99_9.low, edge.latency.p99_9.high] == [999, 998, 1000]
    assert edge.latency.sd.estimate == pytest.approx(288.675, abs=0.001)
    assert (edge.latency.sd.low, edge.latency.sd.high) == (edge.latency.sd.estimate,) * 2


def test_throughput_is_the_inverse_of_the_mean_with_its_limits_changed_over() -> None:
    (edge,) = summary.standings(record(launch("edge", 0, (1_000_000,)), launch("edge", 1, (4_000_000,))))
    assert edge.latency is not None
    rate, mean = edge.throughput_per_s, edge.latency.mean
    assert rate is not None
    assert rate.estimate == pytest.approx(500)
    assert mean.low is not None
    assert mean.high is not None
    assert [rate.low, rate.high] == pytest.approx([1e9 / mean.high, 1e9 / mean.low])


def test_a_speedup_is_the_baselines_time_over_the_contenders_round_by_round() -> None:
    rounds = [
        launch(name, index, (ns * 10**index,)) for index in range(6) for name, ns in (("torch", 600), ("edge", 200))
    ]
    found = summary.compare(record(*rounds), baseline="torch", contender="edge")
    assert (found.rounds, found.verdict) == (6, "faster")
    assert found.speedup is not None
    assert found.speedup.estimate == pytest.approx(3.0)
    assert found.speedup.low == pytest.approx(3.0)
    back = summary.compare(record(*rounds), baseline="edge", contender="torch")
    assert back.verdict == "slower"


def test_only_rounds_that_both_finished_are_compared() -> None:
    launches = [launch("a", 0, (100,)), launch("b", 0, (50,)), launch("a", 1, (100,)), launch("b", 2, (1,))]
    found = summary.compare(record(*launches, launch("b", 1, (1,), valid=False)), baseline="a", contender="b")
    assert found.rounds == 1
    assert found.speedup is not None
    assert (found.speedup.estimate, found.speedup.low, found.verdict) == (2.0, None, "inconclusive")


def test_without_a_common_round_or_with_a_wrong_answer_there_is_no_speedup() -> None:
    apart = record(launch("a", 0, (1,)), launch("b", 1, (1,)))
    assert summary.compare(apart, baseline="a", contender="b").verdict == "inconclusive"
    wrong = record(launch("a", 0, (1,)), launch("b", 0, (1,)), wrong="a")
    for baseline, other in (("a", "b"), ("b", "a")):
        found = summary.compare(wrong, baseline=baseline, contender=other)
        assert (found.verdict, found.speedup) == ("invalid", None)
    assert summary.standings(wrong)[0].latency is None


def memory(base: int | None, steady: int | None, peak: int | None) -> MemoryLaunch:
    early = Memory(resident=100, proportional=base, private=None, peak=120)
    late = Memory(resident=300, proportional=steady, private=None, peak=peak)
    return MemoryLaunch(
        contender="edge",
        points={"base": early, "loaded": early, "first": early, "steady": late},
        load_peak_bytes=5,
        run_peak_bytes=None,
    )


def test_a_model_costs_what_it_adds_to_the_proportional_memory() -> None:
    (edge,) = summary.standings(record(memory=(memory(80, 200, 400),)))
    assert edge.memory is not None
    assert (edge.memory.model_steady, edge.memory.total_peak, edge.memory.resident) == (120, 400, 300)
    assert (edge.memory.load_peak, edge.memory.run_peak) == (5, None)
    assert (edge.latency, edge.cold_start_ns, edge.throughput_per_s) == (None, None, None)


def test_memory_that_was_not_measured_is_none_and_not_a_guess() -> None:
    (edge,) = summary.standings(record(memory=(memory(None, 200, None),)))
    assert edge.memory is not None
    assert (edge.memory.model_steady, edge.memory.total_peak) == (None, None)


def test_energy_a_call_is_told_with_and_without_what_idling_takes() -> None:
    reading = EnergyLaunch(
        contender="edge",
        rail="a supply",
        calls=1000,
        idle_ns=10 * 10**9,
        idle_uj=20_000_000,
        block_ns=5 * 10**9,
        block_uj=15_000_000,
        samples=50,
    )
    raced = replace(record(launch("edge", 0, (1,)), launch("torch", 0, (2,))), energy=(reading,))
    edge, _ = summary.standings(raced)
    assert edge.energy == summary.EnergyUse(rail="a supply", gross_uj=15_000, net_uj=5_000)
    told = summary.document(raced, ())["contenders"]
    assert told["edge"]["energy_uj"] == {"gross": [15_000, None, None], "net": [5_000, None, None]}
    assert told["torch"]["energy_uj"] == {"gross": None, "net": None}


def test_memory_is_the_median_of_its_launches_with_their_range() -> None:
    readings = (memory(80, 200, 400), memory(80, 230, 390), memory(None, 210, 420))
    whole = record(memory=readings)
    (edge,) = summary.standings(whole)
    assert edge.memory is not None
    assert (edge.memory.total_peak, edge.memory.limits("total_peak")) == (400, (390, 420))
    assert (edge.memory.model_steady, edge.memory.limits("model_steady")) == (120, (120, 150)), "one launch had no base"
    assert edge.memory.launches == 3
    told = summary.document(whole, ())["contenders"]["edge"]["memory_bytes"]
    assert told["total_peak"] == [400, 390, 420]


def test_the_document_has_the_shape_that_scripts_rely_on() -> None:
    rounds = [launch(name, index, (ns,)) for index in range(2) for name, ns in (("torch", 600), ("edge", 200))]
    whole = record(*rounds, memory=(memory(80, 200, 400),))
    told = summary.document(whole, summary.comparisons(whole, contender="edge"))
    assert list(told) == ["contenders", "comparisons"]
    edge = told["contenders"]["edge"]
    assert list(edge) == [
        "latency_ns",
        "too_few_samples",
        "throughput_per_s",
        "cold_start_ns",
        "memory_bytes",
        "energy_uj",
        "fit",
        "sustained",
    ]
    assert list(edge["latency_ns"]) == ["min", "p50", "p90", "p95", "p99", "p99.9", "max", "mean", "sd"]
    assert edge["too_few_samples"] == {"p90": [1, 36], "p95": [2, 72], "p99": [2, 368], "p99.9": [2, 3688]}
    assert edge["latency_ns"]["p50"] == pytest.approx([200, 200, 200])
    assert edge["latency_ns"]["p99"] is None
    assert edge["memory_bytes"] == {
        "total_peak": [400, None, None], "model_steady": [120, None, None], "resident": [300, None, None],
    }  # fmt: skip
    assert told["contenders"]["torch"]["memory_bytes"] == {"total_peak": None, "model_steady": None, "resident": None}
    (one,) = told["comparisons"]
    assert list(one) == [
        "baseline", "contender", "speedup", "low", "high", "rounds", "verdict", "p_value", "signed_rank_p",
        "rounds_needed",
    ]  # fmt: skip
    assert (one["baseline"], one["contender"], one["rounds"], one["verdict"]) == ("torch", "edge", 2, "faster")
    assert json.loads(json.dumps(told, allow_nan=False)) == told


def test_of_many_comparisons_the_verdicts_that_luck_alone_would_bring_do_not_stand() -> None:
    # twenty rivals: against one of them a p of 0.03, which among twenty is luck; against another a p of 1e-6
    wobble = (1.06, 1.01, 1.05, 1.03, 0.99, 1.055, 1.01)
    rivals: dict[str, tuple[float, ...]] = {f"r{index}": (1.0, 1.01, 0.99, 1.0, 1.01, 0.99, 1.0) for index in range(18)}
    rivals |= {"lucky": wobble, "slow": (1.5, 1.51, 1.49, 1.5, 1.5, 1.51, 1.49)}
    launches = [launch("edge", index, (1000,)) for index in range(7)]
    launches += [
        launch(name, index, (round(1000 * factor),)) for name, by in rivals.items() for index, factor in enumerate(by)
    ]
    whole = record(*launches)
    alone = summary.compare(whole, baseline="lucky", contender="edge")
    assert alone.verdict == "faster"
    assert alone.p_value == pytest.approx(0.0276, abs=0.001)
    found = {one.baseline: one.verdict for one in summary.comparisons(whole, contender="edge")}
    assert (found["lucky"], found["slow"]) == ("inconclusive", "faster")
