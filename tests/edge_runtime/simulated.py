"""Machines made of numbers, whose truth is known: what the statistics say of them can be right or wrong.

A call takes a true time, times a launch's own luck (address layout, allocator), times a drift of the machine over the
run, times noise that remembers (AR(1)), with a few calls that are disturbed. Seeds are fixed: every run is the same.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from edge_runtime.plan import MAX_ROUNDS, MIN_ROUNDS, Plan, turning_order
from edge_runtime.stats import Interval, half_share, launch_interval, paired_ratio, percentile, verdict

TRUE_NS = 1_000_000.0
CALLS = 60  # of a block; more would make the luck of launches matter more, and the noise less
DEFAULT = Plan()


@dataclass(frozen=True)
class Machine:
    """Standard deviations and shares. drift: of the level over `MAX_ROUNDS` rounds, all of it in one direction."""

    launch: float = 0.01
    noise: float = 0.02
    memory: float = 0.6
    drift: float = 0.0
    disturbed: float = 0.02


QUIET = Machine()
DRIFTING = replace(QUIET, drift=0.03)
ROUGH = replace(DRIFTING, launch=0.02, noise=0.04)


@dataclass(frozen=True)
class Outcome:
    """What one simulated run of two contenders says."""

    p50s: tuple[Interval, Interval]
    speedup: Interval
    verdict: str
    rounds: int


def run(machine: Machine, seed: int, *, slowdown: float = 0.0, margin: float = DEFAULT.margin) -> Outcome:
    """Measure two contenders as `race` does with default settings; the second takes `slowdown` more, as a share."""
    random = np.random.default_rng(seed)
    medians: tuple[list[int], list[int]] = ([], [])
    for index in range(MAX_ROUNDS):
        for order, which in enumerate(turning_order(2, index)):
            through = (index + order / 2) / MAX_ROUNDS
            level = TRUE_NS * (1 + slowdown * which) * (1 + machine.drift * through)
            medians[which].append(percentile(block(machine, level, random), 50))
        known = [launch_interval(one) for one in medians]
        if index + 1 >= MIN_ROUNDS and max(map(half_share, known)) <= DEFAULT.precision:
            break
    speedup = paired_ratio(*medians)
    return Outcome(
        p50s=(known[0], known[1]), speedup=speedup, verdict=verdict(speedup, margin=margin), rounds=len(medians[0])
    )


def block(machine: Machine, level: float, random: np.random.Generator, calls: int = CALLS) -> list[int]:
    """Return one launch's samples in nanoseconds."""
    shocks = random.normal(size=calls) * machine.noise * math.sqrt(1 - machine.memory**2)
    noise = np.empty(calls)
    noise[0] = random.normal() * machine.noise
    for index in range(1, calls):
        noise[index] = machine.memory * noise[index - 1] + shocks[index]
    disturbed = random.random(calls) < machine.disturbed
    times = level * np.exp(random.normal() * machine.launch + noise) * np.where(disturbed, 3.0, 1.0)
    return [int(time) for time in times]
