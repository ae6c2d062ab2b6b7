"""The processors of a machine: model, clusters of like cores with their clocks, instruction-set flags."""

from collections.abc import Sequence
from dataclasses import dataclass

from edge_runtime.tree import Tree, as_integer, cpu_list

CPUS = "sys/devices/system/cpu"
LEAST_CLOCK = 0.9  # of the fastest's, of cores that are still of its kind

# "CPU implementer" and "CPU part" of /proc/cpuinfo on arm64.   Source: Linux, arch/arm64/include/asm/cputype.h
ARM_CORES = {
    (0x41, 0xD03): "Cortex-A53",
    (0x41, 0xD04): "Cortex-A35",
    (0x41, 0xD05): "Cortex-A55",
    (0x41, 0xD07): "Cortex-A57",
    (0x41, 0xD08): "Cortex-A72",
    (0x41, 0xD09): "Cortex-A73",
    (0x41, 0xD0A): "Cortex-A75",
    (0x41, 0xD0B): "Cortex-A76",
    (0x41, 0xD0C): "Neoverse-N1",
    (0x41, 0xD0D): "Cortex-A77",
    (0x41, 0xD40): "Neoverse-V1",
    (0x41, 0xD41): "Cortex-A78",
    (0x41, 0xD42): "Cortex-A78AE",
    (0x41, 0xD44): "Cortex-X1",
    (0x41, 0xD46): "Cortex-A510",
    (0x41, 0xD47): "Cortex-A710",
    (0x41, 0xD48): "Cortex-X2",
    (0x41, 0xD49): "Neoverse-N2",
    (0x41, 0xD4D): "Cortex-A715",
    (0x41, 0xD4E): "Cortex-X3",
    (0x41, 0xD80): "Cortex-A520",
    (0x41, 0xD81): "Cortex-A720",
    (0x41, 0xD82): "Cortex-X4",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Cores of one kind, with the clock of their first one in kHz; None where the machine doesn't tell.

    capacity: the kernel's relative speed, 1024 for the fastest core.   lowest, highest: what the hardware can.
    limit_low, limit_high: what the governor may choose from at present.
    """

    cpus: tuple[int, ...]
    core: str | None
    capacity: int | None
    governor: str | None
    current_khz: int | None
    lowest_khz: int | None
    highest_khz: int | None
    limit_low_khz: int | None
    limit_high_khz: int | None


def cpus(tree: Tree) -> tuple[int, ...]:
    """Return the CPUs the kernel knows, online or not; empty where /sys shows none."""
    return tuple(int(name[3:]) for name in tree.names(CPUS, "cpu[0-9]*") if name[3:].isdecimal())


def clusters(tree: Tree) -> tuple[Cluster, ...]:
    """Return the clusters, fastest first.

    Told apart by cpu_capacity; where a CPU has none, by the CPUs that share a clock and its highest value; else all
    are one.   Source: Documentation/ABI/testing/sysfs-devices-system-cpu (cpu_capacity),
    Documentation/admin-guide/pm/cpufreq.rst (related_cpus, cpuinfo_max_freq).
    """
    known = cpus(tree)
    capacities = {cpu: tree.integer(f"{CPUS}/cpu{cpu}/cpu_capacity") for cpu in known}
    cores = _cores(tree)
    groups: dict[object, list[int]] = {}
    for cpu in known:
        shared = cpu_list(tree.text(f"{CPUS}/cpu{cpu}/cpufreq/related_cpus"))
        highest = tree.integer(f"{CPUS}/cpu{cpu}/cpufreq/cpuinfo_max_freq")
        by_clock = (shared, highest) if shared else None
        groups.setdefault(by_clock if None in capacities.values() else capacities[cpu], []).append(cpu)
    found = [_cluster(tree, tuple(group), capacities[group[0]], cores.get(group[0])) for group in groups.values()]
    return tuple(sorted(found, key=lambda one: (-(one.capacity or 0), -(one.highest_khz or 0), one.cpus)))


def fastest(tree: Tree, available: Sequence[int]) -> tuple[int, ...]:
    """Return those of the available CPUs that are of the fastest kind; all of them where nothing tells them apart.

    By capacity where the kernel tells it. By highest clock else, where cores of one kind may differ by a tenth: each
    of a PC's has a clock of its own, and a few are allowed a little more.
    """
    found = clusters(tree)
    if not found:
        return tuple(available)
    top = found[0]
    if top.capacity is not None:
        like = [one for one in found if one.capacity == top.capacity]
    else:
        like = [one for one in found if (one.highest_khz or 0) >= LEAST_CLOCK * (top.highest_khz or 0)]
    fast = {cpu for one in like for cpu in one.cpus}
    return tuple(cpu for cpu in available if cpu in fast) or tuple(available)


def choose(tree: Tree, available: Sequence[int], count: int) -> tuple[int, ...]:
    """Return so many of the available CPUs to measure on: the fastest kind first, and of these the last.

    The first CPU serves most interrupts. Fewer than asked for where there are fewer.
    """
    fast = fastest(tree, available)
    speeds = {cpu: (one.capacity or 0, one.highest_khz or 0) for one in clusters(tree) for cpu in one.cpus}
    slow = sorted((cpu for cpu in available if cpu not in fast), key=lambda cpu: speeds.get(cpu, (0, 0)))
    return tuple(sorted([*slow, *fast][-count:]))


def sweep(count: int) -> tuple[int, ...]:
    """Return the thread counts that show how so many CPUs scale: 1, 2, 4 and so on, and all of them."""
    return tuple(sorted({*(1 << power for power in range(count.bit_length())), count}))


def model(tree: Tree) -> str | None:
    """Return what the machine calls itself: the device tree's board, else the CPU's name."""
    board = tree.text("sys/firmware/devicetree/base/model") or tree.text("proc/device-tree/model")
    return board or _first_field(tree, "model name") or _first_field(tree, "Hardware")


def flags(tree: Tree) -> tuple[str, ...]:
    """Return the instruction-set flags of the first processor, sorted: "avx2" and the like, or arm64's "asimddp"."""
    text = _first_field(tree, "flags") or _first_field(tree, "Features") or ""
    return tuple(sorted(text.split()))


def _cluster(tree: Tree, group: tuple[int, ...], capacity: int | None, core: str | None) -> Cluster:
    policy = f"{CPUS}/cpu{group[0]}/cpufreq"
    return Cluster(
        cpus=group,
        core=core,
        capacity=capacity,
        governor=tree.text(f"{policy}/scaling_governor"),
        current_khz=tree.integer(f"{policy}/scaling_cur_freq"),
        lowest_khz=tree.integer(f"{policy}/cpuinfo_min_freq"),
        highest_khz=tree.integer(f"{policy}/cpuinfo_max_freq"),
        limit_low_khz=tree.integer(f"{policy}/scaling_min_freq"),
        limit_high_khz=tree.integer(f"{policy}/scaling_max_freq"),
    )


def _cores(tree: Tree) -> dict[int, str]:
    found: dict[int, str] = {}
    cpu = implementer = None
    for name, value in _cpuinfo(tree):
        if name == "processor":
            cpu, implementer = as_integer(value), None
        elif name == "CPU implementer":
            implementer = as_integer(value, 16)
        elif name == "CPU part" and cpu is not None and implementer is not None:
            part = as_integer(value, 16) or 0
            found[cpu] = ARM_CORES.get((implementer, part), f"implementer {implementer:#x} part {part:#x}")
    return found


def _first_field(tree: Tree, wanted: str) -> str | None:
    return next((value for name, value in _cpuinfo(tree) if name == wanted and value), None)


def _cpuinfo(tree: Tree) -> list[tuple[str, str]]:
    lines = (line.partition(":") for line in (tree.text("proc/cpuinfo") or "").splitlines())
    return [(name.strip(), value.strip()) for name, _, value in lines]
