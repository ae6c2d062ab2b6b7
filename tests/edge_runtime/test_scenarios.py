"""Scenarios: what they ask for, how their launches are laid out, and the figures they are measured for."""

import json
import os
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge_runtime import scenario_figures, summary
from edge_runtime.artifact import open_artifact
from edge_runtime.cli import main
from edge_runtime.commands.scenario_flags import duration_ns
from edge_runtime.errors import UsageError
from edge_runtime.launch import Command
from edge_runtime.manifest import Port
from edge_runtime.record import Record, parse
from edge_runtime.rounds import Entry, Plan, Progress, conduct, own_entry
from edge_runtime.scenarios import Scenario, refuse_fixed_batch
from edge_runtime.timing import BlockPlan
from tests.edge_runtime.test_summary import launch, record

SCRIPT = str(Path(__file__).with_name("scripted_worker.py"))
QUICK = BlockPlan(warmup_s=0, warmup_calls=1, block_s=0, min_samples=40, max_samples=40)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"name": "periodic"}, "periodic without --rate"),
        ({"name": "server"}, "server without --target"),
        ({"name": "offline"}, "offline without --batches"),
        ({"name": "multi"}, "multi without --workers"),
        ({"rate_per_s": 3.0}, "--rate with the scenario single"),
        ({"name": "periodic", "rate_per_s": 0.0}, "a rate of 0"),
        ({"name": "periodic", "rate_per_s": float("nan")}, "a rate of nan"),
        ({"name": "server", "target_ns": 0}, "a target of 0 ns"),
        ({"name": "offline", "batches": (1, 0)}, "batches"),
        ({"name": "offline", "batches": (2, 2)}, "each once"),
        ({"name": "multi", "workers": 0}, "0 workers"),
        ({"name": "idle"}, "no scenario"),
    ],
)
def test_a_scenario_without_its_terms_or_with_anothers_is_refused(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        Scenario(**wrong)


@pytest.mark.parametrize(("text", "ns"), [("30ms", 30_000_000), ("500us", 500_000), ("1.5s", 1_500_000_000)])
def test_times_have_units(text: str, ns: int) -> None:
    assert duration_ns(text) == ns


def test_inputs_of_a_fixed_batch_cannot_be_swept() -> None:
    free = Port(name="x", dtype="float32", shape=("n", 3))
    refuse_fixed_batch([free, replace(free, name="y")])
    with pytest.raises(UsageError, match="y has no first dimension of any size"):
        refuse_fixed_batch([free, replace(free, name="y", shape=(1, 3))])
    with pytest.raises(UsageError, match="several batches"):
        refuse_fixed_batch([free, replace(free, name="y", shape=("m", 3))])


def scripted(artifact: Path, tmp_path: Path, **options: str) -> list[Entry]:
    return [
        Entry(
            name=name,
            contender="scripted",
            command=Command((sys.executable, "-S", "-E", SCRIPT), dict(os.environ)),
            artifact=open_artifact(artifact),
            options={"ledger": str(tmp_path / "ledger"), "name": name, **options},
        )
        for name in ("a", "b")
    ]


def run(artifact: Path, tmp_path: Path, scenario: Scenario, *, rounds: int = 2, **options: str) -> Record:
    entries = scripted(artifact, tmp_path, **options)
    taken = conduct(entries, Plan(rounds=rounds, scenario=scenario), board="local")
    assert parse(json.dumps(taken.to_document()), where="x") == taken
    return taken


def test_offline_sweeps_the_batches_in_turns_and_judges_by_the_best(tiny_edge: Path, tmp_path: Path) -> None:
    taken = run(tiny_edge, tmp_path, Scenario(name="offline", batches=(1, 4, 8)))
    assert [(one.contender, one.batch) for one in taken.launches[:6]] == [
        ("a", 1), ("b", 1), ("b", 4), ("a", 4), ("a", 8), ("b", 8),
    ]  # fmt: skip
    first, _ = scenario_figures.figures(taken)
    assert first.best_batch == 4
    assert first.samples_per_s[4].estimate == pytest.approx(4e9 / 2500)
    assert first.samples_per_s[8].estimate == pytest.approx(8e9 / 12500)
    assert summary.launch_p50s(taken, "a") == [625, 625], "nanoseconds a sample, at the best size"
    assert scenario_figures.lines(taken)[0].startswith("a: samples a second by batch: 1: 1000000/s")
    standing = summary.standings(taken)[0]
    assert standing.latency is not None
    assert standing.latency.p50.estimate == pytest.approx(2500), "of one size, not of all"


def test_server_is_judged_by_the_rate_and_says_where_none_met_the_target(tiny_edge: Path, tmp_path: Path) -> None:
    taken = run(tiny_edge, tmp_path, Scenario(name="server", target_ns=30_000_000), rounds=3, rate="100,0,100")
    found = scenario_figures.figures(taken)[0]
    assert found.rate_per_s is not None
    assert found.rate_per_s.estimate == pytest.approx(100)
    assert found.unmet == 1
    assert summary.launch_p50s(taken, "a") == [pytest.approx(1e7)] * 2
    assert "up to 100/s ±0.0% with p99 within 30.0 ms, in 1 launch none" in scenario_figures.lines(taken)[0]
    assert summary.compare(taken, baseline="b", contender="a").rounds == 2


def test_multi_starts_all_processes_of_one_contender_and_none_of_another(tiny_edge: Path, tmp_path: Path) -> None:
    taken = run(tiny_edge, tmp_path, Scenario(name="multi", workers=2), p50="1000")
    assert [(one.contender, one.round, one.worker) for one in taken.launches] == [
        ("a", 0, 0), ("a", 0, 1), ("b", 0, 0), ("b", 0, 1), ("b", 1, 0), ("b", 1, 1), ("a", 1, 0), ("a", 1, 1),
    ]  # fmt: skip
    found = scenario_figures.figures(taken)[0]
    assert [one.estimate for one in found.worker_p90_ns] == [pytest.approx(1001)] * 2
    assert found.proportional_bytes is not None
    assert found.proportional_bytes.estimate == pytest.approx(10_000)
    assert summary.launch_p50s(taken, "a") == [pytest.approx(500)] * 2, "two at once, each a call in 1000 ns"


def test_an_offline_round_that_was_broken_off_is_taken_again_whole(tiny_edge: Path, tmp_path: Path) -> None:
    entries = scripted(tiny_edge, tmp_path)
    plan = Plan(rounds=2, scenario=Scenario(name="offline", batches=(1, 4)))

    def stop(now: Progress) -> None:
        if now.kind == "time" and now.launches == 6:  # both have the first size of round 1, and none the second
            raise KeyboardInterrupt

    earlier = conduct(entries, plan, board="local", progress=stop)
    assert {one.contender for one in earlier.launches if one.round == 1} == {"a", "b"}
    record = conduct(entries, plan, board="local", resume=earlier)
    assert {(one.contender, one.batch) for one in record.launches if one.round == 2} == {
        ("a", 1), ("a", 4), ("b", 1), ("b", 4),
    }  # fmt: skip
    assert max(one.round for one in record.launches) == 2


def test_an_interrupt_in_multi_ends_the_workers_and_waits_for_none(tiny_edge: Path, tmp_path: Path) -> None:
    entries = scripted(tiny_edge, tmp_path, hang="2,3")  # as two are started at once, either may be the third
    timers: list[threading.Timer] = []

    def stop_later(now: Progress) -> None:
        if now.kind == "time" and now.round == 1:
            timers.append(threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)))
            timers[-1].start()

    plan = Plan(rounds=3, scenario=Scenario(name="multi", workers=2))
    record = conduct(entries[:1], plan, board="local", progress=stop_later)
    assert record.stop_reason == "interrupted"
    assert {one.round for one in record.launches} == {0}
    assert len(timers) == 1
    lines = (tmp_path / "ledger").read_text()
    assert lines.count("begin a time") - lines.count("end a time") == 2, "neither came to its end, a minute later"


