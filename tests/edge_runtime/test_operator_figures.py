"""Figures of profiles, from profiles made up so that they are known to the digit."""

import json
from dataclasses import replace

import pytest

from edge_runtime import operator_figures
from edge_runtime.operators import NodeTime, OperatorTimes
from edge_runtime.peaks import Peaks
from edge_runtime.record import Record, parse
from tests.records import make_record

PEAKS = Peaks(
    threads=1,
    copy_bytes=1 << 20,
    copy_bytes_per_s=10**10,
    float32_operations_per_s=10**11,
    int8_operations_per_s=10**12,
)


def node(name: str, operator: str, ns: int, least_ns: float | None = None) -> NodeTime:
    return NodeTime(name=name, operator=operator, calls=1, ns=ns, operations=1, bytes=1, least_ns=least_ns)


def profile(*nodes: NodeTime, name: str = "edge", p50_ns: int = 1000, profiled_ns: int = 2000) -> OperatorTimes:
    return OperatorTimes(contender=name, runs=20, p50_ns=p50_ns, profiled_ns=profiled_ns, nodes=nodes)


def profiled(*profiles: OperatorTimes, wrong: tuple[str, ...] = ()) -> Record:
    return replace(make_record(wrong=wrong), operators=profiles, peaks=PEAKS)


def test_times_are_scaled_to_p50_and_added_up_by_operator() -> None:
    record = profiled(
        profile(node("a", "Conv", 600, 150.0), node("b", "Gemm", 300, 100.0), node("c", "Conv", 1000, 250.0))
    )
    (found,) = operator_figures.figures(record)
    assert found.factor == 0.5
    assert [(one.operator, one.nodes, one.ns, one.share) for one in found.operators] == [
        ("Conv", 2, 800.0, 0.8),
        ("Gemm", 1, 150.0, 0.15),
    ]
    # the least work takes 500 of the 1000 ns that a call takes; the profiler has no part in that
    assert (found.least_ns, found.attainable, found.uncounted) == (500.0, 0.5, 0.0)
    assert operator_figures.lines(record) == (
        "edge: 50% of what the machine can do, 500 ns of 1.00 us; of p50: Conv 80%, Gemm 15% (profiled times × 0.50)",
    )
    assert parse(json.dumps(record.to_document()), where="x") == record


def test_more_than_the_machine_can_do_is_told_as_such() -> None:
    record = profiled(profile(node("a", "Conv", 1900, 1500.0)))
    assert operator_figures.figures(record)[0].attainable == 1.5
    (line,) = operator_figures.lines(record)
    assert line.startswith("edge: 150% of what the machine can do, ")
    assert "the ceiling or the count is wrong" in line


def test_what_can_not_be_counted_is_told_and_never_counted_as_nothing() -> None:
    some = profiled(profile(node("a", "Conv", 1500, 500.0), node("b", "Loop", 500)))
    assert operator_figures.figures(some)[0].uncounted == 0.25
    assert "25% of the nodes' time uncounted" in operator_figures.lines(some)[0]
    none = profiled(profile(node("b", "Loop", 500)))
    (found,) = operator_figures.figures(none)
    assert (found.least_ns, found.attainable) == (None, None)
    assert operator_figures.lines(none)[0].startswith("edge: no count of its work; ")
    assert operator_figures.document(none)["edge"]["attainable_pct"] is None


def test_nodes_below_the_tick_of_the_profile_are_no_division_by_zero() -> None:
    (found,) = operator_figures.figures(profiled(profile(node("a", "Add", 0, 1.0))))
    assert (found.uncounted, found.operators[0].share) == (0.0, 0.0)


def test_the_document_has_per_cents_and_scaled_times() -> None:
    document = operator_figures.document(profiled(profile(node("a", "Conv", 600, 150.0))))
    assert document == {
        "edge": {
            "factor": 0.5,
            "least_ns": 150.0,
            "attainable_pct": pytest.approx(15.0),
            "uncounted_pct": 0.0,
            "operators": [{"operator": "Conv", "nodes": 1, "ns": 300.0, "share": 0.3}],
        }
    }


def test_one_that_answers_wrongly_has_no_figures() -> None:
    record = profiled(profile(node("a", "Conv", 1)), profile(node("a", "Conv", 1), name="torch"), wrong=("torch",))
    assert [one.contender for one in operator_figures.figures(record)] == ["edge"]
