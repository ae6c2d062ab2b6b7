"""Machines made of numbers, whose truth is known: what the statistics say of them can be right or wrong.

A call takes a true time, times a launch's own luck (address layout, allocator), times a drift of the machine over the
run, times its neighbours, who come and go within seconds, times noise that remembers (AR(1)), with a few calls that are
disturbed. Seeds are fixed: every run is the same.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter

from edge_runtime.environment import Conditions
from edge_runtime.plan import MAX_ROUNDS, MIN_ROUNDS, Plan, turning_order
from edge_runtime.samples import Launch
from edge_runtime.scenarios import paired_logs
from edge_runtime.stats import Interval, half_share, launch_interval, percentile, ratio_of_logs, verdict

TRUE_NS = 1_000_000.0
CALLS = 80  # of a block; more would make the luck of launches matter more, and the noise less
DEFAULT = Plan()
CALM = Conditions()
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Machine:
    """Standard deviations and shares. drift: of the level over `MAX_ROUNDS` rounds, all of it in one direction.

    neighbours: of the level's logarithm, within a run.   changes: how often they change within the time of a block.
    """

    launch: float = 0.01
    noise: float = 0.02
    memory: float = 0.6
    drift: float = 0.0
    disturbed: float = 0.02
    neighbours: float = 0.0
    changes: float = 1.0


QUIET = Machine()
DRIFTING = replace(QUIET, drift=0.03)
ROUGH = replace(DRIFTING, launch=0.02, noise=0.04)
SHARED = replace(QUIET, neighbours=0.10)


@dataclass(frozen=True)
class Outcome:
    """What one simulated run of two contenders says."""

    p50s: tuple[Interval, Interval]
    speedup: Interval
    verdict: str
    rounds: int


def run(
    machine: Machine,
    seed: int,
    *,
    slowdown: float = 0.0,
    margin: float = DEFAULT.margin,
    slices: int = DEFAULT.block.slices,
) -> Outcome:
    """Measure two contenders as `race` does with default settings; the second takes `slowdown` more, as a share.

    slices: in how many pieces a block is taken, in turns with the other's; 1 is one block after the other.
    """
    random = np.random.default_rng(seed)
    launches: tuple[list[Launch], list[Launch]] = ([], [])
    logs: list[float] = []
    for index in range(MAX_ROUNDS):
        neighbours = presence(machine, random, 2 * CALLS)
        drift = machine.drift * (index + np.arange(2 * CALLS) / (2 * CALLS)) / MAX_ROUNDS
        around = (neighbours + np.log1p(drift)).reshape(slices, 2, -1)  # by piece, by who comes first and second
        places = [turning_order(2, index + piece) for piece in range(slices)]
        for which in (0, 1):
            own = np.concatenate([around[piece, order.index(which)] for piece, order in enumerate(places)])
            luck = math.exp(random.normal() * machine.launch)
            found = samples(machine, TRUE_NS * (1 + slowdown * which) * luck, random, around=own)
            pieces = (CALLS // slices,) * slices if slices > 1 else ()
            launches[which].append(launch(which, index, found, pieces))
        logs += paired_logs(launches[0][-1:], launches[1][-1:]).values()
        speedup = ratio_of_logs(logs)
        if index + 1 >= MIN_ROUNDS and half_share(speedup) <= DEFAULT.precision:
            break
    known = [launch_interval([percentile(one.block_ns, 50) for one in of_one]) for of_one in launches]
    return Outcome(
        p50s=(known[0], known[1]), speedup=speedup, verdict=verdict(speedup, margin=margin), rounds=len(logs)
    )


def launch(which: int, index: int, block_ns: Sequence[int], slices: tuple[int, ...]) -> Launch:
    """Return samples as a launch of a record."""
    return Launch(
        contender="ab"[which],
        round=index,
        order=0,
        phases_ns={},
        warmup_ns=(),
        block_ns=tuple(block_ns),
        calls_per_sample=1,
        cut=None,
        steady=None,
        before=CALM,
        after=CALM,
        valid=True,
        reasons=(),
        slices=slices,
    )


def presence(machine: Machine, random: np.random.Generator, calls: int) -> Floats:
    """Return what neighbours add to the logarithm of the level, call by call."""
    return remembering(math.exp(-machine.changes / CALLS), random, calls) * machine.neighbours


def block(machine: Machine, level: float, random: np.random.Generator) -> list[int]:
    """Return one launch's samples in nanoseconds, taken in one piece."""
    luck = math.exp(random.normal() * machine.launch)
    return samples(machine, level * luck, random, around=presence(machine, random, CALLS))


def samples(machine: Machine, level: float, random: np.random.Generator, *, around: Floats) -> list[int]:
    """Return calls in nanoseconds. around: what the machine adds to each one's logarithm."""
    noise = remembering(machine.memory, random, len(around)) * machine.noise
    disturbed = random.random(len(around)) < machine.disturbed
    times = level * np.exp(noise + around) * np.where(disturbed, 3.0, 1.0)
    return [int(time) for time in times]


def remembering(memory: float, random: np.random.Generator, count: int) -> Floats:
    """Return an AR(1) process of standard deviation 1."""
    shocks = random.normal(size=count)
    shocks[1:] *= math.sqrt(1 - memory**2)
    found: Floats = lfilter([1.0], [1.0, -memory], shocks)
    return found
