"""Is a machine fit to measure on? Facts to findings, each with why it matters and the command that mends it.

Pure: whoever has read the facts asks here, `edge doctor` before the work and a record after it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from edge_runtime import throttling
from edge_runtime.environment import Conditions
from edge_runtime.limits import Limits
from edge_runtime.processes import Busy
from edge_runtime.processors import CPUS, Cluster

Severity = Literal["note", "unfit", "blocked"]

# The harness rules these follow: a clock under 90 % of what was set, a start 3 °C warmer than the first, pressure above
# 2 % are where the p50 of a steady block begins to move.
LEAST_CLOCK = 0.9
WARMER_MILLICELSIUS = 3_000
PRESSURE_SHARE = 0.02
STEAL_SHARE = 0.02
OTHERS_SHARE = 0.10  # of one CPU; ticks of 10 ms make less than that uncertain in a block of a second
SLOWER_PROBE = 1.10  # AndroidX takes this for throttling
LEAST_PROBES = 12  # two of each of six blocks
SIGMAS, MAD_TO_SIGMA = 4.0, 1.4826  # of the probes' own spread; a median absolute deviation as a normal law's sigma
# Findings of a block that surely moved its times; the others are remarks, which honest machines have all the time.
SPOILING = frozenset({"throttled", "undervoltage", "cooling-rose", "clock-held", "major-faults", "swapped"})
HEADROOM_MILLICELSIUS = 5_000

PERFORMANCE = "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
SUPPLY = "use the board's own supply and a short cable, then: sudo reboot"
COOL = "give it a heat sink, a fan or a pause, then repeat"
OTHERS = "stop what else runs: ps -eo pid,pcpu,comm --sort=-pcpu | head"
MEMORY = "stop what takes the memory: ps -eo pid,rss,comm --sort=-rss | head"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing about a machine.

    severity: "note" changes nothing, "unfit" spoils measurements, "blocked" keeps the runtime from working.
    what, why: sentences without a full stop.   mend: a command or an act, empty where nothing can be done.
    """

    code: str
    severity: Severity
    what: str
    why: str
    mend: str

    def __str__(self) -> str:
        return f"{self.what}: {self.why}" + (f"; {self.mend}" if self.mend else "")


def of_block(before: Conditions, after: Conditions) -> list[Finding]:
    """Judge the interval between two readings, the block of a launch or a moment of looking on."""
    return [*_of_clock(before, after), *_of_throttling(before, after), *_of_neighbours(before, after)]


def spoiling(before: Conditions, after: Conditions) -> list[Finding]:
    """Return the findings of a block that leave nothing to be learned from its times."""
    return [one for one in of_block(before, after) if one.code in SPOILING]


def of_launches(blocks: Sequence[tuple[Conditions, Conditions]]) -> list[str]:
    """Return one sentence for each kind of trouble in any block, with how many had it; notes are left out."""
    found: dict[str, tuple[Finding, int]] = {}
    first = blocks[0][0].temperature_millicelsius if blocks else None
    for before, after in blocks:
        findings = [one for one in of_block(before, after) if one.severity != "note"]
        start = before.temperature_millicelsius
        if start is not None and first is not None and start - first > WARMER_MILLICELSIUS:
            findings.append(
                _unfit(
                    "warmer",
                    f"a launch began {(start - first) / 1000:.0f} °C warmer than the first",
                    "later launches had less room before the clock is lowered",
                    COOL,
                )
            )
        for finding in findings:
            kept, count = found.get(finding.code, (finding, 0))
            found[finding.code] = kept, count + 1
    return [f"{finding} (in {count} of {len(blocks)} launches)" for finding, count in found.values()]


