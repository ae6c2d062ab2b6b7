"""The statistics tell the truth: interval coverage, false verdicts and power on machines whose truth is known.

Seeds are fixed, so nothing here can fail by luck; `docs/statistics.md` has the table these runs print
(``python -m tests.edge_runtime.test_simulated``).
"""

import sys
from collections import Counter
from collections.abc import Sequence
from functools import cache
from statistics import fmean

import numpy as np
import pytest

from edge_runtime.plan import MAX_ROUNDS
from edge_runtime.stats import Interval, discoveries, order_interval, paired_ratio, percentile, verdict
from tests.edge_runtime import simulated
from tests.edge_runtime.simulated import DRIFTING, QUIET, ROUGH, SHARED, TRUE_NS, Machine, Outcome

RUNS = 400
SLOWDOWN = 0.05
MACHINES = {"quiet": QUIET, "drifting 3 %": DRIFTING, "drifting, twice as noisy": ROUGH, "neighbours, 10 %": SHARED}


@cache
def outcomes(name: str, slowdown: float) -> tuple[Outcome, ...]:
    return tuple(simulated.run(MACHINES[name], seed, slowdown=slowdown) for seed in range(RUNS))


def share(found: Sequence[bool]) -> float:
    return sum(found) / len(found)


def covers(outcome: Outcome, ratio: float) -> bool:
    return holds(outcome.speedup, ratio)


def holds(found: Interval, truth: float) -> bool:
    return found.low is not None and found.high is not None and found.low <= truth <= found.high


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize("slowdown", [0.0, SLOWDOWN])
def test_the_interval_of_a_ratio_holds_the_truth(name: str, slowdown: float) -> None:
    assert share([covers(one, 1 / (1 + slowdown)) for one in outcomes(name, slowdown)]) >= 0.92


def test_the_interval_of_a_p50_holds_the_truth() -> None:
    found = [one.p50s[0] for one in outcomes("quiet", 0.0)]
    assert share([holds(one, TRUE_NS) for one in found]) >= 0.92


@pytest.mark.parametrize("name", MACHINES)
def test_equals_are_called_faster_or_slower_in_at_most_one_run_of_twenty(name: str) -> None:
    assert share([one.verdict in {"faster", "slower"} for one in outcomes(name, 0.0)]) <= 0.05


@pytest.mark.parametrize("name", MACHINES)
def test_a_slowdown_of_five_per_cent_is_found_in_nine_runs_of_ten(name: str) -> None:
    assert share([one.verdict == "slower" for one in outcomes(name, SLOWDOWN)]) >= 0.90


def test_one_after_the_other_instead_of_in_turns_would_call_drift_a_difference() -> None:
    # the same machine and the same statistics, contenders not in turns: why the order is what it is
    assert share([sequential(DRIFTING, seed) in {"faster", "slower"} for seed in range(RUNS)]) > 0.05


def test_blocks_one_after_the_other_would_not_find_a_slowdown_beside_neighbours() -> None:
    found = [simulated.run(SHARED, seed, slowdown=SLOWDOWN, slices=1).verdict for seed in range(RUNS)]
    assert share([one == "slower" for one in found]) < 0.65


def test_samples_of_one_process_as_if_independent_would_hold_the_truth_far_too_rarely() -> None:
    random = np.random.default_rng(1)
    held = []
    for _ in range(RUNS):
        found = order_interval(sorted(simulated.block(QUIET, TRUE_NS, random)), 50)
        held.append(holds(found, TRUE_NS))
    assert share(held) < 0.7


def test_twenty_comparisons_of_equals_bring_no_more_false_verdicts_than_one() -> None:
    random = np.random.default_rng(2)
    families = [list(random.random(20)) for _ in range(2000)]
    assert share([any(p <= 0.05 for p in family) for family in families]) > 0.5
    assert share([any(discoveries(family)) for family in families]) == pytest.approx(0.05, abs=0.015)


def sequential(machine: Machine, seed: int) -> str:
    random = np.random.default_rng(seed)
    medians: list[list[int]] = [[], []]
    for step in range(2 * MAX_ROUNDS):
        level = TRUE_NS * (1 + machine.drift * step / (2 * MAX_ROUNDS))
        medians[step // MAX_ROUNDS].append(percentile(simulated.block(machine, level, random), 50))
    return verdict(paired_ratio(*medians), margin=0.0)


def table() -> str:
    """Return the table of `docs/statistics.md`."""
    rows = [
        "| machine | truth | interval of the ratio holds it | faster or slower | slower | same | rounds |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in MACHINES:
        for slowdown in (0.0, SLOWDOWN):
            found = outcomes(name, slowdown)
            said = Counter(one.verdict for one in found)
            rows.append(
                f"| {name} | {'equal' if not slowdown else f'{slowdown:.0%} slower'} "
                f"| {share([covers(one, 1 / (1 + slowdown)) for one in found]):.3f} "
                f"| {(said['faster'] + said['slower']) / RUNS:.3f} | {said['slower'] / RUNS:.3f} "
                f"| {said['same'] / RUNS:.3f} | {fmean(one.rounds for one in found):.1f} |"
            )
    return "\n".join(rows)


if __name__ == "__main__":
    sys.stdout.write(table() + "\n")
