"""Our runtime, made slower by a known share: what `make power-test` plants for the statistics to find."""

import time
from collections.abc import Mapping
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

from edge_runtime.contender import Contender, EdgeContender, Job, Step

if TYPE_CHECKING:
    from edge_runtime.npz import Array

CALLS = 101  # whose median is what a call takes here; the first half warms up


class Slower(EdgeContender):
    """Burns `share` of what a call takes after each call."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._share = float(job.options["share"])

    def prepare(self, inputs: "Mapping[str, Array]") -> Step:
        """Bind the inputs, see what a call takes, and return the call with the burning behind it."""
        step = super().prepare(inputs)
        times = [_timed(step) for _ in range(CALLS)]
        return partial(_slowed, step, round(median(times[CALLS // 2 :]) * self._share))


def _slowed(step: Step, more_ns: int) -> object:
    answer = step()
    until = time.perf_counter_ns() + more_ns
    while time.perf_counter_ns() < until:
        pass
    return answer


def _timed(step: Step) -> int:
    begin = time.perf_counter_ns()
    step()
    return time.perf_counter_ns() - begin


def open_contender(job: Job) -> Contender:
    """Return our runtime, slowed by the job's option `share`."""
    return Slower(job)
