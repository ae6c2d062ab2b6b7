"""Launches in turning order, on workers that answer at once what the test tells them to."""

import json
import math
import os
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime import summary, validity
from edge_runtime.artifact import open_artifact
from edge_runtime.errors import Unwritable, UsageError, WorkerLost, WrongInput
from edge_runtime.fits import FitTry
from edge_runtime.launch import Command
from edge_runtime.measured import Failure
from edge_runtime.model import load
from edge_runtime.record import Record, parse
from edge_runtime.rounds import (
    MAX_ROUNDS,
    MIN_ROUNDS,
    Entry,
    Plan,
    Progress,
    conduct,
    measure,
    own_entry,
    turning_order,
)
from edge_runtime.scenarios import Scenario
from edge_runtime.timing import BlockPlan

SCRIPT = str(Path(__file__).with_name("scripted_worker.py"))
QUICK = BlockPlan(warmup_s=0, warmup_calls=1, block_s=0, min_samples=3, max_samples=3)


@given(st.integers(1, 6), st.integers(0, 50))
def test_every_round_has_every_contender_once(count: int, index: int) -> None:
    assert sorted(turning_order(count, index)) == list(range(count))


@given(st.integers(1, 6), st.integers(0, 8))
def test_over_as_many_rounds_as_contenders_each_stands_in_each_place_once(count: int, cycle: int) -> None:
    orders = [turning_order(count, cycle * count + index) for index in range(count)]
    for place in range(count):
        assert sorted(order[place] for order in orders) == list(range(count))


def test_two_turn_like_ab_ba_and_three_change_their_neighbours() -> None:
    assert [turning_order(2, index) for index in range(3)] == [(0, 1), (1, 0), (0, 1)]
    followers = Counter(pair for index in range(6) for order in [turning_order(3, index)] for pair in pairwise(order))
    assert set(followers.values()) == {2}
    assert len(followers) == 6


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


def entry(artifact: Path, ledger: Path, name: str, **options: str) -> Entry:
    return Entry(
        name=name,
        contender="scripted",
        command=Command((sys.executable, "-S", "-E", SCRIPT), dict(os.environ)),
        artifact=open_artifact(artifact),
        options={"ledger": str(ledger), "name": name, **options},
    )


def test_memory_comes_first_and_then_all_contenders_of_a_round_take_turns(tiny_edge: Path, ledger: Path) -> None:
    told: list[Progress] = []
    kept: list[Record] = []
    entries = [entry(tiny_edge, ledger, "a", p50="1000"), entry(tiny_edge, ledger, "b", p50="2000")]
    record = conduct(entries, Plan(rounds=3), board="local", progress=told.append, keep=kept.append)
    lines = ledger.read_text().splitlines()
    alone, together = lines[:12], lines[12:]
    assert [line.replace("begin", "end") for line in alone[::2]] == alone[1::2]
    assert [line.removeprefix("begin ") for line in alone[::2]] == ["a memory", "b memory"] * 3
    turns, size = BlockPlan().slices, 2 + 2 * BlockPlan().slices + 2
    for index, order in enumerate(("ab", "ba", "ab")):
        begins, slices = together[index * size :][:2], together[index * size + 2 :][: 2 * turns]
        assert begins == [f"begin {name} time" for name in order]
        assert slices == [f"slice {name}" for turn in range(turns) for name in order[:: -1 if turn % 2 else 1]]
    assert len(together) == 3 * size
    assert all(len(launch.slices) == turns for launch in record.launches)
    assert [(launch.contender, launch.round, launch.order) for launch in record.launches] == [
        ("a", 0, 0), ("b", 0, 1), ("b", 1, 0), ("a", 1, 1), ("a", 2, 0), ("b", 2, 1),
    ]  # fmt: skip
    assert [(one.contender, one.round) for one in told[4:8]] == [("a", None), ("b", None), ("a", 0), ("b", 0)]
    assert [(len(one.contenders), len(one.memory)) for one in kept[:4]] == [(1, 1), (2, 2), (2, 3), (2, 4)]
    assert [len(one.launches) for one in kept[6:]] == [2, 4, 6]
    assert {one.stop_reason for one in kept} == {"unfinished"}
    assert [parse(json.dumps(one.to_document()), where="x") for one in kept] == kept
    assert record.stop_reason == "rounds"
    assert record.config.shapes == {"input": (64, 13)}
    assert record.warnings == ("3 rounds are few: intervals need 6 to be trusted",)
    assert parse(json.dumps(record.to_document()), where="x") == record


