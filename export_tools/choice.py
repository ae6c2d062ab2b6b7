"""Which of two proven models is better: the faster one, timed side by side; of equals the one with fewer nodes."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from edge_runtime.stats import Interval, paired_ratio, verdict
from export_tools.candidate import Candidate
from export_tools.cases import Case
from export_tools.verify import OPTIMISED, Runner

ROUNDS = 15
ROUND_S = 0.02  # of each model in a round: far above the clock's grain, and all rounds together under a second
Measure = Callable[[Runner, Case, int], float]
MARGIN = 0.05  # a smaller advantage is not worth another answer on the next machine


@dataclass(frozen=True, slots=True)
class Choice:
    """The better model. loser: the other's exporter.   ratio: the other's time over its own, over all rounds."""

    candidate: Candidate
    loser: str
    ratio: Interval

    def __str__(self) -> str:
        spread = "" if self.ratio.low is None else f" ({self.ratio.low:.2f}..{self.ratio.high:.2f}, {ROUNDS} rounds)"
        winner = self.candidate.conversion.exporter
        return f"{winner}: {self.loser} takes {self.ratio.estimate:.2f} times its time{spread}"


def seconds_a_call(run: Runner, example: Case, calls: int) -> float:
    """Return the mean time of a call."""
    begin = time.perf_counter()
    for _ in range(calls):
        run(example)
    return (time.perf_counter() - begin) / calls


def best(one: Candidate, other: Candidate, example: Case, *, where: str, measure: Measure = seconds_a_call) -> Choice:
    """Return the better of two proven models, with why. measure: the seconds of a call, over so many calls.

    Both run the example on one thread, in rounds that take turns. A speed-up within `MARGIN` is none; then fewer
    nodes win, and then the one that comes first.
    """
    ratio = _ratio(one.conversion.model, other.conversion.model, example, where, measure)
    judged = verdict(ratio, margin=MARGIN)
    nodes = [sum(number for _, number in each.conversion.operators) for each in (one, other)]
    first = judged == "faster" or (judged != "slower" and nodes[0] <= nodes[1])
    winner, loser = (one, other) if first else (other, one)
    rival = f"{loser.conversion.exporter}'s"
    if judged in {"faster", "slower"}:
        reason = f"faster than {rival}"
    elif nodes[0] != nodes[1]:
        reason = f"as fast as {rival}, with {min(nodes)} nodes instead of {max(nodes)}"
    else:
        reason = f"as fast as {rival}, and the first choice"
    # no measured number: the same export writes the same bytes
    why = f"both verify; its graph is {reason}"
    chosen = replace(winner, conversion=replace(winner.conversion, why=why))
    return Choice(chosen, loser.conversion.exporter, ratio if first else _inverse(ratio))


def _ratio(one: Path, other: Path, example: Case, where: str, measure: Measure) -> Interval:
    """Return the second model's time over the first's."""
    runners = [Runner(path, OPTIMISED, threads=1, where=where) for path in (one, other)]
    for run in runners:
        run(example)  # the first call allocates
    counts = [max(1, round(ROUND_S / measure(run, example, 1))) for run in runners]
    seconds: list[list[float]] = [[], []]
    for turn in range(ROUNDS):
        for which in (0, 1) if turn % 2 else (1, 0):
            seconds[which].append(measure(runners[which], example, counts[which]))
    return paired_ratio(seconds[1], seconds[0])


def _inverse(ratio: Interval) -> Interval:
    low = None if ratio.high is None else 1 / ratio.high
    high = None if ratio.low is None else 1 / ratio.low
    return Interval(1 / ratio.estimate, low, high)
