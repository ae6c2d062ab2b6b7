"""A contender under load for minutes: the calls of a worker, told window by window, in memory that doesn't grow."""

import itertools
import time
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from edge_runtime import arrivals, throttling
from edge_runtime.arrivals import Sleep
from edge_runtime.environment import Conditions, conditions
from edge_runtime.stats import percentile
from edge_runtime.sustained import Window
from edge_runtime.timing import BlockPlan, Clock, Step, time_group, warm_up

MOST = 1 << 16  # samples of a window that are kept: 512 KiB, and a p90 to a quarter of a per cent of rank


class Thinned:
    """Samples in bounded memory, evenly spread: once full, every second one goes, and of later ones so many are taken.

    What is kept are samples that happened; the largest is kept whatever its place.
    """

    def __init__(self, most: int = MOST) -> None:
        self.kept, self.seen, self.largest = array("q"), 0, 0
        self._most, self._every = most, 1

    def add(self, sample: int) -> None:
        """Take one sample."""
        if self.seen % self._every == 0:
            if len(self.kept) == self._most:
                self.kept = self.kept[::2]
                self._every *= 2
            self.kept.append(sample)
        self.seen += 1
        self.largest = max(self.largest, sample)


def windows(
    turns: Iterator[Step],
    *,
    total_s: float,
    window_s: float,
    rate_per_s: float | None,
    calls_per_sample: int,
    look: Callable[[], Conditions],
    clock: Clock = time.perf_counter_ns,
    sleep: Sleep = time.sleep,
) -> Iterator[Window]:
    """Call the steps in turn for total_s, without a pause or at a rate, and yield each window as it ends.

    calls_per_sample: of calls without a pause, timed in groups as in a block.   look: reads the machine's condition;
    between windows, where no call is due. Each window has one call at least, so that there are fewer windows where
    calls are longer than one.
    """
    at_first, begin = look(), clock()
    for number in itertools.count(1):
        samples, window_begin = Thinned(), clock()
        for sample in _samples(turns, rate_per_s, calls_per_sample, clock, sleep):
            samples.add(max(1, sample))
            if clock() - begin >= number * window_s * 1e9:
                break
        elapsed_ns, now = clock() - window_begin, look()
        yield Window(
            begin_ns=window_begin - begin,
            elapsed_ns=max(1, elapsed_ns),
            calls=samples.seen * (1 if rate_per_s is not None else calls_per_sample),
            p50_ns=percentile(samples.kept, 50),
            p90_ns=percentile(samples.kept, 90),
            max_ns=samples.largest,
            frequency_khz=now.frequency_khz,
            temperature_millicelsius=now.temperature_millicelsius,
            throttled=_throttled(at_first, now),
        )
        if clock() - begin >= total_s * 1e9:
            return


def of_job(steps: Sequence[Step], job: Mapping[str, Any]) -> Iterator[Window]:
    """Warm up, then do what a worker's job asks for."""
    turns = itertools.cycle(steps)
    _, group = warm_up(turns, BlockPlan(**job["block"]))
    return windows(
        turns,
        **job["sustained"],
        rate_per_s=job["scenario"]["rate_per_s"],
        calls_per_sample=group,
        look=partial(conditions, tuple(job["cpus"])),
    )


def _samples(
    turns: Iterator[Step], rate_per_s: float | None, calls_per_sample: int, clock: Clock, sleep: Sleep
) -> Iterator[int]:
    if rate_per_s is None:
        return (time_group(turns, calls_per_sample, clock) for _ in itertools.repeat(None))
    # a schedule of its own for each window: reading sensors between two must not make a call late
    return arrivals.latencies(turns, itertools.repeat(round(1e9 / rate_per_s)), clock, sleep)


def _throttled(at_first: Conditions, now: Conditions) -> bool | None:
    """Return whether something holds the processors back, None where nothing tells."""
    told = []
    if now.throttled_bits is not None:
        told.append(bool(throttling.now(now.throttled_bits)))
    if now.cooling_steps is not None:
        told.append(now.cooling_steps > (at_first.cooling_steps or 0))
    if now.undervoltage is not None:
        told.append(now.undervoltage)
    return any(told) if told else None