def test_starts_come_after_the_rounds_and_are_kept_each_and_taken_up(tiny_edge: Path, ledger: Path) -> None:
    entries = [entry(tiny_edge, ledger, "a"), entry(tiny_edge, ledger, "b")]
    kept: list[Record] = []
    record = conduct(entries, Plan(rounds=1, starts=1), board="local", keep=kept.append)
    begins = [line.removeprefix("begin ") for line in ledger.read_text().splitlines() if line.startswith("begin")]
    assert begins[:8] == [*["a memory", "b memory"] * 3, "a time", "b time"]
    # whether what this very test reads can be evicted, is the machine's to say
    begins = [begin for begin in begins[4:] if begin.endswith("files")]
    assert begins == ["a files", "b files"]
    warm = [one for one in record.starts if one.cache == "warm"]
    assert [(one.contender, one.phases_ns) for one in warm] == [
        (name, {"spawn": 1, "import": 2, "load": 3, "first": 4}) for name in "ab"
    ]
    assert kept[-1].starts == record.starts
    assert parse(json.dumps(record.to_document()), where="x") == record
    more = conduct(entries, Plan(rounds=1, starts=2), board="local", resume=record)
    assert more.starts[: len(record.starts)] == record.starts
    assert sum(one.cache == "warm" for one in more.starts) == 4
    assert conduct(entries, Plan(rounds=1), board="local", resume=more).starts == more.starts


def test_a_block_in_one_piece_is_taken_by_one_process_after_the_other(tiny_edge: Path, ledger: Path) -> None:
    plan = Plan(rounds=2, block=BlockPlan(slices=1))
    record = conduct(pair(tiny_edge, ledger), plan, board="local")
    lines = [line for line in ledger.read_text().splitlines() if line.endswith("time")]
    assert lines == [f"{what} {name} time" for name in "abba" for what in ("begin", "end")]
    assert all(launch.slices == () for launch in record.launches)


def test_while_one_takes_its_turn_the_others_are_stopped(tiny_edge: Path, ledger: Path) -> None:
    entries = [entry(tiny_edge, ledger, name, look="yes") for name in "abc"]
    conduct(entries, Plan(rounds=1), board="local")
    seen = [line for line in ledger.read_text().splitlines() if line.startswith("others")]
    assert len(seen) == 3 * BlockPlan().slices
    assert set(seen) == {"others TT"}  # of proc(5): stopped by a signal


def test_contenders_that_do_not_fit_into_memory_together_are_timed_one_after_the_other(
    tiny_edge: Path, ledger: Path, tmp_path: Path
) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 1 kB\nMemAvailable: 0 kB\n")
    record = conduct(pair(tiny_edge, ledger), Plan(rounds=1), board="local", root=tmp_path)
    assert all(launch.slices == () for launch in record.launches)
    (told,) = [one for one in record.warnings if one.startswith("blocks were taken one after the other")]
    assert told.endswith("together the contenders need 340 B of the 0 B available")


@pytest.mark.parametrize("kind", ["warm", "memory"])
def test_one_that_can_not_run_here_is_skipped_with_its_sentence_and_the_others_go_on(
    kind: str, tiny_edge: Path, ledger: Path
) -> None:
    entries = [entry(tiny_edge, ledger, "a"), replace(entry(tiny_edge, ledger, "b", skip=kind), warm=True)]
    record = conduct(entries, Plan(rounds=2), board="local")
    skipped = record.contenders[1]
    assert skipped.failure == Failure(kind="skipped", reason="no operator Foo – leave it out")
    assert [launch.contender for launch in record.launches] == ["a", "a"]
    assert [one.contender for one in record.memory] == ["a"] * 3
    assert "b was skipped: no operator Foo – leave it out" in record.warnings
    assert summary.comparisons(record, contender="a") == ()
    assert parse(json.dumps(record.to_document()), where="x") == record


def test_one_whose_process_dies_at_once_is_lost_and_the_others_go_on(tiny_edge: Path, ledger: Path) -> None:
    entries = [entry(tiny_edge, ledger, "a"), entry(tiny_edge, ledger, "b", die="memory")]
    record = conduct(entries, Plan(rounds=2), board="local")
    lost = record.contenders[1].failure
    assert lost is not None
    assert (lost.kind, "SIGSEGV" in lost.reason) == ("lost", True)
    assert [launch.contender for launch in record.launches] == ["a", "a"]


def test_one_that_was_skipped_stays_so_when_the_run_is_resumed(tiny_edge: Path, ledger: Path) -> None:
    entries = [entry(tiny_edge, ledger, "a"), replace(entry(tiny_edge, ledger, "b", skip="warm"), warm=True)]
    first = conduct(entries, Plan(rounds=1), board="local")
    record = conduct(entries, Plan(rounds=3), board="local", resume=first)
    assert [launch.round for launch in record.launches_of("a")] == [0, 1, 2]
    assert record.contenders == first.contenders
    assert ledger.read_text().count("begin b") == 1