def test_when_one_of_several_at_once_dies_nobody_waits_for_the_others(tiny_edge: Path, tmp_path: Path) -> None:
    entries = scripted(tiny_edge, tmp_path, hang="2", lost="3")
    plan = Plan(rounds=2, scenario=Scenario(name="multi", workers=2))
    record = conduct(entries[:1], plan, board="local")
    assert [one.round for one in record.launches if not one.block_ns] == [1]
    assert record.stop_reason == "rounds"
    lines = (tmp_path / "ledger").read_text()
    assert lines.count("begin a time") - lines.count("end a time") == 1, "the one that hung was ended"


def test_periodic_tells_who_is_late_and_how_far_the_tail_is_from_the_middle() -> None:
    block = (10_000_000,) * 380 + (40_000_000,) * 20
    taken = record(launch("edge", 0, block), launch("edge", 1, block))
    taken = replace(taken, config=replace(taken.config, scenario="periodic", rate_per_s=30.0))
    (found,) = scenario_figures.figures(taken)
    assert found.missed == pytest.approx(0.05), "a period has 33.3 ms"
    assert found.jitter_ns == 30_000_000
    assert (
        "5.00% of calls late at 30.0/s (period 33.3 ms), jitter (p99 - p50) 30.0 ms" in scenario_figures.lines(taken)[0]
    )


@pytest.mark.parametrize(
    "scenario",
    [
        Scenario(name="periodic", rate_per_s=500.0),
        Scenario(name="offline", batches=(1, 3)),
        Scenario(name="server", target_ns=50_000_000),
        Scenario(name="multi", workers=2),
    ],
    ids=lambda scenario: scenario.name,
)
def test_our_runtime_is_measured_in_every_scenario(tiny_edge: Path, scenario: Scenario) -> None:
    plan = Plan(rounds=1, block=QUICK, scenario=scenario)
    taken = conduct([own_entry(open_artifact(tiny_edge), "auto")], plan, board="local")
    assert taken.config.scenario == scenario.name
    assert len(taken.launches) == (2 if scenario.name in {"offline", "multi"} else 1)
    assert all(one.valid for one in taken.launches)
    assert len(scenario_figures.lines(taken)) == 1
    assert parse(json.dumps(taken.to_document()), where="x") == taken


def test_a_term_alone_names_its_scenario(tiny_edge: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["measure", str(tiny_edge), "--launches", "1", "--rate", "200"]) == 0
    assert "of calls late at 200/s" in capsys.readouterr().out
    assert main(["measure", str(tiny_edge), "--scenario", "server", "--rate", "200"]) == 2
    assert "belongs to --scenario" in capsys.readouterr().err
