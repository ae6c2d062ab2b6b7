"""The measuring loop: warm up, then sample. It knows callables and a clock, so every contender is timed by it.

Calls with different inputs take turns. Whose turn it is is settled before the clock is read, and a group is a list that
was made before, so that turns cost a sample nothing, with one input and with many.
"""

import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from edge_runtime import warmup
from edge_runtime.errors import UnsupportedSystem, UsageError

Clock = Callable[[], int]  # monotonic nanoseconds
Step = Callable[[], object]

# Reading the clock twice costs about 0.1 us; in a sample of 20 us that is half a per cent.
GROUP_NS = 20_000
SETTLE_NS = 5_000_000  # what refilling caches and waking threads may take after a pause, uncounted


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockPlan:
    """How one block is taken.

    Warm up for at least `warmup_s` seconds and `warmup_calls` calls; then sample until `block_s` have passed and
    `min_samples` are there, or until `max_samples` are. A block whose level changes late is taken as long again, once.
    slices: in how many pieces it is taken, where contenders take turns within a round.
    """

    warmup_s: float = 0.5
    warmup_calls: int = 5
    block_s: float = 1.0
    min_samples: int = 40
    max_samples: int = 2000
    slices: int = 40

    def __post_init__(self) -> None:
        """Refuse a plan that would measure nothing."""
        if (
            self.warmup_s < 0
            or self.warmup_calls < 1
            or self.block_s < 0
            or not 1 <= self.min_samples <= self.max_samples
            or self.slices < 1
        ):
            raise UsageError(
                f"a block of {self}", "timing.BlockPlan", "ask for at least one warm-up call and one sample"
            )

    @property
    def one_slice(self) -> "BlockPlan":
        """The plan of one piece of the block."""
        least = math.ceil(self.min_samples / self.slices)
        most = max(least, self.max_samples // self.slices)
        return replace(self, block_s=self.block_s / self.slices, min_samples=least, max_samples=most, slices=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """What was measured, in order of time; each value is nanoseconds a call.

    Calls of a few microseconds are timed in groups of `calls_per_sample`, and a value is the group's time divided
    by it. The warm-up is kept: whether it was long enough is judged from it, afterwards.
    slices: how many samples each piece has; empty of a block in one piece.
    """

    warmup_ns: tuple[int, ...]
    block_ns: tuple[int, ...]
    calls_per_sample: int
    slices: tuple[int, ...] = ()


def take_block(
    steps: Sequence[Step],
    plan: BlockPlan,
    *,
    clock: Clock = time.perf_counter_ns,
    ready: Callable[[], object] = lambda: None,
    extend: bool = True,
) -> Block:
    """Warm up and sample the steps, which take turns; whatever they raise goes through.

    ready: called between the two, to wait for whoever is to be timed at the same time.   extend: whether a block whose
    level changes in its second half is taken as long again, once.

    Raises UnsupportedSystem when the clock goes backwards, which no sample can be taken by.
    """
    turns = itertools.cycle(steps)
    spent_ns, group = warm_up(turns, plan, clock=clock)
    ready()
    samples = _sampled(turns, group, plan, clock)
    if extend and warmup.ends_late(samples):
        samples += _sampled(turns, group, plan, clock)
    return Block(warmup_ns=spent_ns, block_ns=tuple(samples), calls_per_sample=group)


class SlicedBlock:
    """A block in pieces, with pauses between them in which others are timed; warmed up when it is made."""

    def __init__(self, steps: Sequence[Step], plan: BlockPlan, *, clock: Clock = time.perf_counter_ns) -> None:
        self._turns, self._plan, self._clock = itertools.cycle(steps), plan.one_slice, clock
        self._warmup, self._group = warm_up(self._turns, plan, clock=clock)
        self._samples: list[int] = []
        self._slices: list[int] = []

    def take_slice(self) -> None:
        """Sample one piece, after calls that are not counted: after a pause the first find cold caches."""
        begin = self._clock()
        if min(self._warmup) < SETTLE_NS:  # longer calls fill their caches within themselves
            while self._clock() - begin < SETTLE_NS:
                next(self._turns)()
        taken = _sampled(self._turns, self._group, self._plan, self._clock)
        self._samples += taken
        self._slices.append(len(taken))

    def block(self) -> Block:
        """Return what was taken so far."""
        return Block(
            warmup_ns=self._warmup,
            block_ns=tuple(self._samples),
            calls_per_sample=self._group,
            slices=tuple(self._slices),
        )


def _sampled(turns: Iterator[Step], group: int, plan: BlockPlan, clock: Clock) -> list[int]:
    samples: list[int] = []
    begin = clock()
    while len(samples) < plan.max_samples and (len(samples) < plan.min_samples or clock() - begin < plan.block_s * 1e9):
        samples.append(time_group(turns, group, clock))
    return samples


def warm_up(
    turns: Iterator[Step], plan: BlockPlan, *, clock: Clock = time.perf_counter_ns
) -> tuple[tuple[int, ...], int]:
    """Call the steps in turn for the plan's warm-up.

    Returns its samples, and how many calls a sample of the block should have.
    """
    begin = clock()
    spent = [time_group(turns, 1, clock) for _ in range(plan.warmup_calls)]
    # the least disturbed call decides the group: a slow first one must not make the groups too small
    group = max(1, GROUP_NS // max(1, min(spent)))
    # a warm-up is evidence, not data: of fast calls, as many groups are stored as of the block, at most
    warmup_group = max(group, round(plan.warmup_s * 1e9 / plan.max_samples / max(1, min(spent))))
    while clock() - begin < plan.warmup_s * 1e9:
        spent.append(time_group(turns, warmup_group, clock))
    return tuple(spent), group


def time_group(turns: Iterator[Step], calls: int, clock: Clock) -> int:
    """Make so many calls, in turn, and return the nanoseconds of one."""
    if calls == 1:
        step = next(turns)
        begin = clock()
        step()
        spent = clock() - begin
    else:
        group = list(itertools.islice(turns, calls))
        begin = clock()
        for step in group:
            step()
        spent = clock() - begin
    if spent < 0:
        raise UnsupportedSystem(
            f"the clock went back by {-spent} ns within a call",
            "timing",
            "see: cat /sys/devices/system/clocksource/clocksource0/current_clocksource",
        )
    return spent if calls == 1 else round(spent / calls)