def test_without_the_first_contender_there_is_nothing_to_compare_with(tiny_edge: Path, ledger: Path) -> None:
    entries = [entry(tiny_edge, ledger, "a", die="memory"), entry(tiny_edge, ledger, "b")]
    with pytest.raises(WorkerLost, match="SIGSEGV"):
        conduct(entries, Plan(rounds=2), board="local")


def test_what_a_contender_ran_with_and_its_first_start_are_in_the_record(tiny_edge: Path, ledger: Path) -> None:
    entries = [replace(entry(tiny_edge, ledger, "a", layout="NHWC"), warm=True), entry(tiny_edge, ledger, "b")]
    record = conduct(entries, Plan(rounds=1), board="local")
    assert [one.configuration for one in record.contenders] == [{"layout": "NHWC"}, {}]
    assert record.contenders[0].first_start_ns == {"spawn": 1, "import": 2, "load": 3, "first": 4}
    assert record.contenders[1].first_start_ns is None


def run(artifact: Path, ledger: Path, plan: Plan, **options: str) -> Record:
    return conduct([entry(artifact, ledger, "a", **options)], plan, board="local")


def test_a_slow_beginning_is_cut_off_and_counts_for_no_figure(tiny_edge: Path, ledger: Path) -> None:
    record = run(tiny_edge, ledger, Plan(rounds=MIN_ROUNDS), levels="1300x60,1000x240")
    assert [(one.cut, one.steady, len(one.block_ns)) for one in record.launches] == [(60, True, 300)] * MIN_ROUNDS
    assert record.warnings == ()
    (edge,) = summary.standings(record)
    assert edge.samples == 240 * MIN_ROUNDS
    assert edge.latency is not None
    assert edge.latency.max.estimate == 1000
    assert edge.latency.mean.estimate == pytest.approx(1000)
    rule = summary.warmup_rule(record)
    assert rule.endswith("in 6 of 6 launches, 20.0% of all samples")
    assert parse(json.dumps(record.to_document()), where="x") == record


def test_a_level_that_changes_late_is_no_warm_up_but_a_warning(tiny_edge: Path, ledger: Path) -> None:
    record = run(tiny_edge, ledger, Plan(rounds=MIN_ROUNDS), levels="1000x200,1300x100")
    assert {(one.cut, one.steady) for one in record.launches} == {(0, False)}
    (warning,) = record.warnings
    assert warning.startswith("6 of 6 blocks were not steady")
    assert summary.warmup_rule(record).endswith("early: none")


