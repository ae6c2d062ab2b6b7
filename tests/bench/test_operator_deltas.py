"""Which operators got slower, by hand."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bench import compare
from bench.operator_deltas import OUTSIDE, against_baselines, between, deltas, lines
from bench.report import terminal
from edge_runtime.cli import main
from edge_runtime.operators import NodeTime, OperatorTimes
from edge_runtime.record import Record


def profile(
    nodes: dict[str, int], *, name: str = "edge", p50_ns: int = 10_000, profiled_ns: int = 10_000
) -> OperatorTimes:
    """Return a profile of nodes given as "Operator name" to nanoseconds."""
    return OperatorTimes(
        contender=name,
        runs=20,
        p50_ns=p50_ns,
        profiled_ns=profiled_ns,
        nodes=tuple(
            NodeTime(
                name=key.partition(" ")[2],
                operator=key.partition(" ")[0],
                calls=1,
                ns=ns,
                operations=None,
                bytes=None,
                least_ns=None,
            )
            for key, ns in nodes.items()
        ),
    )


def test_nodes_of_one_graph_are_held_against_each_other_by_name_scaled_to_p50() -> None:
    before = profile({"Conv a": 4000, "Conv b": 2000, "Relu c": 1000}, p50_ns=5000)
    after = profile({"Conv b": 8000, "Conv a": 3900, "Relu c": 1000}, p50_ns=15_000, profiled_ns=15_000)
    found = deltas("edge", before, after)
    assert (found.before_factor, found.after_factor) == (0.5, 1.0)
    assert [(one.operator, one.node, one.before_ns, one.after_ns) for one in found.slower] == [
        ("Conv", "b", 1000, 8000),
        ("Conv", "a", 2000, 3900),
        (OUTSIDE, "", 1500, 2100),
        ("Relu", "c", 500, 1000),
    ]
    # what got slower and what got faster add up to the difference of the p50s
    assert sum(one.ns for one in found.slower) == 15_000 - 5000


def test_nodes_of_two_graphs_are_held_against_each_other_by_type() -> None:
    before = profile({"Conv a": 1000, "Conv b": 1000, "Relu c": 3000})
    after = profile({"Conv x": 5000, "Clip y": 2000})
    found = deltas("edge", before, after)
    assert [(one.operator, one.node, one.before_ns, one.after_ns) for one in found.slower] == [
        ("Conv", "", 2000, 5000),
        ("Clip", "", 0, 2000),
    ]


def test_five_are_told_and_the_largest_first() -> None:
    names = [f"Op{index} n" for index in range(8)]
    before = profile(dict.fromkeys(names, 100))
    after = profile({name: 100 + 10 * index for index, name in enumerate(names)})
    assert [one.operator for one in deltas("edge", before, after).slower] == ["Op7", "Op6", "Op5", "Op4", "Op3"]


def test_more_time_in_nodes_than_in_the_call_leaves_nothing_outside() -> None:
    less, more = profile({"Conv a": 12_000}), profile({"Conv a": 13_000})
    assert [(one.operator, one.ns) for one in deltas("edge", less, more).slower] == [("Conv", 1000)]
    assert deltas("edge", more, less).slower == ()


def test_a_record_without_operators_is_told(make_record: Callable[..., Record]) -> None:
    without = make_record()
    profiled = replace(without, operators=(profile({"Conv a": 1000}),))
    assert between(without, profiled, "edge").problem == "no operators of it in the record before"
    assert between(profiled, without, "edge").problem == "no operators of it in the record after"
    (only,) = compare(without, profiled).operators
    assert lines([only]) == ("operators of edge: no operators of it in the record before",)
    assert compare(without, without).operators == ()
    stream = io.StringIO()
    terminal.show_comparison(compare(without, without), stream=stream, color=False)
    assert "neither record was taken with --operators" in stream.getvalue()


def test_records_that_can_not_be_compared_name_no_operators(make_record: Callable[..., Record]) -> None:
    record = replace(make_record(), operators=(profile({"Conv a": 1000}),))
    assert compare(record, record).operators[0].slower == ()
    assert lines(compare(record, record).operators) == ("operators of edge: none takes longer",)
    other = replace(record, machine=replace(record.machine, key="another"))
    assert compare(record, other).operators == ()


def test_compare_prints_the_operators_that_got_slower(
    make_record: Callable[..., Record], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = "Conv /" + "features/" * 9 + "conv"
    before = replace(make_record(), operators=(profile({long: 1000}),))
    after = replace(before, operators=(profile({long: 4000}, p50_ns=20_000),))
    before.save(tmp_path / "a.json")
    after.save(tmp_path / "b.json")
    assert main(["compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")]) == 0
    told = capsys.readouterr().out.splitlines()
    at = next(index for index, line in enumerate(told) if line.startswith("operators of edge"))
    assert "× 1.00 before, × 2.00 after" in " ".join(told[at : at + 2])
    (row,) = [line for line in told if line.startswith("  Conv …")]
    assert row.split()[-6:] == ["1.00", "us", "8.00", "us", "+7.00", "us"]
    assert max(map(len, told)) <= 80


def test_a_contender_that_lost_to_a_profiled_baseline_is_explained(make_record: Callable[..., Record]) -> None:
    record = make_record({"edge": 400.0, "edge:int8": 100.0, "torch": 50.0})
    profiles = (profile({"Conv a": 9000}), profile({"QLinearConv a": 1000}, name="edge:int8"))
    (found,) = against_baselines(replace(record, operators=profiles), contender="edge")
    assert found.contender == "edge against edge:int8"
    assert [one.operator for one in found.slower] == ["Conv"]
    won = make_record({"edge": 100.0, "edge:int8": 400.0})
    assert against_baselines(replace(won, operators=profiles), contender="edge") == ()
    assert against_baselines(replace(record, operators=profiles[:1]), contender="edge") == ()
