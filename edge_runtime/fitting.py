"""The smallest memory limit under which a contender still runs: found by bisection, each try a fresh process.

It runs when it ends well, answers right, and is at most a tenth slower than without the limit: within too small a
control group a process may go on for ever, reading its own program from disk again and again.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from edge_runtime import decode, warmup
from edge_runtime.confinement import Confinement
from edge_runtime.environment import machine
from edge_runtime.errors import EdgeError, SelfCheckFailed, WorkerLost
from edge_runtime.fits import CGROUP, Fit, FitTry
from edge_runtime.plan import LAUNCH_TIMEOUT_S, Entry
from edge_runtime.samples import MAX_SAMPLES
from edge_runtime.stats import percentile
from edge_runtime.units import duration, visible

MIB = 2**20
GUESS_BYTES = 64 * MIB  # where a search begins when nothing is known: a Python with an engine
MOST_BYTES = 2**44  # 16 TiB, where the search of an address space ends
STEP = 64 * 1024  # limits are whole pages, whose size is up to this
SHARE = 0.02  # of the limit, to which it is found; or to 1 MiB
SLOWER = 1.1  # than without the limit: then what it does is no longer what was measured
CONFIRMATIONS = 2  # further launches at the limit that was found: where memory lies differs from start to start
ENOUGH = 60  # tries: twice what the longest search takes of a contender that either runs or doesn't
KILLED, MAX_REASON = "SIGKILL", 1900
PATIENCE = 10  # times what a launch takes without a limit: one that needs longer only reads its pages again

Launch = Callable[[Entry, float], Mapping[str, Mapping[str, Any]]]


def fit(entry: Entry, confinement: Confinement, launch: Launch, *, guess_bytes: int, only: int | None = None) -> Fit:
    """Find the smallest limit for a contender, or try one.

    launch: starts a worker of an entry that times a block, with a deadline in seconds; returns what it told.
    guess_bytes: where to begin.   only: the one limit to try, None to search.
    Raises what a launch without a limit raises.
    """
    trial = _Trial(entry, confinement, launch)
    if only is None:
        most = machine().ram_bytes if confinement.mechanism == CGROUP else None
        limit, tried = smallest(trial, guess_bytes=guess_bytes, most_bytes=most or MOST_BYTES)
    else:
        tried = (trial(only),)
        limit = only if tried[0].ran else None
    return Fit(contender=entry.name, mechanism=confinement.mechanism, limit_bytes=limit, tried=tried)


def smallest(
    trial: Callable[[int], FitTry], *, guess_bytes: int, most_bytes: int
) -> tuple[int | None, tuple[FitTry, ...]]:
    """Return the smallest limit that a trial passes, to within 1 MiB or 2 %, and all that was tried.

    Up from the guess by doubling until one passes, then bisection between the largest that failed and the smallest
    above it, which must pass again to be the answer. None where nothing up to most_bytes passes.
    """
    tried: list[FitTry] = []
    limit, high = _whole(min(guess_bytes, most_bytes)), None
    while len(tried) < ENOUGH:
        tried.append(trial(limit))
        low = max((one.limit_bytes for one in tried if not one.ran), default=0)
        high = min((one.limit_bytes for one in tried if one.ran and one.limit_bytes > low), default=None)
        if high is None and low >= most_bytes:
            break
        if high is None:
            limit = min(2 * low, most_bytes)
        elif high - low > max(MIB, high * SHARE):
            limit = _whole((low + high) // 2)
        elif sum(one.limit_bytes == high for one in tried) > CONFIRMATIONS:
            break
        else:
            limit = high
    return high, tuple(tried)


def _whole(limit: int) -> int:
    return max(STEP, math.ceil(limit / STEP) * STEP)


class _Trial:
    """Tries of one contender, each held against launches without a limit."""

    def __init__(self, entry: Entry, confinement: Confinement, launch: Launch) -> None:
        self._entry, self._confinement, self._launch = entry, confinement, launch
        begin = time.monotonic()
        self._usual_ns = self._p50_ns(entry, LAUNCH_TIMEOUT_S)
        self._deadline_s = min(LAUNCH_TIMEOUT_S, PATIENCE * (time.monotonic() - begin))

    def __call__(self, limit: int) -> FitTry:
        p50_ns = 0
        for _ in range(2):
            try:
                command = self._confinement.within(self._entry.command, limit)
                p50_ns = self._p50_ns(replace(self._entry, command=command), self._deadline_s)
            except EdgeError as error:
                reason = visible(error.what)[:MAX_REASON]
                if KILLED in reason and self._confinement.mechanism == CGROUP:
                    reason += ", as the kernel does where a control group is full"
                return FitTry(limit_bytes=limit, ran=False, p50_ns=None, reason=reason)
            if p50_ns > SLOWER * self._usual_ns:
                # it may be the machine that has become slower, not the contender
                self._usual_ns = self._p50_ns(self._entry, LAUNCH_TIMEOUT_S)
            if p50_ns <= SLOWER * self._usual_ns:
                return FitTry(limit_bytes=limit, ran=True, p50_ns=p50_ns, reason="")
        slower = f"p50 {duration(p50_ns)}, without the limit {duration(self._usual_ns)}"
        return FitTry(limit_bytes=limit, ran=False, p50_ns=p50_ns, reason=slower)

    def _p50_ns(self, entry: Entry, timeout_s: float) -> int:
        told = self._launch(entry, timeout_s)
        if told.get("answers", {}).get("agree") is False:
            raise SelfCheckFailed("it answers wrongly", entry.name, "")
        block = decode.Fields(told.get("timing"), entry.name, "timing", WorkerLost).integers(
            "block_ns", limit=MAX_SAMPLES, low=1
        )
        if not block:
            raise WorkerLost("it timed nothing", entry.name, "")
        return percentile(block[warmup.judge(block).cut :], 50)