def test_a_quota_below_the_threads_is_a_warning_of_the_record(tiny_edge: Path, ledger: Path, tmp_path: Path) -> None:
    for name, text in (
        ("proc/self/cgroup", "0::/"),
        ("sys/fs/cgroup/cgroup.controllers", "cpu"),
        ("sys/fs/cgroup/cpu.max", "50000 100000"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    entries = [entry(tiny_edge, ledger, "a")]
    record = conduct(entries, Plan(rounds=MIN_ROUNDS), board="local", root=tmp_path)
    (warning,) = record.warnings
    assert warning.startswith("a control group allows 0.5 of 1 CPUs: ")


def test_energy_is_measured_last_where_there_is_a_meter(tiny_edge: Path, tmp_path: Path) -> None:
    supply = tmp_path / "sys/class/hwmon/hwmon0"
    supply.mkdir(parents=True)
    (supply / "name").write_text("ina219\n")
    (supply / "power1_input").write_text("2000000\n")
    own = own_entry(open_artifact(tiny_edge), "auto")
    plan = Plan(rounds=1, energy_s=0.25, block=QUICK)
    told: list[Progress] = []
    record = conduct([own], plan, board="local", progress=told.append, root=tmp_path)
    assert [(one.kind, one.round) for one in told] == [
        ("warm", None),
        *[("memory", None)] * 3,
        ("time", 0),
        ("energy", None),
    ]
    (reading,) = record.energy
    assert (reading.contender, reading.rail) == ("edge", "ina219, the supply it is wired to")
    assert parse(json.dumps(record.to_document()), where="x") == record
    (edge,) = summary.standings(record)
    assert edge.energy is not None
    assert edge.energy.gross_uj == pytest.approx(2e-3 * reading.block_ns / reading.calls, rel=1e-6)
    assert edge.energy.net_uj == pytest.approx(0, abs=edge.energy.gross_uj / 1000)  # the meter never moves


def test_memory_limits_are_found_after_the_rounds_one_contender_after_the_other(
    tiny_edge: Path, ledger: Path, tmp_path: Path
) -> None:
    told: list[Progress] = []
    entries = [entry(tiny_edge, ledger, "a"), entry(tiny_edge, ledger, "b", wrong="memory")]
    record = conduct(entries, Plan(rounds=1, fit=True), board="local", root=tmp_path, progress=told.append)
    (found,) = record.fits
    assert found.contender == "a"
    assert found.limit_bytes is not None
    assert 2**20 < found.limit_bytes < 2**30, "a Python that imports nothing large"
    assert [one.ran for one in found.tried if one.limit_bytes == found.limit_bytes] == [True] * 3
    assert all(one.reason for one in found.tried if not one.ran)
    assert any(not one.ran and one.limit_bytes < found.limit_bytes for one in found.tried)
    assert [one.kind for one in told][:6] == ["memory"] * 4 + ["time", "fit"]
    assert len(record.launches) == 1, "none of the tries is a launch of a round"
    assert parse(json.dumps(record.to_document()), where="x") == record
    document = summary.document(record, ())["contenders"]
    assert document["a"]["fit"] == {"mechanism": found.mechanism, "limit_bytes": found.limit_bytes}
    assert document["b"]["fit"] is None


def test_one_limit_is_only_tried(tiny_edge: Path, ledger: Path, tmp_path: Path) -> None:
    entries = [entry(tiny_edge, ledger, "a", p50="1000")]
    record = conduct(entries, Plan(rounds=1, fit=True, fit_bytes=2**30), board="local", root=tmp_path)
    (found,) = record.fits
    assert found.limit_bytes == 2**30
    assert found.tried == (FitTry(limit_bytes=2**30, ran=True, p50_ns=1000, reason=""),)
    assert ledger.read_text().count("begin a time") == 3, "a round, one without the limit, one within it"


def test_an_interrupt_while_limits_are_sought_keeps_those_that_were_found(
    tiny_edge: Path, ledger: Path, tmp_path: Path
) -> None:
    def stop_at_b(now: Progress) -> None:
        if (now.kind, now.contender) == ("fit", "b"):
            raise KeyboardInterrupt

    entries = [entry(tiny_edge, ledger, name) for name in ("a", "b")]
    plan = Plan(rounds=1, fit=True, fit_bytes=2**30)
    record = conduct(entries, plan, board="local", root=tmp_path, progress=stop_at_b)
    assert [one.contender for one in record.fits] == ["a"]
    assert record.stop_reason == "interrupted"


def test_one_that_can_not_be_launched_again_costs_its_limit_and_not_the_record(
    tiny_edge: Path, ledger: Path, tmp_path: Path
) -> None:
    plan = Plan(rounds=1, fit=True, fit_bytes=2**30)
    record = conduct([entry(tiny_edge, ledger, "a", lost="1")], plan, board="local", root=tmp_path)
    assert record.fits == ()
    assert any(told.startswith("no memory limit of a: the worker was ended by SIGKILL") for told in record.warnings)
    assert record.stop_reason == "rounds"


def test_a_long_run_comes_last_and_its_windows_are_kept_as_they_come(tiny_edge: Path, ledger: Path) -> None:
    told: list[Progress] = []
    kept: list[Record] = []
    entries = [entry(tiny_edge, ledger, "a", p50="1000", windows="5"), entry(tiny_edge, ledger, "b", p50="2000")]
    scenario = Scenario(name="periodic", rate_per_s=30)
    plan = Plan(rounds=1, sustained_s=100, scenario=scenario)
    record = conduct(entries, plan, board="local", progress=told.append, keep=kept.append)
    assert [(one.kind, one.contender) for one in told][-2:] == [("sustained", "a"), ("sustained", "b")]
    assert [(one.contender, one.rate_per_s, len(one.windows)) for one in record.sustained] == [
        ("a", 30, 5),
        ("b", 30, 3),
    ]
    assert [one.p50_ns for one in record.sustained[0].windows] == [1000, 1001, 1002, 1003, 1004]
    assert record.sustained[0].windows[1].begin_ns == 10 * 10**9, "a tenth of the run, since a minute would be too few"
    assert [len(one.sustained[0].windows) for one in kept if one.sustained] == [1, 2, 3, 4, 5, 5, 5, 5]
    assert parse(json.dumps(record.to_document()), where="x") == record
    assert summary.document(record, ())["contenders"]["b"]["sustained"]["windows"] == 3


def test_a_long_run_that_is_interrupted_or_dies_keeps_its_windows(tiny_edge: Path, ledger: Path) -> None:
    def stop(now: Record) -> None:
        if now.sustained and now.stop_reason == "unfinished" and len(now.sustained[-1].windows) == 2:
            raise KeyboardInterrupt

    entries = [entry(tiny_edge, ledger, "a"), entry(tiny_edge, ledger, "b")]
    record = conduct(entries, Plan(rounds=1, sustained_s=10), board="local", keep=stop)
    assert record.stop_reason == "interrupted"
    assert [(one.contender, len(one.windows)) for one in record.sustained] == [("a", 2)]
    dying = [entry(tiny_edge, ledger, "c", sustained="dies"), entry(tiny_edge, ledger, "d")]
    record = conduct(dying, Plan(rounds=1, sustained_s=10), board="local")
    assert [(one.contender, len(one.windows)) for one in record.sustained] == [("c", 3), ("d", 3)]
    assert any(
        told.startswith("c's sustained run ended after 3 windows: the worker was ended") for told in record.warnings
    )


@pytest.mark.parametrize(
    ("scenario", "seconds", "told"),
    [
        (Scenario(name="offline", batches=(1, 2)), 10.0, "goes with single and periodic"),
        (Scenario(), 0.0, "a run of 0.0 s"),
        (Scenario(), float("nan"), "a run of nan s"),
        (Scenario(), 90_000.0, "up to 24 h"),
    ],
)
def test_a_long_run_that_can_not_be_is_refused(scenario: Scenario, seconds: float, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        Plan(sustained_s=seconds, scenario=scenario)


def test_a_meter_that_fails_costs_the_energy_and_not_the_record(tiny_edge: Path, tmp_path: Path) -> None:
    zone = tmp_path / "sys/class/powercap/intel-rapl:0"
    zone.mkdir(parents=True)
    for name, text in (("name", "package-0"), ("energy_uj", "5"), ("max_energy_range_uj", "10")):
        (zone / name).write_text(text + "\n")

    def lose_the_meter(now: Progress) -> None:
        if now.kind == "energy":
            (zone / "energy_uj").unlink()

    own = own_entry(open_artifact(tiny_edge), "auto")
    plan = Plan(rounds=1, energy_s=0.1, block=QUICK)
    record = conduct([own], plan, board="local", progress=lose_the_meter, root=tmp_path)
    assert record.energy == ()
    assert len(record.launches) == 1
    assert any(warning.startswith("no energy of edge: this machine tells no energy") for warning in record.warnings)


def test_a_steady_machine_stops_at_the_precision_and_no_sooner_than_the_fewest_rounds(
    tiny_edge: Path, ledger: Path
) -> None:
    record = run(tiny_edge, ledger, Plan(precision=0.01))
    assert (record.stop_reason, len(record.launches)) == ("precision", MIN_ROUNDS)
    assert record.warnings == ()


def test_a_noisy_machine_stops_at_the_most_rounds(tiny_edge: Path, ledger: Path) -> None:
    noisy = ",".join(str(1000 + 500 * (index % 2)) for index in range(MAX_ROUNDS))
    record = run(tiny_edge, ledger, Plan(precision=0.01), p50=noisy)
    assert (record.stop_reason, len(record.launches)) == ("max_rounds", MAX_ROUNDS)


def test_the_budget_allows_one_round_at_least_and_then_ends_the_run(tiny_edge: Path, ledger: Path) -> None:
    record = run(tiny_edge, ledger, Plan(rounds=50, budget_s=1e-6))
    assert (record.stop_reason, len(record.launches)) == ("budget", 1)


def interrupt_at(launch: int) -> Callable[[Progress], None]:
    def told(now: Progress) -> None:
        if now.kind == "time" and now.launches >= launch:
            raise KeyboardInterrupt

    return told


def pair(artifact: Path, ledger: Path, **options: str) -> list[Entry]:
    return [entry(artifact, ledger, "a", **options), entry(artifact, ledger, "b", p50="2000")]


@pytest.mark.parametrize(("slices", "kept"), [(1, 3), (40, 4)])
def test_an_interrupt_keeps_what_was_measured(slices: int, kept: int, tiny_edge: Path, ledger: Path) -> None:
    plan = Plan(rounds=4, block=BlockPlan(slices=slices))
    record = conduct(pair(tiny_edge, ledger), plan, board="local", progress=interrupt_at(3))
    assert (record.stop_reason, len(record.launches)) == ("interrupted", kept)
    assert parse(json.dumps(record.to_document()), where="x") == record


def test_an_interrupt_before_anything_was_measured_goes_through(tiny_edge: Path, ledger: Path) -> None:
    def stop(now: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        conduct(pair(tiny_edge, ledger), Plan(rounds=4), board="local", progress=stop)


def test_a_run_goes_on_with_a_record_and_pairs_no_round_across_the_break(tiny_edge: Path, ledger: Path) -> None:
    entries = pair(tiny_edge, ledger)
    apart = BlockPlan(slices=1)  # together there is no half round
    earlier = conduct(entries, Plan(rounds=4, block=apart), board="local", progress=interrupt_at(3))
    record = conduct(entries, Plan(rounds=3, block=apart), board="local", resume=earlier)
    places = [(one.contender, one.round) for one in record.launches]
    assert places == [("a", 0), ("b", 0), ("b", 1), ("a", 2), ("b", 2), ("b", 3), ("a", 3)]
    assert (record.stop_reason, record.sittings, record.created) == ("rounds", 2, earlier.created)
    assert record.memory == earlier.memory, "measured once"
    assert summary.compare(record, baseline="b", contender="a").rounds == 3
    again = conduct(entries, Plan(rounds=3), board="local", resume=record)
    assert again.launches == record.launches, "there was nothing left to do"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"machine": "elsewhere"}, "the machine: elsewhere then"),
        ({"threads": 9}, "threads: 9 then, 1 now"),
        ({"shapes": {"input": (1, 13)}}, "shapes"),
        ({"sha256": "f" * 64}, "a's model: ffffffffffff then"),
        ({"engine": "scripted 0"}, "a was scripted 0 in the record and is scripted 1 now"),
        ({"name": "c"}, r"contenders: \['c', 'b'\] then"),
    ],
)
def test_a_record_of_another_run_is_not_gone_on_with(
    tiny_edge: Path, ledger: Path, change: dict[str, Any], told: str
) -> None:
    entries = pair(tiny_edge, ledger)
    earlier = conduct(entries, Plan(rounds=1), board="local")
    first = earlier.contenders[0]
    first = replace(
        first,
        name=change.get("name", first.name),
        engine=change.get("engine", first.engine),
        artifact=replace(first.artifact, sha256=change.get("sha256", first.artifact.sha256)),
    )
    earlier = replace(
        earlier,
        machine=replace(earlier.machine, key=change.get("machine", earlier.machine.key)),
        config=replace(
            earlier.config,
            threads=change.get("threads", earlier.config.threads),
            shapes=change.get("shapes", earlier.config.shapes),
        ),
        contenders=(first, earlier.contenders[1]),
    )
    with pytest.raises(UsageError, match=told):
        conduct(entries, Plan(rounds=2), board="local", resume=earlier)


