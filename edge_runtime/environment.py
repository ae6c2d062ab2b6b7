"""Facts about the machine and its condition: what a number was measured on, and in what state it was.

Everything is read from a `Tree`, so that tests replay other machines.
"""

import hashlib
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from edge_runtime import processors, throttling
from edge_runtime.processes import MS_PER_TICK, process
from edge_runtime.tree import Tree, as_integer

GIB = 2**30
KIB = 1024  # the unit /proc calls "kB"
HERE = Tree()
# of `Conditions`: what only grows
COUNTERS = (
    "uptime_ms",
    "busy_ms",
    "steal_ms",
    "own_ms",
    "pressure_cpu_us",
    "pressure_memory_us",
    "involuntary_switches",
    "major_faults",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What stays the same: the key compares machines and leaves out whatever a reboot or an update changes."""

    key: str
    model: str
    cores: int
    ram_bytes: int | None
    kernel: str
    libc: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What changes from minute to minute; None where the machine doesn't tell.

    Of the CPUs used: governor, and mean clocks (frequency_khz now; floor and limit: what the governor may choose, the
    limit without a turbo, which no processor promises to hold).
    temperature_millicelsius: the hottest thermal zone.   load_1m_hundredths: the one-minute load average times 100.
    throttled_bits, cooling_steps, undervoltage: see `throttling`.
    Counters, to be compared with an earlier reading: uptime_ms; busy_ms and steal_ms, of all CPUs since boot;
    own_ms, CPU time of this process; pressure_cpu_us and pressure_memory_us, in which some task had to wait;
    involuntary_switches and major_faults of this process.
    swapped_bytes: of this process.
    """

    governor: str | None = None
    frequency_khz: int | None = None
    frequency_floor_khz: int | None = None
    frequency_limit_khz: int | None = None
    temperature_millicelsius: int | None = None
    throttled_bits: int | None = None
    cooling_steps: int | None = None
    undervoltage: bool | None = None
    load_1m_hundredths: int | None = None
    uptime_ms: int | None = None
    busy_ms: int | None = None
    steal_ms: int | None = None
    own_ms: int | None = None
    pressure_cpu_us: int | None = None
    pressure_memory_us: int | None = None
    involuntary_switches: int | None = None
    major_faults: int | None = None
    swapped_bytes: int | None = None


def machine(tree: Tree = HERE) -> Machine:
    """Return this machine's facts; a test passes a recorded tree."""
    # what this interpreter knows is of the machine it runs on, and nothing of a replayed one
    own = (platform.processor() or platform.machine(), os.cpu_count(), platform.release(), _libc())
    own_model, own_cores, own_kernel, libc = own if tree.live else ("unknown", None, "unknown", None)
    model = processors.model(tree) or own_model
    cores = len(processors.cpus(tree)) or own_cores or 1
    ram_bytes = meminfo_bytes(tree, "MemTotal")
    ram_class = None if ram_bytes is None else round(ram_bytes / GIB)  # the kernel keeps a varying part for itself
    identity = f"{model}|{cores}|{ram_class}"
    return Machine(
        key=hashlib.sha256(identity.encode()).hexdigest()[:16],
        model=model,
        cores=cores,
        ram_bytes=ram_bytes,
        kernel=tree.text("proc/sys/kernel/osrelease") or own_kernel,
        libc=libc,
    )


def conditions(cpus: Sequence[int], tree: Tree = HERE) -> Conditions:
    """Return the present condition of the machine, of the CPUs that are used, and of this process."""
    policies = [f"{processors.CPUS}/cpu{cpu}/cpufreq" for cpu in cpus]
    governors = {text for policy in policies if (text := tree.text(f"{policy}/scaling_governor"))}
    times = _cpu_times_ms(tree)
    own = process(tree, "self")
    return Conditions(
        governor=",".join(sorted(governors)) or None,
        frequency_khz=_mean([tree.integer(f"{policy}/scaling_cur_freq") for policy in policies]),
        frequency_floor_khz=_mean([tree.integer(f"{policy}/scaling_min_freq") for policy in policies]),
        frequency_limit_khz=_mean([_held_khz(tree, f"{processors.CPUS}/cpu{cpu}") for cpu in cpus]),
        temperature_millicelsius=throttling.hottest_millicelsius(tree),
        throttled_bits=throttling.firmware_bits(tree),
        cooling_steps=throttling.cooling_steps(tree),
        undervoltage=throttling.undervoltage(tree),
        load_1m_hundredths=_thousandths(tree.text("proc/loadavg"), 10),
        uptime_ms=_thousandths(tree.text("proc/uptime"), 1),
        busy_ms=None if times is None else times[0],
        steal_ms=None if times is None else times[1],
        own_ms=None if own is None else own.cpu_ms,
        pressure_cpu_us=_pressure(tree, "cpu", "total"),
        pressure_memory_us=_pressure(tree, "memory", "total"),
        involuntary_switches=_involuntary_switches(tree),
        major_faults=_major_faults(tree),
        swapped_bytes=_kib_field(tree.text("proc/self/status"), "VmSwap"),
    )


def spent(readings: Sequence[tuple[Conditions, Conditions]]) -> tuple[Conditions, Conditions]:
    """Return the conditions before and after pieces of time as if there had been no pauses between them.

    readings: before and after each piece, at least one. What is counted adds up, what is not is the last.
    """
    before, last = readings[0][0], readings[-1][1]
    counted: dict[str, Any] = {}
    for name in COUNTERS:
        pairs = [(getattr(begin, name), getattr(end, name)) for begin, end in readings]
        known = all(None not in pair for pair in pairs)
        counted[name] = getattr(before, name) + sum(end - begin for begin, end in pairs) if known else None
    return before, replace(last, **counted)


def available_cpus() -> tuple[int, ...]:
    """Return the CPUs this process may run on (its affinity mask; all of them where the system has no mask)."""
    try:
        return tuple(sorted(os.sched_getaffinity(0)))
    except AttributeError:  # macOS
        return tuple(range(os.cpu_count() or 1))


def meminfo_bytes(tree: Tree, name: str) -> int | None:
    """Return a line of /proc/meminfo, such as "MemAvailable", in bytes."""
    return _kib_field(tree.text("proc/meminfo"), name)


def _kib_field(text: str | None, name: str) -> int | None:
    for line in (text or "").splitlines():
        words = line.split()
        if len(words) == 3 and words[0] == f"{name}:" and words[2] == "kB":  # noqa: PLR2004 - "MemTotal: 123 kB"
            kib = as_integer(words[1])
            return None if kib is None else kib * KIB
    return None


def _mean(values: list[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) // len(known) if known else None


def _held_khz(tree: Tree, cpu: str) -> int | None:
    """Return the highest clock that the governor may choose and the processor can hold on all cores.

    Sources: Documentation/admin-guide/pm/intel_pstate.rst (base_frequency: what is above is turbo),
    admin-guide/acpi/cppc_sysfs.rst (nominal_freq, in MHz, of AMD's and others).
    """
    nominal_mhz = tree.integer(f"{cpu}/acpi_cppc/nominal_freq")
    known = [
        tree.integer(f"{cpu}/cpufreq/scaling_max_freq"),
        tree.integer(f"{cpu}/cpufreq/base_frequency"),
        None if nominal_mhz is None else nominal_mhz * 1000,
    ]
    return min((khz for khz in known if khz), default=None)


def _thousandths(text: str | None, divisor: int) -> int | None:
    try:
        return round(float((text or "").split()[0]) * 1000 / divisor)
    except (ValueError, IndexError, OverflowError):
        return None


def _cpu_times_ms(tree: Tree) -> tuple[int, int] | None:
    """Return busy and stolen time of all CPUs.   Source: proc_stat(5); guest times are part of user already."""
    words = (tree.text("proc/stat") or "").partition("\n")[0].split()
    ticks = [as_integer(word) for word in words[1:9]]
    if words[:1] != ["cpu"] or len(ticks) != 8 or None in ticks:  # noqa: PLR2004 - user to steal
        return None
    user, nice, system, _idle, _iowait, irq, softirq, steal = (tick or 0 for tick in ticks)
    return (user + nice + system + irq + softirq) * MS_PER_TICK, steal * MS_PER_TICK


def _pressure(tree: Tree, resource: str, key: str) -> int | None:
    """Return a figure of the line "some".   Source: Documentation/accounting/psi.rst."""
    for line in (tree.text(f"proc/pressure/{resource}") or "").splitlines():
        kind, *fields = line.split()
        if kind == "some":
            return as_integer(dict(field.partition("=")[::2] for field in fields).get(key))
    return None


def _involuntary_switches(tree: Tree) -> int | None:
    # /proc/self/status counts the main thread alone; an engine works in others
    counts: list[str] = []
    for task in tree.names("proc/self/task"):
        lines = (tree.text(f"proc/self/task/{task}/status") or "").splitlines()
        counts += [line.split()[-1] for line in lines if line.startswith("nonvoluntary_ctxt_switches:")]
    known = [count for text in counts if (count := as_integer(text)) is not None]
    return sum(known) if known else None


def _major_faults(tree: Tree) -> int | None:
    words = (tree.text("proc/self/stat") or "").rpartition(")")[2].split()
    return as_integer(words[9]) if len(words) > 9 else None  # noqa: PLR2004 - field 12 of proc_pid_stat(5)


def _libc() -> str | None:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION")
    except (ValueError, OSError, AttributeError):  # musl, macOS
        return None
