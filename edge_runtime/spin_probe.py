"""How fast is the processor right now? A fixed piece of work, for machines that hide their clock and temperature.

Timed before and after each block; against the best of all launches it shows a clock that was lowered, or a neighbour
that takes the core. After AndroidX's ThrottleDetector, which compares a fixed loop with its first time.
"""

import time
from collections.abc import Callable

from edge_runtime.timing import Clock

LOOPS, REPEATS = 50_000, 5  # some 3 ms each on a desktop core; the least of five is the clock's, not an interrupt's
LEFT = 0.5


def spin_ns(clock: Clock = time.perf_counter_ns, work: Callable[[], object] | None = None) -> int:
    """Return the least time of `REPEATS` pieces of the fixed work, in nanoseconds."""
    spin = work or _spin
    times = []
    for _ in range(REPEATS):
        begin = clock()
        spin()
        times.append(clock() - begin)
    return max(1, min(times))


def _spin() -> float:
    whole, part = 1, LEFT
    for _ in range(LOOPS):  # integers and floats, in registers and the first cache
        whole = (whole * 1103515245 + 12345) & 0x7FFFFFFF
        part = part * 0.999 + LEFT
    return whole + part
