"""Is this host busy with something else? The one door to psutil. A doubtful host is a warning, never an error."""

import time
from collections.abc import Iterable

import psutil

LOOK_S = 0.3  # the kernel counts in ticks of 10 ms: over this long one tick is 3 % of a CPU
BUSY = "the machine was busy before the run"
BUSY_SHARE = 0.2  # of one CPU; what idle desktops and daemons use stays below


def busy_warning(processes: Iterable[psutil.Process] | None = None, *, look_s: float = LOOK_S) -> str | None:
    """Return a sentence naming the busiest other process, or None when others leave the CPUs alone.

    processes: whom to watch for `look_s` seconds; None means all but this one and its ancestors (shell, make).
    """
    watched = _others() if processes is None else processes
    before = {process: _cpu_s(process) for process in watched}
    begin = time.monotonic()
    time.sleep(look_s)
    spent_s = time.monotonic() - begin
    # a process that ended meanwhile reads 0, which makes its share negative: it will not disturb any more
    shares = {process: (_cpu_s(process) - used) / spent_s for process, used in before.items()}
    busiest = max(shares, key=lambda process: shares[process], default=None)
    total = sum(share for share in shares.values() if share > 0)
    if busiest is None or total < BUSY_SHARE:
        return None
    return (
        f"{BUSY}: other processes used {total:.1f} CPUs, most of all {_name(busiest)} "
        f"(pid {busiest.pid}) with {shares[busiest]:.1f}; end them and measure again"
    )


def _others() -> list[psutil.Process]:
    own = psutil.Process()
    try:
        lineage = {own.pid, *(parent.pid for parent in own.parents())}
    except psutil.Error:
        lineage = {own.pid}
    return [process for process in psutil.process_iter() if process.pid not in lineage]


def _cpu_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


def _name(process: psutil.Process) -> str:
    try:
        return str(process.name())
    except psutil.Error:
        return "one that has ended"
