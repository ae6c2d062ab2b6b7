"""Joules over an interval, from whatever meter the machine has; never from a model.

In order of preference: an INA21x, INA22x or INA3221 on the supply (hwmon), the Raspberry Pi 5's power chip, the
processor's own counter (RAPL). Each says its rail, because a CPU's joules are not a board's.
"""

import itertools
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from edge_runtime.errors import UnsupportedSystem
from edge_runtime.tree import Tree

Clock = Callable[[], int]  # monotonic nanoseconds

POLL_S = 0.2  # 50 samples in 10 s; polling costs power itself, so it also goes on while the idle power is measured
INTERVAL_S = 10.5  # at least 10 s and 50 samples: these chips average over up to a second
HWMON, POWERCAP = "sys/class/hwmon", "sys/class/powercap"
WHOLE_INPUT = ("VDD_IN", "POM_5V_IN")  # NVIDIA's names for the module's supply, of which other channels are parts
PMIC_LINE = re.compile(r"(\w+)_([AV])\s+\w+\(\d+\)=([\d.]+)[AV]")


@dataclass(frozen=True, slots=True)
class Source:
    """A meter. rail: what it measures, for people.

    read: power now in microwatts (one value, and `wraps_at_uj` is empty), or energy counters in microjoules, of which
    each starts again at 0 after its `wraps_at_uj`.
    """

    rail: str
    read: Callable[[], tuple[int, ...] | None]
    wraps_at_uj: tuple[int, ...] = ()


def find(tree: Tree) -> Source | None:
    """Return the best meter of this machine that answers; see `why_none` when there is none."""
    candidates = (*_supply_meters(tree), _pmic(tree), _rapl(tree))
    return next((one for one in candidates if one is not None and one.read() is not None), None)


def why_none(tree: Tree) -> str:
    """Return the reason why this machine gives no joules, with what would change it."""
    zones = [f"{POWERCAP}/{zone}/energy_uj" for zone in tree.names(POWERCAP, "intel-rapl:*")]
    if any(tree.denied(zone) for zone in zones):
        return (
            "only root may read the processor's energy counter; "
            "sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj (until the next start)"
        )
    return "this machine shows no meter: no INA chip in hwmon, no Raspberry Pi 5 power chip, no RAPL counter"