def test_a_worker_that_is_killed_once_is_started_again(tiny_edge: Path, ledger: Path) -> None:
    record = conduct(pair(tiny_edge, ledger, lost="1"), Plan(rounds=2), board="local")
    assert [(one.contender, one.round, one.valid) for one in record.launches] == [
        ("a", 0, True), ("b", 0, True), ("a", 1, False), ("b", 1, True), ("a", 1, True),
    ]  # fmt: skip
    assert "SIGKILL" in record.launches[2].reasons[0]
    assert summary.compare(record, baseline="b", contender="a").rounds == 2
    assert any(
        one.startswith("1 of 5 launches were lost (a): the worker was ended by SIGKILL") for one in record.warnings
    )
    assert parse(json.dumps(record.to_document()), where="x") == record


def test_who_is_killed_twice_in_a_round_leaves_the_race_and_the_others_go_on(tiny_edge: Path, ledger: Path) -> None:
    record = conduct(pair(tiny_edge, ledger, lost="1,2"), Plan(rounds=3), board="local")
    assert [(one.contender, one.round) for one in record.launches if one.valid] == [
        ("a", 0), ("b", 0), ("b", 1), ("b", 2),
    ]  # fmt: skip
    assert any(one.startswith("a left the race in round 2: ") for one in record.warnings)
    assert summary.compare(record, baseline="b", contender="a").rounds == 1


