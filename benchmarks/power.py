"""How often are verdicts wrong on this machine, and how often is a slowdown found? ``make power-test``.

Real runs with default settings: our runtime against itself (A/A), where faster and slower are wrong, and against itself
burning max(5 %, 2 x the margin) more, where only slower is right. Rates come with their 95 % binomial bounds; it exits
1 when at most 5 % wrong, or at least 90 % found, lies outside of them.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import models, planted
from edge_runtime import graph_cache, noise_floor, summary
from edge_runtime.artifact import Artifact, open_artifact
from edge_runtime.console import Console, table
from edge_runtime.environment import machine
from edge_runtime.errors import EdgeError
from edge_runtime.launch import Command, own_command
from edge_runtime.rounds import Plan, Progress, conduct, own_entry
from edge_runtime.stats import Interval, binomial_bounds

RUNS = 20  # of each kind; fewer bound nothing
LEAST_SLOWDOWN, MARGINS = 0.05, 2.0
WRONG_AT_MOST, FOUND_AT_LEAST = 0.05, 0.90
ROOT = str(Path(__file__).resolve().parent.parent)


@dataclass(frozen=True, slots=True)
class Tally:
    """Verdicts of one kind of run, in order."""

    kind: str
    verdicts: tuple[str, ...]

    def rate(self, *counted: str) -> Interval:
        """Return the share of runs with one of these verdicts, with its 95 % bounds."""
        return binomial_bounds(sum(verdict in counted for verdict in self.verdicts), len(self.verdicts))


def holds(equal: Tally, slowed: Tally) -> bool:
    """Return whether the promised rates lie inside the bounds of what was seen."""
    wrong, found = equal.rate("faster", "slower"), slowed.rate("slower")
    assert wrong.low is not None and found.high is not None  # noqa: S101, PT018 - binomial bounds always exist
    return wrong.low <= WRONG_AT_MOST and found.high >= FOUND_AT_LEAST


def shown(equal: Tally, slowed: Tally, share: float) -> str:
    """Return the table, as Markdown."""
    rows: list[tuple[str, ...]] = [
        ("| truth", "runs", "faster", "slower", "same", "inconclusive", "judged", "95 % bounds |"),
        ("|---", "---", "---", "---", "---", "---", "---", "---|"),
    ]
    for tally, truth, what, rate in (
        (equal, "equal", "wrong", equal.rate("faster", "slower")),
        (slowed, f"{share:.0%} slower", "found", slowed.rate("slower")),
    ):
        counts = [str(tally.verdicts.count(name)) for name in ("faster", "slower", "same", "inconclusive")]
        bounds = f"{rate.low:.3f} to {rate.high:.3f} |"
        rows.append((f"| {truth}", str(len(tally.verdicts)), *counts, f"{rate.estimate:.3f} {what}", bounds))
    return "\n".join(" | ".join(row) for row in rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Run both kinds in turns, print the table, return the exit code."""
    parser = argparse.ArgumentParser(prog="make power-test", description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS, help=f"of each kind (default: {RUNS})")
    parser.add_argument("--budget", type=float, default=90.0, metavar="S", help="seconds for each run (default: 90)")
    options = parser.parse_args(argv)
    console = Console(json=False, quiet=False, verbose=False, color=False)
    floor = noise_floor.read(graph_cache.noise_folder(), machine().key, 1)
    plan = Plan(budget_s=options.budget)
    plan = replace(plan, margin=noise_floor.margin(plan.margin, floor), noise_floor=floor.share if floor else None)
    share = max(LEAST_SLOWDOWN, MARGINS * plan.margin)
    verdicts: dict[str, list[str]] = {"equal": [], "slowed": []}
    with tempfile.TemporaryDirectory(prefix="edge-power-") as folder:
        models.write_stack(Path(folder))
        artifact = open_artifact(Path(folder, models.STACK))
        for index in range(options.runs):
            for kind, told in verdicts.items():
                told.append(_verdict(artifact, plan, None if kind == "equal" else share, console))
                console.note(f"run {index + 1} of {options.runs}, {kind}: {told[-1]}")
    equal, slowed = (Tally(kind, tuple(told)) for kind, told in verdicts.items())
    console.say(table([("machine", machine().model), ("margin", f"{plan.margin:.1%}"), ("floor", _floor(floor))]))
    console.say(shown(equal, slowed, share))
    return 0 if holds(equal, slowed) else 1


def _verdict(artifact: Artifact, plan: Plan, share: float | None, console: Console) -> str:
    """Return what a run says of a second contender: equal, or slowed by a share."""
    own = own_command()
    command = Command(own.argv, {**own.environment, "PYTHONPATH": ROOT})
    first = replace(own_entry(artifact, "auto"), command=command)
    second = replace(first, name="again")
    if share is not None:
        place = f"{planted.__file__}:open_contender"
        second = replace(first, name="slowed", contender=place, options={"share": str(share)})

    def told(now: Progress) -> None:
        console.progress(f"{second.name}: {now.kind}, {now.launches} launches")

    record = conduct([first, second], plan, board="local", progress=told)
    console.clear_line()
    return summary.compare(record, baseline=first.name, contender=second.name).verdict


def _floor(floor: noise_floor.NoiseFloor | None) -> str:
    return "never calibrated (edge bench --calibrate)" if floor is None else f"{floor.share:.1%}"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except EdgeError as error:
        sys.exit(f"power-test: {error}")
