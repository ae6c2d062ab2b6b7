"""Calls that arrive by a schedule, not when the last one is done: periodic, or at random (server).

A latency counts from when the call was due. A loop that starts its clock when it gets round to a call leaves out the
waiting of all calls behind a slow one ("coordinated omission"), and would call a machine fit that drops frames.
"""

import itertools
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from edge_runtime.errors import UsageError
from edge_runtime.stats import percentile
from edge_runtime.timing import Block, BlockPlan, Clock, Step, warm_up

SPIN_NS = 200_000  # a sleep wakes up to that late; the rest of a wait is spun, and short of raising the clock
TAIL_RANK = 99  # of which the target is: p99 <= target
PROBE_CALLS = 400  # of each rate tried: 368 bound a p99 from both sides
CONFIRMATIONS = 3  # with arrivals of their own, that the rate found must pass
HALVINGS = 7  # of the span from nothing to what the service time allows: to within 1 %
STEP_DOWN = 0.95  # when a confirmation fails
LEAST_SHARE = 0.01  # of what the service time allows: a target that fails even there can't be met

Sleep = Callable[[float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What a search for the largest rate found: the rate, 0 where none meets the target, and how it was confirmed."""

    rate_per_s: float
    block: Block


def take_periodic(
    steps: Sequence[Step],
    plan: BlockPlan,
    rate_per_s: float,
    *,
    clock: Clock = time.perf_counter_ns,
    sleep: Sleep = time.sleep,
    ready: Callable[[], object] = lambda: None,
) -> Block:
    """Warm up, then call the steps in turn every 1 / rate seconds; samples are nanoseconds from when each call was due.

    The block lasts as `plan` says. A call that is still running when the next is due delays it, and that counts.
    ready: called when the warm-up is over.
    """
    _refuse_rate(rate_per_s)
    turns = itertools.cycle(steps)
    warmup, _ = warm_up(turns, plan, clock=clock)
    ready()
    begin = clock()
    samples: list[int] = []
    for latency in latencies(turns, itertools.repeat(round(1e9 / rate_per_s)), clock, sleep):
        samples.append(latency)
        elapsed = clock() - begin
        if len(samples) >= plan.max_samples or (len(samples) >= plan.min_samples and elapsed >= plan.block_s * 1e9):
            break
    return Block(warmup_ns=warmup, block_ns=tuple(samples), calls_per_sample=1)


def find_rate(
    steps: Sequence[Step],
    plan: BlockPlan,
    target_ns: int,
    seed: int,
    *,
    clock: Clock = time.perf_counter_ns,
    sleep: Sleep = time.sleep,
    ready: Callable[[], object] = lambda: None,
) -> Served:
    """Return the largest rate of random arrivals (Poisson) at which p99 stays within the target.

    Bisection between nothing and one call after the other; the rate found must pass `CONFIRMATIONS` runs with other
    arrivals, or it is lowered until it does. The block holds the confirming runs' latencies.   ready: called when the
    warm-up is over.
    """
    if target_ns < 1:
        raise UsageError(f"a target of {target_ns} ns", "the scenario", "give a time, such as --target 30ms")
    turns = itertools.cycle(steps)
    warmup, _ = warm_up(turns, plan, clock=clock)
    ready()
    most = 1e9 / max(1, percentile(warmup, 50))
    seeds = itertools.count(seed)
    low, high = 0.0, most
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if _passes(_probe(turns, middle, target_ns, seed=next(seeds), clock=clock, sleep=sleep), target_ns):
            low = middle
        else:
            high = middle
    rate = low
    while rate > LEAST_SHARE * most:
        runs: list[tuple[int, ...]] = []
        for _ in range(CONFIRMATIONS):
            runs.append(_probe(turns, rate, target_ns, seed=next(seeds), clock=clock, sleep=sleep))
            if not _passes(runs[-1], target_ns):
                break
        else:
            samples = tuple(itertools.chain.from_iterable(runs))
            return Served(rate_per_s=rate, block=Block(warmup_ns=warmup, block_ns=samples, calls_per_sample=1))
        rate *= STEP_DOWN
    # what one call after the other takes is all that can be told of a target below it
    return Served(rate_per_s=0.0, block=Block(warmup_ns=warmup, block_ns=warmup, calls_per_sample=1))


def _probe(
    turns: Iterator[Step], rate_per_s: float, target_ns: int, *, seed: int, clock: Clock, sleep: Sleep
) -> tuple[int, ...]:
    """Return the latencies of `PROBE_CALLS` arrivals, or of fewer once too many have missed the target."""
    chance = random.Random(seed)  # noqa: S311 - arrivals, no secrets
    gaps = (max(1, round(chance.expovariate(rate_per_s) * 1e9)) for _ in range(PROBE_CALLS))
    samples: list[int] = []
    missed = 0
    for latency in latencies(turns, gaps, clock, sleep):
        samples.append(latency)
        missed += latency > target_ns
        if missed * 100 > PROBE_CALLS * (100 - TAIL_RANK):
            break
    return tuple(samples)


def _passes(samples: tuple[int, ...], target_ns: int) -> bool:
    return len(samples) == PROBE_CALLS and percentile(samples, TAIL_RANK) <= target_ns


def latencies(turns: Iterator[Step], gaps_ns: Iterable[int], clock: Clock, sleep: Sleep) -> Iterator[int]:
    """Call the next step after each gap; yield the nanoseconds from when each call was due to its end."""
    due = clock()
    for gap, step in zip(gaps_ns, turns):  # noqa: B905 - turns have no end
        due += gap
        while (left := due - clock()) > 0:
            if left > SPIN_NS:
                sleep((left - SPIN_NS) / 1e9)
        step()
        yield max(1, clock() - due)


def _refuse_rate(rate_per_s: float) -> None:
    if not 0 < rate_per_s <= 1e6:  # noqa: PLR2004 - a call a microsecond: nothing here is faster
        raise UsageError(f"a rate of {rate_per_s} a second", "the scenario", "give calls a second: --rate 30")