def test_when_the_only_contender_is_lost_the_run_ends_and_its_record_stays(tiny_edge: Path, ledger: Path) -> None:
    record = run(tiny_edge, ledger, Plan(rounds=3), lost="1,2")
    assert (record.stop_reason, [one.valid for one in record.launches]) == ("failed", [True, False, False])
    with pytest.raises(WorkerLost):
        run(tiny_edge, ledger, Plan(rounds=3), lost="0,1,2,3,4,5,6")


def test_a_round_that_was_spoiled_for_one_counts_for_nobody_and_is_made_up_for(tiny_edge: Path, ledger: Path) -> None:
    record = conduct(pair(tiny_edge, ledger, faults="2", p50="1000,1000,9000,1000"), Plan(rounds=6), board="local")
    assert record.stop_reason == "rounds"
    assert [(one.contender, one.round) for one in record.launches if not one.valid] == [("a", 2)]
    assert max(one.round for one in record.launches) == 6, "seven rounds, of which six count"
    spoiled = next(one for one in record.launches if not one.valid)
    assert (len(spoiled.block_ns), len(spoiled.reasons)) == (3 * BlockPlan().slices, 1)
    compared = summary.compare(record, baseline="b", contender="a")
    assert (compared.rounds, compared.verdict) == (6, "faster")
    assert [one.launches for one in summary.standings(record)] == [6, 6]
    assert summary.launch_p50s(record, "a") == [1000] * 6
    (warning,) = record.warnings
    assert warning.startswith("1 of 7 rounds were dropped, for every contender: pages came from disk in a block")
    assert parse(json.dumps(record.to_document()), where="x") == record