def of_probe(before_ns: int | None, after_ns: int | None, others_ns: Sequence[int]) -> list[Finding]:
    """Judge the fixed work before and after a block (`spin_probe`) by what it took around all blocks of a run.

    Slow is what took longer, before and after, than the median by a tenth, and by more than a machine's own unrest:
    where neighbours take the cores all the time probes differ by more than that, and a single slow one says nothing of
    a block that was longer. Of few blocks nothing can stand out.
    """
    if before_ns is None or after_ns is None or len(others_ns) < LEAST_PROBES:
        return []
    usual_ns, least_ns = median(others_ns), min(before_ns, after_ns)
    unrest = SIGMAS * MAD_TO_SIGMA * median(abs(one - usual_ns) for one in others_ns)
    if least_ns <= usual_ns + max((SLOWER_PROBE - 1) * usual_ns, unrest):
        return []
    return [
        _unfit(
            "slower-probe",
            f"a fixed piece of work took {least_ns / usual_ns:.2f} times as long as around other blocks",
            "the clock was lowered, or another took the core",
            OTHERS,
        )
    ]


def of_machine(
    clusters: Sequence[Cluster], limits: Limits, cpus: int, others: Sequence[Busy], headroom_millicelsius: int | None
) -> list[Finding]:
    """Judge what doesn't need an interval. cpus: how many this process may use.   others: busy processes."""
    found = []
    if not any(cluster.current_khz for cluster in clusters):
        found.append(
            Finding(
                code="clock-hidden",
                severity="note",
                what="the machine doesn't tell its clock",
                why="a slower clock would go unseen; usual on virtual machines",
                mend="",
            )
        )
    for cluster in clusters:
        high, limit = cluster.highest_khz, cluster.limit_high_khz
        if high is not None and limit is not None and limit < LEAST_CLOCK * high:
            found.append(
                Finding(
                    code="clock-limited",
                    severity="note",
                    what=f"{_named(cluster.cpus)} may run at {limit // 1000} of {high // 1000} MHz",
                    why="numbers hold for this limit, not for the hardware's best",
                    mend=f"echo {high} | sudo tee /{CPUS}/cpu{cluster.cpus[0]}/cpufreq/scaling_max_freq",
                )
            )
    found += of_limits(limits, cpus)
    if sum(one.cpu_hundredths for one in others) > 100 * OTHERS_SHARE:
        worst = [one for one in others[:3] if one.cpu_hundredths >= 100 * OTHERS_SHARE / 3] or others[:1]
        named = ", ".join(f"{one.name} ({one.pid}) {one.cpu_hundredths} %" for one in worst)
        found.append(
            _unfit(
                "busy-others",
                f"other processes are busy: {named}",
                "they take cores, caches and memory bandwidth",
                f"pause them: kill -STOP {' '.join(str(one.pid) for one in worst)} (kill -CONT afterwards)",
            )
        )
    if headroom_millicelsius is not None and headroom_millicelsius < HEADROOM_MILLICELSIUS:
        found.append(
            _unfit(
                "hot",
                f"{headroom_millicelsius / 1000:.0f} °C below the point where the kernel lowers the clock",
                "the first seconds of load will cross it",
                COOL,
            )
        )
    return found


def of_limits(limits: Limits, cpus: int) -> list[Finding]:
    """Judge the quota of CPU time of a process that would keep `cpus` CPUs busy."""
    if limits.cpu_hundredths is None or limits.cpu_hundredths >= 100 * cpus:
        return []
    return [
        _unfit(
            "cpu-quota",
            f"a control group allows {limits.cpu_hundredths / 100:g} of {cpus} CPUs",
            "when the quota of a period is used up, all threads stop until the next: tails of many ms",
            "start the container without --cpus, or pin it: docker run --cpuset-cpus ...",
        )
    ]


def _of_clock(before: Conditions, after: Conditions) -> list[Finding]:
    found = []
    governor, floor, limit = after.governor, after.frequency_floor_khz, after.frequency_limit_khz
    fixed = governor == "performance" or (floor is not None and limit is not None and floor >= limit)
    if governor is not None and not fixed:
        found.append(
            _unfit(
                "governor",
                f"the governor is {governor}",
                "the clock follows the load, so short calls are timed at a lower one",
                PERFORMANCE,
            )
        )
    wanted = before.frequency_khz if not fixed or limit is None else limit
    if wanted is not None and after.frequency_khz is not None and after.frequency_khz < LEAST_CLOCK * wanted:
        found.append(
            _unfit(
                "clock-held" if fixed else "clock-dropped",
                f"the clock is at {after.frequency_khz // 1000} of {wanted // 1000} MHz",
                "something lowers it, heat or the supply most often",
                COOL,
            )
        )
    return found


