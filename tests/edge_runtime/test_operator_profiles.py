"""Profiles beside the rounds: real workers for what is measured, told ones for what goes wrong."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge_runtime import operator_profiles
from edge_runtime.artifact import open_artifact
from edge_runtime.errors import EdgeError, UsageError, WorkerLost
from edge_runtime.further import Further
from edge_runtime.launch import Command, own_command
from edge_runtime.operator_profiles import OperatorProfiles, has_profile
from edge_runtime.peaks import Peaks
from edge_runtime.plan import OWN_CONTENDER, Entry, Plan
from edge_runtime.rounds import conduct, own_entry
from edge_runtime.scenarios import Scenario
from edge_runtime.timing import BlockPlan

QUICK = BlockPlan(warmup_s=0, warmup_calls=1, block_s=0, min_samples=3, max_samples=3)
PEAKS = Peaks(
    threads=1,
    copy_bytes=1 << 20,
    copy_bytes_per_s=10**12,
    float32_operations_per_s=10**13,
    int8_operations_per_s=10**13,
)


def known(_: str, *, again: bool, **__: object) -> Peaks:
    """Stand in for the measurement: peaks that are a thousandth of these until they are measured again."""
    return PEAKS if again else replace(PEAKS, copy_bytes_per_s=10**6, float32_operations_per_s=10**6)


@pytest.fixture(autouse=True)
def peaks_are_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(operator_profiles, "known_or_measured", known)
    monkeypatch.setattr(operator_profiles, "PROFILED_S", 0.02)


def entry(artifact: Path, name: str, contender: str = OWN_CONTENDER) -> Entry:
    return Entry(name=name, contender=contender, command=own_command(), artifact=open_artifact(artifact))


def test_a_run_ends_with_a_profile_of_each_of_our_own_contenders_from_one_launch(tiny_edge: Path) -> None:
    ours = entry(tiny_edge, "edge")
    entries = [ours, entry(tiny_edge, "edge:call", "edge_runtime.contender:open_checked_call")]
    kinds: list[tuple[str, str]] = []
    record = conduct(
        entries,
        Plan(rounds=2, operators=True, block=QUICK),
        board="local",
        progress=lambda now: kinds.append((now.contender, now.kind)),
    )
    assert [kind for _, kind in kinds].count("profile") == 1
    assert kinds[-1] == ("edge", "profile")
    assert [one.contender for one in record.operators] == ["edge", "edge:call"]
    # far too low at first, so that the least time was longer than a call: they were measured again, once
    assert record.peaks == PEAKS
    assert sum(node.least_ns or 0 for node in record.operators[0].nodes) < 10_000
    first, second = record.operators
    assert first.nodes == second.nodes
    assert {node.operator for node in first.nodes} & {"MatMul", "FusedMatMul", "Gemm", "FusedGemm"}
    assert first.runs >= 20
    assert all(node.least_ns is not None for node in first.nodes if node.operator == "MatMul")
    assert abs(first.p50_ns - min(record.launches_of("edge")[0].block_ns)) < 10**9
    assert record.warnings == tuple(one for one in record.warnings if "operators" not in one)


def test_by_default_only_what_the_budget_leaves_time_for(tiny_edge: Path) -> None:
    ours = entry(tiny_edge, "edge")
    ample, none = Plan(rounds=1, operators=None, block=QUICK), Plan(rounds=1, operators=None, block=QUICK, budget_s=0.1)
    assert [one.contender for one in conduct([ours], ample, board="local").operators] == ["edge"]
    assert conduct([ours], none, board="local").operators == ()
    asked = replace(none, operators=True)
    assert [one.contender for one in conduct([ours], asked, board="local").operators] == ["edge"]
    assert conduct([ours], replace(ample, operators=False), board="local").operators == ()


def test_a_resumed_run_keeps_or_renews_the_profiles(tiny_edge: Path) -> None:
    ours = own_entry(open_artifact(tiny_edge), "auto")
    first = conduct([ours], Plan(rounds=1, operators=True, block=QUICK), board="local")
    kept = conduct([ours], Plan(rounds=1, block=QUICK), board="local", resume=first)
    assert (kept.operators, kept.peaks) == (first.operators, first.peaks)
    renewed = conduct([ours], Plan(rounds=2, operators=True, block=QUICK), board="local", resume=first)
    assert [one.contender for one in renewed.operators] == ["edge"]


def test_only_our_own_runtime_is_profiled(tiny_edge: Path) -> None:
    assert has_profile(entry(tiny_edge, "edge:call", "edge_runtime.contender:open_checked_call"))
    assert not has_profile(entry(tiny_edge, "torch", "bench.contenders.torch:open_contender"))
    assert not has_profile(entry(tiny_edge, "mine", "/a/edge_runtime.contender.py:open_contender"))


def test_operators_of_another_scenario_are_refused() -> None:
    with pytest.raises(UsageError, match="one call after the other"):
        Plan(operators=True, scenario=Scenario(name="periodic", rate_per_s=10.0))
    Plan(operators=None, scenario=Scenario(name="periodic", rate_per_s=10.0))


def test_a_long_call_makes_the_next_profile_longer() -> None:
    profiles = OperatorProfiles(lambda *_: {}, machine_key="k", threads=1, cpus=(0,))
    assert profiles.seconds(1e9) - profiles.seconds(0) == pytest.approx(25)


@pytest.mark.parametrize(
    "events",
    [
        {},
        {"profile": {"event": "profile", "times": "../x", "shapes": "y", "warmup": 5, "run_ns": [1]}},
        {"profile": {"event": "profile", "times": "x", "shapes": "y", "warmup": 5, "run_ns": [1]}},
        {"profile": {"event": "profile"}},
    ],
)
def test_what_no_worker_says_is_no_profile(events: Mapping[str, Any], tiny_edge: Path) -> None:
    profiles = OperatorProfiles(lambda *_: events, machine_key="k", threads=1, cpus=(0,))
    with pytest.raises(EdgeError):
        profiles.take(replace(entry(tiny_edge, "edge"), command=Command((), {})), 1000.0)
    assert profiles.peaks is None


def test_one_whose_profile_is_lost_keeps_its_latencies_and_a_sentence(
    tiny_edge: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: object) -> Mapping[str, Any]:
        raise WorkerLost("ended by SIGSEGV", "worker", "look")

    monkeypatch.setattr(OperatorProfiles, "take", lost)
    record = conduct([entry(tiny_edge, "edge")], Plan(rounds=1, operators=True, block=QUICK), board="local")
    assert record.operators == ()
    assert len(record.launches) == 1
    assert any(one.startswith("no operators of edge: ended by SIGSEGV") for one in record.warnings)


def test_one_without_a_p50_has_no_profile(tiny_edge: Path) -> None:
    def launch(*_: object, **__: object) -> dict[str, dict[str, Any]]:
        raise AssertionError("a worker was started")

    further = Further(
        Plan(operators=True), launch, cpus=(0,), root=Path("/"), save=lambda: None, trouble=lambda _: None
    )
    further.measure([entry(tiny_edge, "edge")], [], p50s_ns={}, left_s=100.0)
    assert further.operators == []
