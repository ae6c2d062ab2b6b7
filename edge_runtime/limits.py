"""What a container or a service manager lets this process have: control groups, version 1, 2 and both at once."""

from dataclasses import dataclass
from pathlib import PurePosixPath

from edge_runtime.tree import Tree, as_integer

GROUPS = "sys/fs/cgroup"
UNLIMITED_BYTES = 1 << 60  # version 1 writes "no limit" as the largest multiple of a page below 2^63


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The tightest limits on this process; None where there is none, or none that can be seen.

    cpu_hundredths: CPU time a time, in hundredths of one CPU: 150 is one CPU and a half.
    memory_bytes: more than that and the kernel kills.
    """

    cpu_hundredths: int | None
    memory_bytes: int | None


def limits(tree: Tree) -> Limits:
    """Return the limits of this process's groups and of all groups above them.

    Sources: Documentation/admin-guide/cgroup-v2.rst (cpu.max, memory.max),
    Documentation/scheduler/sched-bwc.rst (cpu.cfs_quota_us), admin-guide/cgroup-v1/memory.rst.
    """
    quotas: list[int | None] = []
    memories: list[int | None] = []
    for line in (tree.text("proc/self/cgroup") or "").splitlines():
        number, _, rest = line.partition(":")
        names, _, place = rest.partition(":")
        if number == "0" and not names:
            base = GROUPS if tree.text(f"{GROUPS}/cgroup.controllers") else f"{GROUPS}/unified"
            quotas += [_quota(*_pair(tree.text(f"{folder}/cpu.max"))) for folder in _upwards(base, place)]
            memories += [tree.integer(f"{folder}/memory.max") for folder in _upwards(base, place)]
        if "cpu" in names.split(","):
            for folder in _upwards(f"{GROUPS}/{names}", place):
                quota, period = tree.integer(f"{folder}/cpu.cfs_quota_us"), tree.integer(f"{folder}/cpu.cfs_period_us")
                quotas.append(_quota(quota, period))
        if "memory" in names.split(","):
            memories += [
                tree.integer(f"{folder}/memory.limit_in_bytes") for folder in _upwards(f"{GROUPS}/{names}", place)
            ]
    return Limits(
        cpu_hundredths=min((quota for quota in quotas if quota is not None), default=None),
        memory_bytes=min((size for size in memories if size is not None and 0 < size < UNLIMITED_BYTES), default=None),
    )


def oom_kills(tree: Tree) -> int:
    """Return how many processes of this process's memory group, and of the groups below it, the kernel ended.

    Sources: Documentation/admin-guide/cgroup-v2.rst (memory.events), cgroup-v1/memory.rst (memory.oom_control).
    """
    counts = []
    for line in (tree.text("proc/self/cgroup") or "").splitlines():
        number, _, rest = line.partition(":")
        names, _, place = rest.partition(":")
        if number == "0" and not names:
            base = GROUPS if tree.text(f"{GROUPS}/cgroup.controllers") else f"{GROUPS}/unified"
            counts += [tree.text(f"{folder}/memory.events") for folder in _upwards(base, place)]
        if "memory" in names.split(","):
            counts += [tree.text(f"{folder}/memory.oom_control") for folder in _upwards(f"{GROUPS}/{names}", place)]
    lines = [line.split() for text in counts for line in (text or "").splitlines()]
    return max((as_integer(words[-1]) or 0 for words in lines if words[:1] == ["oom_kill"]), default=0)


def group_parents(tree: Tree) -> tuple[str, ...]:
    """Return the folders in which a memory group for a child of this process may be made, nearest first.

    Version 2 alone, whose groups are handed to users; a group with processes of its own has no groups that count
    memory below it, so that it is most often the one above.   Source: Documentation/admin-guide/cgroup-v2.rst
    (cgroup.subtree_control, "No Internal Process Constraint", "Delegation").
    """
    for line in (tree.text("proc/self/cgroup") or "").splitlines():
        if line.startswith("0::") and tree.text(f"{GROUPS}/cgroup.controllers"):
            folders = _upwards(GROUPS, line.removeprefix("0::"))[:2]
            return tuple(
                one for one in folders if "memory" in (tree.text(f"{one}/cgroup.subtree_control") or "").split()
            )
    return ()


def _upwards(base: str, place: str) -> list[str]:
    # inside a container the kernel may show the host's path, of which only the mount's own root is there
    path = PurePosixPath(place.lstrip("/"))
    inner = [] if ".." in path.parts else [str(PurePosixPath(base, part)) for part in (path, *path.parents)]
    return list(dict.fromkeys([*inner, base]))


def _pair(text: str | None) -> tuple[int | None, int | None]:
    quota, _, period = (text or "").partition(" ")  # "max 100000" is no limit
    return as_integer(quota), as_integer(period)


def _quota(quota_us: int | None, period_us: int | None) -> int | None:
    if quota_us is None or period_us is None or quota_us <= 0 or period_us <= 0:
        return None
    return max(1, round(100 * quota_us / period_us))