def _of_throttling(before: Conditions, after: Conditions) -> list[Finding]:
    found = []
    bits, earlier = after.throttled_bits or 0, before.throttled_bits or 0
    # the sticky bits tell of a dip between the two readings, but only when they rose since
    during = dict.fromkeys([*throttling.now(bits), *throttling.now(earlier), *throttling.since_boot(bits & ~earlier)])
    if during:
        mend = SUPPLY if "under-voltage" in during else COOL
        # the soft limit alone lowers the clock by little, and is where a board without a fan lives under load
        code = "soft-limit" if tuple(during) == (throttling.SOFT_LIMIT,) else "throttled"
        found.append(_unfit(code, f"the firmware reports {', '.join(during)}", "the processor is held back", mend))
    elif bits:
        found.append(
            Finding(
                code="throttled-since-boot",
                severity="note",
                what=f"the firmware has seen {', '.join(throttling.since_boot(bits))} since the machine started",
                why="it may happen again under load",
                mend=SUPPLY if "under-voltage" in throttling.since_boot(bits) else COOL,
            )
        )
    if after.undervoltage and after.throttled_bits is None:
        found.append(_unfit("undervoltage", "the supply's alarm is on", "the processor is held back", SUPPLY))
    if after.cooling_steps:
        code = "cooling-rose" if _rise(before.cooling_steps, after.cooling_steps) else "cooling"
        found.append(
            _unfit(code, f"the kernel holds the clock back by {after.cooling_steps} steps", "it is too hot", COOL)
        )
    return found


def _of_neighbours(before: Conditions, after: Conditions) -> list[Finding]:
    found = []
    elapsed = _rise(before.uptime_ms, after.uptime_ms)
    if elapsed:
        cpu = _rise(before.pressure_cpu_us, after.pressure_cpu_us)
        if cpu is not None and cpu > PRESSURE_SHARE * elapsed * 1000:
            share = cpu / elapsed / 10
            found.append(
                _unfit("cpu-pressure", f"tasks waited for a CPU {share:.0f} % of the time", "ours too", OTHERS)
            )
        memory = _rise(before.pressure_memory_us, after.pressure_memory_us)
        if memory is not None and memory > PRESSURE_SHARE * elapsed * 1000:
            share = memory / elapsed / 10
            found.append(
                _unfit("memory-pressure", f"tasks waited for memory {share:.0f} % of the time", "ours too", MEMORY)
            )
        steal = _rise(before.steal_ms, after.steal_ms)
        if steal is not None and steal > STEAL_SHARE * elapsed:
            found.append(
                _unfit(
                    "steal",
                    f"the hypervisor took {100 * steal / elapsed:.0f} % of a CPU",
                    "other machines on this host slow ours",
                    "measure on a dedicated machine, or compare only figures of one run",
                )
            )
        busy, own = _rise(before.busy_ms, after.busy_ms), _rise(before.own_ms, after.own_ms)
        if busy is not None and own is not None and busy - own > OTHERS_SHARE * elapsed:
            found.append(
                _unfit(
                    "others",
                    f"other processes used {100 * (busy - own) / elapsed:.0f} % of a CPU",
                    "they take cores, caches and memory bandwidth",
                    OTHERS,
                )
            )
    if after.swapped_bytes:
        found.append(
            _unfit("swapped", "part of the process is in swap", "touching it takes a read of the disk", MEMORY)
        )
    if _rise(before.major_faults, after.major_faults):
        found.append(_unfit("major-faults", "pages came from disk in a block", "a call waited for the disk", MEMORY))
    return found


def _rise(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else max(0, after - before)


def _unfit(code: str, what: str, why: str, mend: str) -> Finding:
    return Finding(code=code, severity="unfit", what=what, why=why, mend=mend)


def _named(cpus: Sequence[int]) -> str:
    return f"CPU{'s' if len(cpus) > 1 else ''} {', '.join(map(str, cpus))}"