def test_a_machine_that_spoils_more_than_a_quarter_of_the_rounds_ends_the_run_as_invalid(
    tiny_edge: Path, ledger: Path
) -> None:
    record = conduct(pair(tiny_edge, ledger, faults="0,1,2,3,4,5,6,7,8"), Plan(rounds=6), board="local")
    assert record.stop_reason == "invalid"
    assert len({one.round for one in record.launches}) == 3, "with three dropped, six that count could not be enough"
    compared = summary.compare(record, baseline="b", contender="a")
    assert (compared.verdict, compared.speedup) == ("invalid", None)
    assert parse(json.dumps(record.to_document()), where="x") == record


def test_precision_does_not_end_a_run_of_which_too_much_was_dropped(tiny_edge: Path, ledger: Path) -> None:
    record = run(tiny_edge, ledger, Plan(precision=0.01), faults="0,1,2")
    assert record.stop_reason == "precision"
    assert len(record.launches) == 12, "of nine rounds three dropped are too many, of twelve they are not"
    assert not validity.is_unfit(record.launches)


def test_a_budget_that_ends_before_enough_rounds_count_leaves_an_invalid_run(tiny_edge: Path, ledger: Path) -> None:
    record = run(tiny_edge, ledger, Plan(rounds=50, budget_s=1e-6), faults="0")
    assert (record.stop_reason, len(record.launches)) == ("invalid", 1)
    assert summary.standings(record)[0].latency is None


def test_dropped_rounds_stay_dropped_when_the_run_is_resumed_and_are_made_up_for(tiny_edge: Path, ledger: Path) -> None:
    entries = pair(tiny_edge, ledger, faults="1")
    earlier = conduct(entries, Plan(rounds=9), board="local", progress=interrupt_at(6))
    record = conduct(entries, Plan(rounds=4), board="local", resume=earlier)
    assert validity.dropped_rounds(record.launches) == {1}
    assert summary.compare(record, baseline="b", contender="a").rounds == 4


def test_a_slow_probe_early_is_known_when_enough_others_were_seen(tiny_edge: Path, ledger: Path) -> None:
    kept: list[Record] = []
    entries = [entry(tiny_edge, ledger, "a", probes="1200,1000")]
    record = conduct(entries, Plan(rounds=6), board="local", keep=kept.append)
    assert [[one.valid for one in early.launches] for early in kept if len(early.launches) == 5] == [[True] * 5]
    assert [one.valid for one in record.launches] == [False, True, True, True, True, True, True]


def test_a_launch_waits_until_the_machine_is_as_cool_as_in_the_first_round(
    tiny_edge: Path, ledger: Path, tmp_path: Path
) -> None:
    zone = tmp_path / "sys/class/thermal/thermal_zone0/temp"
    zone.parent.mkdir(parents=True)
    zone.write_text("50000\n")
    told: list[str] = []

    def heat(now: Progress) -> None:
        told.append(now.kind)
        if now.kind == "time":
            zone.write_text(f"{60_000 if now.round else 50_000}\n")

    def cool(_: float) -> None:
        zone.write_text("53000\n")

    entries = [entry(tiny_edge, ledger, "a", temperatures="50000")]
    record = conduct(entries, Plan(rounds=3), board="local", progress=heat, root=tmp_path, sleep=cool)
    assert [kind for kind in told if kind != "memory"] == ["time", "time", "cool", "time"]
    assert any(one.startswith("before 1 launch the machine was given ") for one in record.warnings)


def test_memory_is_measured_three_times_in_turns_and_what_is_missing_when_resumed(
    tiny_edge: Path, ledger: Path
) -> None:
    entries = pair(tiny_edge, ledger)
    earlier = conduct(entries, Plan(rounds=1, budget_s=1e-6), board="local")
    assert [one.contender for one in earlier.memory] == ["a", "b"], "no share of the budget is left for more"
    record = conduct(entries, Plan(rounds=2), board="local", resume=earlier)
    assert [one.contender for one in record.memory] == ["a", "b"] * 3
    assert ledger.read_text().count("begin a memory") == 3
    (first, _) = summary.standings(record)
    assert first.memory is not None
    assert (first.memory.launches, first.memory.limits("resident")) == (3, (150, 150))


def test_who_answers_wrongly_in_a_later_memory_launch_leaves_the_race(tiny_edge: Path, ledger: Path) -> None:
    entries = [entry(tiny_edge, ledger, "good"), entry(tiny_edge, ledger, "late", wrong="memory", wrong_from="2")]
    record = conduct(entries, Plan(rounds=1), board="local")
    assert [one.answers.agree for one in record.contenders] == [True, False]
    assert {one.contender for one in record.launches} == {"good"}


