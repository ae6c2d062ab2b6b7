"""Two records, by hand: every verdict, and every reason to give none."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from bench import compare
from bench.comparison import Change
from bench.report.rows import changes
from edge_runtime.cli import main
from edge_runtime.errors import RecordError
from edge_runtime.measured import Answers
from edge_runtime.record import Record
from edge_runtime.starts import Start

US = 1000


def with_medians(record: Record, medians_us: Sequence[float]) -> Record:
    """Return the record with one launch of "edge" for each median, and an order of its own for all else."""
    first = record.launches_of("edge")[0]
    launches = tuple(
        replace(first, round=index, block_ns=(round(median * US),) * 40) for index, median in enumerate(medians_us)
    )
    return replace(record, launches=launches)


def p50(changes: Sequence[Change]) -> Change:
    return next(change for change in changes if (change.contender, change.figure) == ("edge", "p50_ns"))


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        ((100, 101, 99, 100), (50, 50.5, 49.5, 50), "faster"),
        ((50, 50.5, 49.5, 50), (100, 101, 99, 100), "slower"),
        ((100, 100.2, 99.8, 100), (100, 100.2, 99.8, 100), "same"),
        ((100, 150, 60, 100), (90, 140, 60, 100), "inconclusive"),
        ((100,), (50,), "inconclusive"),
    ],
)
def test_the_verdict_follows_the_interval_of_the_launch_medians(
    raced: Record, before: Sequence[float], after: Sequence[float], verdict: str
) -> None:
    change = p50(compare(with_medians(raced, before), with_medians(raced, after)).changes)
    assert change.verdict == verdict


def test_the_speedup_is_before_over_after_with_welchs_interval(raced: Record) -> None:
    found = compare(with_medians(raced, (200, 202, 198)), with_medians(raced, (100, 101, 99)))
    change = p50(found.changes)
    assert change.speedup is not None
    assert change.speedup.high is not None
    assert change.speedup.estimate == pytest.approx(2)
    # two equal spreads: 4 degrees of freedom, t = 2.776, standard error sqrt(2/3) of 1 %
    assert change.speedup.high / change.speedup.estimate - 1 == pytest.approx(2.776 * 0.01 * (2 / 3) ** 0.5, rel=0.02)
    assert change.before == pytest.approx(200e3, rel=1e-3)
    assert change.after == pytest.approx(100e3, rel=1e-3)


def test_a_record_compared_with_itself_is_never_faster_or_slower(raced: Record) -> None:
    found = compare(raced, raced)
    assert found.obstacles == ()
    assert found.differences == ()
    assert {change.verdict for change in found.changes if change.contender == "edge"} <= {"same", "inconclusive", ""}


def test_memory_is_a_difference_without_a_verdict(raced: Record) -> None:
    found = compare(raced, raced)
    memory = [one for one in found.changes if one.contender == "edge" and one.figure.endswith("_bytes")]
    assert [one.figure for one in memory] == ["model_steady_bytes", "total_peak_bytes"]
    assert [(one.before == one.after, one.speedup, one.verdict) for one in memory] == [(True, None, "")] * 2


def test_starts_are_compared_by_what_the_page_cache_held(make_record: Callable[..., Record]) -> None:
    def started(evicted_ms: int, *, rounds: int = 6) -> Record:
        starts = [
            Start(
                contender="edge",
                cache=cache,
                resident_share=0.1,
                phases_ns={"spawn": 1, "import": 2, "load": 3, "first": (ms + index % 2) * 1_000_000},
            )
            for index in range(4)
            for cache, ms in (("warm", 100), ("evicted", evicted_ms))
        ]
        return replace(make_record(rounds=rounds), starts=tuple(starts))

    found = [one for one in compare(started(400), started(800)).changes if one.figure.startswith("start_")]
    assert [(one.contender, one.figure, one.verdict) for one in found] == [
        ("edge", "start_warm_ns", "same"),
        ("edge", "start_evicted_ns", "slower"),
    ]
    confirmed = replace(started(800, rounds=12), confirming_from=6)
    slower = next(one for one in compare(started(400), confirmed).changes if one.figure == "start_evicted_ns")
    assert (slower.verdict, slower.confirmed) == ("slower", None), "a second batch of rounds has no starts"
    only_after = compare(make_record(), started(800)).changes
    assert [one.verdict for one in only_after if one.figure == "start_evicted_ns"] == ["inconclusive"]
    row = next(row for row in changes(compare(make_record(), started(800))).rows if row.cells[1] == "start, evicted")
    assert row.cells[2:4] == ("–", "800 ms")


def test_a_wrong_contender_is_invalid_in_the_comparison(raced: Record) -> None:
    found = compare(raced, raced)
    assert {one.verdict for one in found.changes if one.contender == "adds_one"} == {"invalid"}
    edge = replace(raced.contenders[0], answers=Answers(agree=False, max_abs=1.0, max_rel=1.0, problem="off"))
    broken = replace(raced, contenders=(edge, *raced.contenders[1:]))
    assert p50(compare(raced, broken).changes).verdict == "invalid"


@pytest.mark.parametrize("what", ["machine", "threads", "shapes"])
def test_what_can_not_be_compared_gets_no_verdict_and_says_why(raced: Record, what: str) -> None:
    other = {
        "machine": replace(raced, machine=replace(raced.machine, key="another", model="a toaster")),
        "threads": replace(raced, config=replace(raced.config, threads=raced.config.threads + 1)),
        "shapes": replace(raced, config=replace(raced.config, shapes={"input": (9, 13)})),
    }[what]
    found = compare(raced, other)
    assert [obstacle.partition(":")[0] for obstacle in found.obstacles] == [what]
    change = p50(found.changes)
    assert (change.verdict, change.speedup) == ("not comparable", None)
    assert None not in {change.before, change.after}


def test_other_differences_are_told_and_do_not_stop_the_comparison(raced: Record) -> None:
    first = raced.contenders[0]
    changed = replace(first, engine="onnxruntime 9", artifact=replace(first.artifact, sha256="0" * 64))

    other = replace(
        raced,
        board="elsewhere",
        machine=replace(raced.machine, kernel="another"),
        contenders=(changed, *raced.contenders[2:]),
        launches=tuple(launch for launch in raced.launches if launch.contender != "waits_300us"),
        memory=tuple(reading for reading in raced.memory if reading.contender != "waits_300us"),
    )
    found = compare(raced, other)
    assert found.obstacles == ()
    assert [difference.partition(":")[0] for difference in found.differences] == [
        "board",
        "kernel",
        "edge's engine",
        "edge's artifact",
        "measured only before",
    ]
    assert "waits_300us" not in {change.contender for change in found.changes}


def test_records_are_read_from_their_files(raced: Record, tmp_path: Path) -> None:
    raced.save(tmp_path / "a.json")
    assert compare(tmp_path / "a.json", raced) == compare(raced, raced)


def test_a_file_that_is_no_record_is_refused(raced: Record, tmp_path: Path) -> None:
    (tmp_path / "b.json").write_text('{"kind": "edge-artifact", "schema": 1}')
    with pytest.raises(RecordError, match="this is no record"):
        compare(raced, tmp_path / "b.json")


def test_records_of_other_conditions_are_refused_unless_allowed(
    make_record: Callable[..., Record], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = make_record()
    governed = [replace(x, before=replace(x.before, governor="powersave")) for x in record.launches]
    record.save(tmp_path / "a.json")
    replace(record, launches=tuple(governed), machine=replace(record.machine, kernel="7")).save(tmp_path / "b.json")
    words = ["compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")]
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "not comparable: governor: unknown against powersave" in err
    assert "--allow-mismatch" in err
    assert main([*words, "--allow-mismatch"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "not comparable: governor: unknown against powersave"
    assert lines[1] == "different: kernel: 6.1 against 7"
    assert not [line for line in lines if "faster" in line or "slower" in line]
