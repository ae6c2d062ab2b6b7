"""A record in words: the outcome in one sentence, each verdict with its interval, what would settle an open one."""

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from bench.report.sentences import facts, headline, several, verdicts
from edge_runtime.record import Record
from edge_runtime.summary import comparisons

Make = Callable[..., Record]


def test_one_sentence_says_who_is_faster_how_much_memory_and_how_right(make_record: Make) -> None:
    record = make_record({"edge": 100.0, "torch": 400.0, "mnn": 100.0, "tract": 80.0})
    told = headline(record, contender="edge")
    assert re.fullmatch(
        r"edge is (3\.9\d|4\.\d\d)x faster than torch, 1\.2\dx slower than tract and as fast as mnn "
        r"on Board 5, 1 thread; "
        r"the process takes 48\.0 MiB at most, the others' 48\.0 MiB; its answers are right within 1e-06",
        told,
    ), told


def test_a_lone_contender_is_told_by_its_latency(make_record: Make) -> None:
    assert re.match(
        r"edge answers in 1\d\d us|edge answers in \d\d\.\d us",
        headline(make_record({"edge": 100.0}), contender="edge"),
    )


def test_no_sentence_ranks_who_answers_wrongly_or_was_not_timed(make_record: Make) -> None:
    assert headline(make_record(wrong=("edge",)), contender="edge").startswith("edge answers wrongly")
    empty = replace(make_record(), launches=(), stop_reason="budget")
    assert headline(empty, contender="edge") == "Nothing was timed on Board 5, 1 thread: the run ended as budget"
    lone = headline(make_record(wrong=("torch",)), contender="edge")
    assert "faster" not in lone
    assert "torch" not in lone


def test_many_records_are_told_by_how_many_comparisons_ended_how(make_record: Make) -> None:
    records = [make_record({"edge": 100.0, "torch": torch}) for torch in (400.0, 300.0, 50.0, 100.0)]
    records.append(make_record(wrong=("torch",)))
    told = several([(record, "edge") for record in records])
    assert told == ("edge, in 5 comparisons of 5 records: faster in 2, as fast in 1, slower in 1 and not compared in 1")


def noisy(record: Record, wobble: float) -> Record:
    """Return the record with every other launch of torch that much slower: no verdict comes of it."""
    launches = [
        replace(one, block_ns=tuple(int(ns * (1 + wobble)) for ns in one.block_ns))
        if one.contender == "torch" and one.round % 2
        else one
        for one in record.launches
    ]
    return replace(record, launches=tuple(launches))


def test_an_open_verdict_tells_how_many_rounds_would_settle_it(make_record: Make) -> None:
    record = noisy(make_record({"edge": 100.0, "torch": 100.0}, seed=1), 0.06)
    (one,) = comparisons(record, contender="edge")
    assert one.rounds_needed is not None
    assert 6 < one.rounds_needed <= 100
    assert verdicts(record, contender="edge")[0].endswith(
        f"; about {one.rounds_needed - 6} more rounds would settle it"
    )
    hopeless = noisy(make_record({"edge": 100.0, "torch": 100.0}, seed=1), 0.5)
    assert "rather a quieter machine" in verdicts(hopeless, contender="edge")[0]


def test_a_verdict_that_fell_in_its_family_says_so(make_record: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_runtime.summary.discoveries", lambda values: [False for _ in values])
    told = verdicts(make_record({"edge": 100.0, "torch": 400.0, "mnn": 400.0}), contender="edge")[0]
    assert told.startswith("edge and torch: inconclusive")
    assert told.endswith("alone it would stand, but of 2 comparisons one may look like this by luck")


def test_verdicts_are_told_in_words(raced: Record) -> None:
    told = verdicts(raced, contender="edge")
    assert len(told) == 4
    assert told[0].startswith("edge is ")
    assert "x faster than waits_300us here (95 % interval " in told[0]
    assert told[0].endswith(", 4 rounds)")
    assert told[2] == "edge and adds_one are not compared: adds_one answers wrongly"
    assert told[3].startswith("answers agree with the golden cases within ")
    assert "adds_one" not in told[3]


def test_a_slower_contender_is_told_with_a_factor_above_one(raced: Record) -> None:
    told = verdicts(raced, contender="waits_600us")[1]
    assert told.startswith("waits_600us is ")
    assert "x slower than waits_300us here" in told
    assert 1.8 < float(told.split("x slower")[0].rpartition(" ")[2]) < 2.2


def test_equal_contenders_are_as_fast_as_each_other(raced: Record) -> None:
    twin = [replace(launch, contender="waits_300us") for launch in raced.launches_of("edge")]
    record = replace(raced, launches=(*raced.launches_of("edge"), *twin))
    told = verdicts(record, contender="edge")[0]
    assert told.startswith("edge is as fast as waits_300us here, within 2.0% (95 % interval 1.00 to 1.00")


def test_one_round_gives_no_interval_and_no_verdict(raced: Record) -> None:
    record = replace(raced, launches=tuple(launch for launch in raced.launches if launch.round == 0))
    told = verdicts(record, contender="edge")[1]
    assert told.startswith("edge and waits_600us: inconclusive, a speed-up of ")
    assert told.endswith("x in 1 round, which gives no interval")


def test_noise_is_called_inconclusive_without_naming_a_winner(raced: Record) -> None:
    launches = [
        replace(launch, block_ns=tuple(sample * factor for sample in launch.block_ns), contender=name)
        for name, factors in (("edge", (1, 1, 1, 1)), ("waits_300us", (1, 2, 1, 1)))
        for launch, factor in zip(raced.launches_of("edge"), factors, strict=True)
    ]
    told = verdicts(replace(raced, launches=tuple(launches)), contender="edge")[0]
    assert told.startswith("edge and waits_300us: inconclusive, ")
    assert "faster" not in told


def test_short_calls_are_said_to_be_timed_in_groups(raced: Record) -> None:
    calls = max(launch.calls_per_sample for launch in raced.launches_of("edge"))
    assert calls > 1
    assert any(f"timed in groups (edge {calls})" in fact for fact in facts(raced))
