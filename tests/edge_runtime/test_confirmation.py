"""A slower verdict is measured again, on workers that answer at once what the test tells them to."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edge_runtime import confirmation, summary
from edge_runtime.artifact import open_artifact
from edge_runtime.launch import Command
from edge_runtime.record import parse
from edge_runtime.rounds import MAX_ROUNDS, MIN_ROUNDS, Entry, Plan, Progress, conduct

SCRIPT = str(Path(__file__).with_name("scripted_worker.py"))


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


def entry(artifact: Path, ledger: Path, name: str, p50: str) -> Entry:
    return Entry(
        name=name,
        contender="scripted",
        command=Command((sys.executable, "-S", "-E", SCRIPT), dict(os.environ)),
        artifact=open_artifact(artifact),
        options={"ledger": str(ledger), "name": name, "p50": p50},
    )


def interrupt_at(launch: int) -> Callable[[Progress], None]:
    def told(now: Progress) -> None:
        if now.kind == "time" and now.launches >= launch:
            raise KeyboardInterrupt

    return told


def slower(artifact: Path, ledger: Path, *rounds: int) -> list[Entry]:
    """Return ours and a rival: how many times slower ours is in each round, in the last one's way from then on."""
    mine = ",".join(str(1000 * factor) for factor in rounds)
    return [entry(artifact, ledger, "a", mine), entry(artifact, ledger, "b", "1000")]


def test_a_slower_verdict_is_confirmed_by_a_second_batch_and_a_faster_one_needs_none(
    tiny_edge: Path, ledger: Path
) -> None:
    told: list[Progress] = []
    record = conduct(slower(tiny_edge, ledger, 2), Plan(), board="local", progress=told.append)
    assert (record.confirming_from, len(record.launches_of("a"))) == (MIN_ROUNDS, 2 * MIN_ROUNDS)
    assert record.stop_reason == "precision"
    (one,) = summary.comparisons(record, contender="a")
    assert (one.verdict, confirmation.confirmed(record, one)) == ("slower", True)
    assert {now.rounds for now in told} == {MAX_ROUNDS, 2 * MIN_ROUNDS}
    assert parse(json.dumps(record.to_document()), where="x") == record
    ledger.unlink()
    turned = conduct(slower(tiny_edge, ledger, 2)[::-1], Plan(), board="local")
    assert (turned.confirming_from, len(turned.launches_of("b"))) == (None, MIN_ROUNDS)


def test_a_second_batch_that_is_as_fast_confirms_nothing(tiny_edge: Path, ledger: Path) -> None:
    record = conduct(slower(tiny_edge, ledger, *[2] * MIN_ROUNDS, 1), Plan(), board="local")
    assert record.confirming_from == MIN_ROUNDS
    second = confirmation.second_batch(record)
    assert second is not None
    assert {launch.round for launch in second.launches} == set(range(MIN_ROUNDS, 2 * MIN_ROUNDS))
    again = summary.compare(second, baseline="b", contender="a")
    assert again.verdict == "same"
    assert confirmation.confirmed(record, replace(again, verdict="slower")) is False


def test_the_budget_and_a_given_number_of_rounds_go_before_a_second_batch(tiny_edge: Path, ledger: Path) -> None:
    entries = slower(tiny_edge, ledger, 2)
    given = conduct(entries, Plan(rounds=MIN_ROUNDS), board="local")
    (one,) = summary.comparisons(given, contender="a")
    assert (one.verdict, given.confirming_from, confirmation.confirmed(given, one)) == ("slower", None, None)
    taken_up = conduct(entries, Plan(rounds=MIN_ROUNDS), board="local", resume=given)
    assert (taken_up.confirming_from, taken_up.stop_reason) == (MIN_ROUNDS, "rounds")
    (one,) = summary.comparisons(taken_up, contender="a")
    assert confirmation.confirmed(taken_up, one) is True
    again = conduct(entries, Plan(rounds=MIN_ROUNDS), board="local", resume=taken_up)
    assert again.launches == taken_up.launches, "one second batch is enough"


def test_a_second_batch_that_was_broken_off_is_gone_on_with(tiny_edge: Path, ledger: Path) -> None:
    entries = slower(tiny_edge, ledger, 2)
    earlier = conduct(entries, Plan(), board="local", progress=interrupt_at(2 * MIN_ROUNDS + 3))
    assert (earlier.stop_reason, earlier.confirming_from) == ("interrupted", MIN_ROUNDS)
    (one,) = summary.comparisons(earlier, contender="a")
    assert confirmation.confirmed(earlier, one) is None
    record = conduct(entries, Plan(), board="local", resume=earlier)
    second = confirmation.second_batch(record)
    assert second is not None
    assert (record.confirming_from, len(second.launches_of("a"))) == (MIN_ROUNDS, MIN_ROUNDS)


def test_a_second_batch_can_be_asked_for_whatever_the_verdict(tiny_edge: Path, ledger: Path) -> None:
    record = conduct(slower(tiny_edge, ledger, 1), Plan(rounds=2, confirm=True), board="local")
    assert (record.confirming_from, record.stop_reason, len(record.launches_of("a"))) == (2, "rounds", 2 + MIN_ROUNDS)