class Accumulator:
    """Readings to microjoules: powers by the trapezoidal rule, counters by their differences."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._first_ns: int | None = None
        self._last: tuple[int, tuple[int, ...]] | None = None
        self._sum_uj = 0.0
        self.samples = 0

    def add(self, at_ns: int) -> None:
        """Take one reading; one that fails is left out, and its neighbours bridge it."""
        values = self._source.read()
        if values is None:
            return
        if self._last is None:
            self._first_ns = at_ns
        else:
            then_ns, previous = self._last
            if self._source.wraps_at_uj:
                for now, then, limit in zip(values, previous, self._source.wraps_at_uj, strict=True):
                    self._sum_uj += now - then if now >= then else now + limit - then
            else:
                self._sum_uj += (values[0] + previous[0]) / 2 * (at_ns - then_ns) / 1e9
        self._last = at_ns, values
        self.samples += 1

    @property
    def elapsed_ns(self) -> int:
        """The time between the first and the last reading."""
        return 0 if self._last is None or self._first_ns is None else self._last[0] - self._first_ns

    @property
    def microjoules(self) -> int | None:
        """Energy between the first and the last reading; None with fewer than two of them."""
        return round(self._sum_uj) if self.elapsed_ns > 0 else None


class Meter:
    """Accumulates a source's readings in a thread for as long as the ``with`` block lasts."""

    def __init__(self, source: Source, *, poll_s: float = POLL_S, clock: Clock = time.perf_counter_ns) -> None:
        self.total = Accumulator(source)
        self._poll_s, self._clock = poll_s, clock
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)

    def __enter__(self) -> Self:
        """Take the first reading and begin."""
        self.total.add(self._clock())
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the last reading and end."""
        self._over.set()
        self._thread.join()
        self.total.add(self._clock())

    def _poll(self) -> None:
        while not self._over.wait(self._poll_s):
            self.total.add(self._clock())


def of_calls(steps: Sequence[Callable[[], object]], tree: Tree, interval_s: float) -> dict[str, int | str]:
    """Return the energy of this process at rest, then of the steps in turn, each over an interval; as records keep it.

    Raises UnsupportedSystem where there is no meter, or it stops answering.
    """
    source = find(tree)
    if source is None:
        raise UnsupportedSystem("this machine tells no energy", "worker", why_none(tree))
    with Meter(source) as idle:
        time.sleep(interval_s)
    turns = itertools.cycle(steps)
    calls, end_ns = 0, time.perf_counter_ns() + round(interval_s * 1e9)
    with Meter(source) as block:
        while time.perf_counter_ns() < end_ns:
            next(turns)()
            calls += 1
    if idle.total.microjoules is None or block.total.microjoules is None:
        raise UnsupportedSystem(
            "the energy meter stopped answering", source.rail, "look for its driver's words in dmesg"
        )
    return {
        "rail": source.rail,
        "calls": calls,
        "idle_ns": idle.total.elapsed_ns,
        "idle_uj": idle.total.microjoules,
        "block_ns": block.total.elapsed_ns,
        "block_uj": block.total.microjoules,
        "samples": block.total.samples,
    }


def _supply_meters(tree: Tree) -> list[Source]:
    found = []
    for device in tree.names(HWMON, "hwmon*"):
        chip = tree.text(f"{HWMON}/{device}/name") or ""
        if chip == "ina3221":
            found += _ina3221(tree, f"{HWMON}/{device}")
        elif chip.startswith("ina2"):
            found.append(_ina2(tree, f"{HWMON}/{device}", chip))
    return found


def _ina2(tree: Tree, device: str, chip: str) -> Source:
    """Return the one channel of a chip.   Source: Documentation/hwmon/ina2xx.rst (power1 in uW, in1 mV, curr1 mA)."""

    def read() -> tuple[int, ...] | None:
        power = tree.integer(f"{device}/power1_input")
        return (power,) if power is not None else _volts_times_amperes(tree, device, (1,))

    return Source(f"{chip}, the supply it is wired to", read)


def _ina3221(tree: Tree, device: str) -> list[Source]:
    """Return the module's supply where it has a channel, else the sum of the named channels.

    Source: Documentation/hwmon/ina3221.rst; NVIDIA Jetson Linux Developer Guide, "Power Monitor".
    """
    labels = {channel: tree.text(f"{device}/in{channel}_label") for channel in (1, 2, 3)}
    used = [channel for channel, label in labels.items() if label in WHOLE_INPUT]
    used = used or [channel for channel, label in labels.items() if label and label != "NC"]
    if not used:
        return []
    rail = " + ".join(labels[channel] or "" for channel in used)
    return [Source(f"ina3221, {rail}", lambda: _volts_times_amperes(tree, device, tuple(used)))]


def _volts_times_amperes(tree: Tree, device: str, channels: tuple[int, ...]) -> tuple[int, ...] | None:
    total = 0
    for channel in channels:
        millivolts = tree.integer(f"{device}/in{channel}_input")
        milliamperes = tree.integer(f"{device}/curr{channel}_input")
        if millivolts is None or milliamperes is None:
            return None
        total += millivolts * milliamperes
    return (total,)


def _pmic(tree: Tree) -> Source | None:
    if "Raspberry Pi" not in (tree.text("sys/firmware/devicetree/base/model") or ""):
        return None
    return Source(
        "Raspberry Pi 5 power chip, all its rails, without USB, HATs and its own loss", lambda: _pmic_power(tree)
    )


def _pmic_power(tree: Tree) -> tuple[int, ...] | None:
    """Return the sum of volts times amperes of the rails that tell both.

    Source: Raspberry Pi documentation, "vcgencmd", pmic_read_adc.
    """
    rails: dict[str, dict[str, float]] = {}
    for rail, unit, value in PMIC_LINE.findall(tree.command("vcgencmd", "pmic_read_adc") or ""):
        try:
            rails.setdefault(rail, {})[unit] = float(value)
        except ValueError:
            return None
    powers = [units["V"] * units["A"] for units in rails.values() if units.keys() == {"A", "V"}]
    return (round(sum(powers) * 1e6),) if powers else None


def _rapl(tree: Tree) -> Source | None:
    """Return the counters of all packages.   Source: Documentation/power/powercap/powercap.rst (intel-rapl)."""
    zones = [zone for zone in tree.names(POWERCAP, "intel-rapl:*") if zone.count(":") == 1]
    packages = [zone for zone in zones if (tree.text(f"{POWERCAP}/{zone}/name") or "").startswith("package")]
    ranges = [tree.integer(f"{POWERCAP}/{zone}/max_energy_range_uj") for zone in packages]
    limits = tuple(limit for limit in ranges if limit is not None)
    if not packages or len(limits) != len(packages):
        return None

    def read() -> tuple[int, ...] | None:
        values = tuple(
            value for zone in packages if (value := tree.integer(f"{POWERCAP}/{zone}/energy_uj")) is not None
        )
        return values if len(values) == len(packages) else None

    return Source("processor packages (RAPL), without memory and board", read, limits)