def test_a_later_memory_launch_that_is_lost_costs_its_reading_alone(tiny_edge: Path, ledger: Path) -> None:
    entries = [entry(tiny_edge, ledger, "a"), entry(tiny_edge, ledger, "b", die="memory", die_from="2")]
    record = conduct(entries, Plan(rounds=6), board="local")
    assert [one.contender for one in record.memory] == ["a", "b", "a", "a"]
    assert summary.compare(record, baseline="b", contender="a").rounds == 6
    assert [one for one in record.warnings if one.startswith("no further memory of b: ")] != []


def test_a_full_disk_costs_the_file_and_not_the_run(tiny_edge: Path, ledger: Path) -> None:
    def full(_: Record) -> None:
        raise Unwritable("can't write: no space left on device", "r.json", "free some")

    record = conduct([entry(tiny_edge, ledger, "a")], Plan(rounds=2), board="local", keep=full)
    assert len(record.launches) == 2
    assert [one for one in record.warnings if "could not be saved during the run: can't write: no space left" in one]


def test_progress_tells_what_is_done_what_is_known_and_how_long_it_takes(tiny_edge: Path, ledger: Path) -> None:
    told: list[Progress] = []
    conduct([entry(tiny_edge, ledger, "a")], Plan(rounds=3), board="local", progress=told.append)
    timed = [one for one in told if one.kind == "time"]
    assert [one.launches for one in timed] == [0, 1, 2]
    assert [None if one.estimate is None else one.estimate.estimate for one in timed] == [
        None, pytest.approx(1000), pytest.approx(1000),
    ]  # fmt: skip
    assert timed[0].left_s is None
    assert timed[1].left_s is not None
    assert timed[2].left_s is not None
    assert 0 < timed[2].left_s < timed[1].left_s < 60


def test_who_answers_wrongly_is_recorded_and_never_timed(tiny_edge: Path, ledger: Path) -> None:
    entries = [entry(tiny_edge, ledger, "good"), entry(tiny_edge, ledger, "bad", wrong="memory")]
    record = conduct(entries, Plan(rounds=2), board="local")
    assert [(one.name, one.answers.agree) for one in record.contenders] == [("good", True), ("bad", False)]
    assert {launch.contender for launch in record.launches} == {"good"}
    assert "bad time" not in ledger.read_text()
    assert record.warnings[0] == "bad answers wrongly and is not ranked: is off"
    assert summary.compare(record, baseline="bad", contender="good").verdict == "invalid"


def test_when_all_answer_wrongly_the_run_is_invalid(tiny_edge: Path, ledger: Path) -> None:
    record = run(tiny_edge, ledger, Plan(rounds=2), wrong="memory")
    assert (record.stop_reason, record.launches) == ("invalid", ())


def test_who_is_wrong_only_later_leaves_the_race_and_has_no_figures(tiny_edge: Path, ledger: Path) -> None:
    record = conduct(
        [entry(tiny_edge, ledger, "good"), entry(tiny_edge, ledger, "late", wrong="time")],
        Plan(rounds=2),
        board="local",
    )
    assert [one.answers.agree for one in record.contenders] == [True, False]
    assert ledger.read_text().count("begin late time") == 1
    assert [standing.latency is None for standing in summary.standings(record)] == [False, True]


@pytest.mark.parametrize(
    "wrong",
    [
        {"rounds": 0},
        {"threads": 0},
        {"threads": 10_000},
        {"budget_s": 0.0},
        {"budget_s": math.nan},
        {"precision": math.nan},
        {"precision": math.inf},
        {"margin": -0.1},
        {"margin": math.inf},
    ],
)
def test_a_plan_that_cannot_be_carried_out_or_stored_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Plan(**wrong)


def test_measure_reopens_the_model_in_fresh_processes_and_keeps_raw_samples(tiny_edge: Path) -> None:
    with load(tiny_edge, threads=1) as model:
        record = measure(model, {"input": np.ones((3, 13), "f4")}, plan=Plan(rounds=1, block=QUICK))
    assert record.config.shapes == {"input": (3, 13)}
    assert [len(launch.block_ns) for launch in record.launches] == [3]
    assert record.contenders[0].answers.agree is True
    assert record.memory[0].points["steady"].resident is not None


def test_measure_refuses_inputs_that_do_not_fit_before_any_process_starts(tiny_edge: Path) -> None:
    told: list[Progress] = []
    with load(tiny_edge, threads=1) as model, pytest.raises(WrongInput):
        measure(model, {"input": np.ones((3, 12), "f4")}, plan=Plan(rounds=1, block=QUICK), progress=told.append)
    assert told == []
