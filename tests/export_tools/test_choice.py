from dataclasses import replace

import numpy as np
import pytest

from export_tools.candidate import Candidate
from export_tools.cases import Case
from export_tools.choice import ROUNDS, best
from export_tools.pipeline import Exported
from export_tools.verify import Runner

EXAMPLE = Case("real", {"x": np.ones((1, 13), np.float32)}, {})


def candidates(linear: Exported, nodes: tuple[int, int]) -> tuple[Candidate, Candidate]:
    path = linear.artifact.model_path(linear.artifact.variant())
    conversion = replace(linear.conversion, model=path, exporter="dynamo", operators=(("Relu", nodes[0]),))
    other = replace(conversion, exporter="torchscript", operators=(("Relu", nodes[1]),))
    return Candidate(conversion, linear.verification, ()), Candidate(other, linear.verification, ())


@pytest.mark.parametrize(
    ("times", "nodes", "winner", "why"),
    [
        ((1.0, 2.0), (9, 3), "dynamo", "both verify; its graph is faster than torchscript's"),
        ((2.0, 1.0), (3, 9), "torchscript", "both verify; its graph is faster than dynamo's"),
        (
            (1.0, 1.02),
            (9, 3),
            "torchscript",
            "both verify; its graph is as fast as dynamo's, with 3 nodes instead of 9",
        ),
        ((1.02, 1.0), (3, 3), "dynamo", "both verify; its graph is as fast as torchscript's, and the first choice"),
    ],
)
def test_the_faster_graph_wins_then_the_one_of_fewer_nodes_then_the_first(
    linear: Exported, times: tuple[float, float], nodes: tuple[int, int], winner: str, why: str
) -> None:
    runners: list[Runner] = []

    def measure(run: Runner, _example: Case, _calls: int) -> float:
        if run not in runners:
            runners.append(run)
        return times[runners.index(run)] * 1e-3

    choice = best(*candidates(linear, nodes), EXAMPLE, where="here", measure=measure)
    assert (choice.candidate.conversion.exporter, choice.candidate.conversion.why) == (winner, why)
    own, others = times if winner == "dynamo" else times[::-1]
    assert choice.ratio.estimate == pytest.approx(others / own)
    assert str(choice).endswith(f"{ROUNDS} rounds)")


def test_rounds_take_turns(linear: Exported) -> None:
    order: list[int] = []
    runners: list[Runner] = []

    def measure(run: Runner, _example: Case, _calls: int) -> float:
        if run not in runners:
            runners.append(run)
        order.append(runners.index(run))
        return 1.0

    best(*candidates(linear, (1, 1)), EXAMPLE, where="here", measure=measure)
    assert order[2:] == [1, 0, 0, 1] * (ROUNDS // 2) + [1, 0]
