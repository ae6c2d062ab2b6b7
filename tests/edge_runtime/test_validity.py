"""Launches judged by their evidence, and the rounds that fall with them."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime import validity
from edge_runtime.environment import Conditions
from edge_runtime.samples import Launch
from tests.records import make_record

CALM = make_record(rounds=4).launches  # of edge and torch
FAULTS = Conditions(major_faults=3), Conditions(major_faults=4)


def spoiled(launches: tuple[Launch, ...], *places: int) -> tuple[Launch, ...]:
    """Return the launches, those at these places with pages from disk in their block."""
    return tuple(
        replace(one, before=FAULTS[0], after=FAULTS[1]) if place in places else one
        for place, one in enumerate(launches)
    )


def probed(*ns: int | None) -> tuple[Launch, ...]:
    """Return one launch a round, with these probes on both sides."""
    return tuple(
        replace(CALM[0], round=number, probe_before_ns=one, probe_after_ns=one) for number, one in enumerate(ns)
    )


def test_a_calm_run_counts_whole() -> None:
    assert validity.judged(CALM) == CALM
    assert validity.counted(CALM) == CALM
    assert validity.told(CALM) == ()
    assert not validity.is_unfit(CALM)


def test_a_spoiled_launch_keeps_its_samples_and_its_round_counts_for_nobody() -> None:
    launches = validity.judged(spoiled(CALM, 2))
    assert [one.valid for one in launches] == [True, True, False, True, True, True, True, True]
    assert launches[2].block_ns == CALM[2].block_ns
    assert launches[2].reasons == ("pages came from disk in a block: a call waited for the disk",)
    assert validity.dropped_rounds(launches) == {1}
    assert {one.round for one in validity.counted(launches)} == {0, 2, 3}
    (told,) = validity.told(launches)
    assert told.startswith("1 of 4 rounds were dropped, for every contender: pages came from disk in a block: ")
    assert told.endswith(f"(1 x {CALM[2].contender})")


def test_judging_again_changes_nothing_and_new_evidence_can_clear_a_launch() -> None:
    once = validity.judged(spoiled(CALM, 0, 5))
    assert validity.judged(once) == once
    healed = tuple(replace(one, before=Conditions(), after=Conditions()) for one in once)
    assert all(one.valid and one.reasons == () for one in validity.judged(healed))


def test_a_lost_launch_stays_as_it_is_and_drops_no_round() -> None:
    lost = replace(CALM[0], block_ns=(), phases_ns={}, valid=False, reasons=("the worker was ended by SIGKILL",))
    launches = validity.judged((lost, *CALM))
    assert launches == (lost, *CALM)
    assert validity.counted(launches) == CALM
    assert validity.told(launches) == ()


def test_probes_are_held_against_those_of_the_whole_run() -> None:
    launches = validity.judged(probed(1000, 1010, 1090, 1020, 1300, 1000, None))
    assert [one.valid for one in launches] == [True, True, True, True, False, True, True]
    assert launches[4].reasons[0].startswith("a fixed piece of work took 1.28 times as long")
    assert all(one.valid for one in validity.judged(probed(1000, 1000, 1000, 1000, 3000))), "five are too few"


def test_processes_at_once_are_not_judged_by_their_probes() -> None:
    together = [replace(one, worker=number) for number, one in enumerate(probed(*[1000] * 9, 3000))]
    assert all(one.valid for one in validity.judged(together))


@pytest.mark.parametrize(
    ("rounds", "dropped", "unfit"),
    [(8, 2, 0), (8, 3, 1), (20, 5, 0), (20, 6, 1), (2, 1, 0), (3, 1, 0), (4, 2, 1), (1, 1, 1)],
)
def test_a_run_with_more_than_a_quarter_of_its_rounds_dropped_is_unfit(rounds: int, dropped: int, unfit: int) -> None:
    run = [replace(CALM[0], round=number) for number in range(rounds)]
    launches = validity.judged(spoiled(tuple(run), *range(dropped)))
    assert len(validity.dropped_rounds(launches)) == dropped
    assert validity.is_unfit(launches) is bool(unfit)


@given(st.integers(1, 200))
def test_a_run_that_drops_what_it_may_and_makes_up_for_it_is_fit(wanted: int) -> None:
    dropped = validity.allowance(wanted)
    run = [replace(CALM[0], round=number) for number in range(wanted + dropped)]
    assert not validity.is_unfit(validity.judged(spoiled(tuple(run), *range(dropped))))
    one_more = [*run, replace(CALM[0], round=len(run))]
    assert validity.is_unfit(validity.judged(spoiled(tuple(one_more), *range(dropped + 1)))) or wanted == 1
