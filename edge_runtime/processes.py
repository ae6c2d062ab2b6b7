"""Who else uses the processors: CPU time of all processes, read twice."""

from collections.abc import Mapping
from dataclasses import dataclass

from edge_runtime.tree import Tree, as_integer

# USER_HZ, the unit of times in /proc, is 100 on x86 and arm.   Source: Linux, include/asm-generic/param.h
MS_PER_TICK = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process at a moment. started: in ticks since boot, tells a reused number apart."""

    pid: int
    name: str
    started: int
    cpu_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """A process and its share of one CPU, in hundredths, over an interval."""

    pid: int
    name: str
    cpu_hundredths: int


def processes(tree: Tree) -> Mapping[int, Process]:
    """Return all processes that can be seen, by number."""
    found = (process(tree, name) for name in tree.names("proc", "[0-9]*"))
    return {one.pid: one for one in found if one is not None}


def process(tree: Tree, name: str) -> Process | None:
    """Return one process by its name in /proc, a number or "self"; None when it is gone.

    Source: proc_pid_stat(5). A program chooses its own name, so only the last parenthesis ends it.
    """
    head, _, tail = (tree.text(f"proc/{name}/stat") or "").rpartition(")")
    number, _, called = head.partition("(")
    values = [as_integer(word) for word in tail.split()]
    pid = as_integer(number.strip())
    # fields 14, 15 and 22 of the manual; `values` begins with field 3
    picked = [values[place] if len(values) > place else None for place in (11, 12, 19)]
    if pid is None or None in picked:
        return None
    user, system, started = (value or 0 for value in picked)
    return Process(pid=pid, name=called, started=started, cpu_ms=(user + system) * MS_PER_TICK)


def busy(
    before: Mapping[int, Process], after: Mapping[int, Process], *, elapsed_ms: int, without: int | None = None
) -> tuple[Busy, ...]:
    """Return the processes that used CPU time between two readings, busiest first. without: a pid to leave out."""
    found = []
    for pid, now in after.items():
        then = before.get(pid)
        used = now.cpu_ms - (then.cpu_ms if then is not None and then.started == now.started else 0)
        if used > 0 and pid != without and elapsed_ms > 0:
            found.append(Busy(pid=pid, name=now.name, cpu_hundredths=round(100 * used / elapsed_ms)))
    return tuple(sorted(found, key=lambda one: (-one.cpu_hundredths, one.pid)))
