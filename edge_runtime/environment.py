"""Facts about the machine and its condition: what a number was measured on, and in what state it was.

Every file is read below a root that is an argument, so that tests replay trees of other machines.
"""

import hashlib
import os
import platform
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/")
GIB = 2**30


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

    frequency_khz: the mean over the CPUs used.   temperature_millicelsius: the hottest thermal zone.
    load_1m_hundredths: the one-minute load average times 100.
    """

    governor: str | None
    frequency_khz: int | None
    temperature_millicelsius: int | None
    load_1m_hundredths: int | None


def machine(root: Path = ROOT) -> Machine:
    """Return this machine's facts; a test passes the root of a recorded tree."""
    model, cores, ram_bytes = _model(root), _cores(root), _ram_bytes(root)
    ram_class = None if ram_bytes is None else round(ram_bytes / GIB)  # the kernel keeps a varying part for itself
    identity = f"{model}|{cores}|{ram_class}"
    return Machine(
        key=hashlib.sha256(identity.encode()).hexdigest()[:16],
        model=model,
        cores=cores,
        ram_bytes=ram_bytes,
        kernel=platform.release(),
        libc=_libc(),
    )


def conditions(cpus: tuple[int, ...], root: Path = ROOT) -> Conditions:
    """Return the present condition of the machine and of the CPUs that are used."""
    policies = [root / f"sys/devices/system/cpu/cpu{cpu}/cpufreq" for cpu in cpus]
    governors = {text for policy in policies if (text := _text(policy / "scaling_governor"))}
    frequencies = [value for policy in policies if (value := _integer(policy / "scaling_cur_freq")) is not None]
    zones = sorted((root / "sys/class/thermal").glob("thermal_zone*/temp"))
    temperatures = [value for zone in zones if (value := _integer(zone)) is not None]
    load = _load_1m_hundredths(root)
    return Conditions(
        governor=",".join(sorted(governors)) or None,
        frequency_khz=sum(frequencies) // len(frequencies) if frequencies else None,
        temperature_millicelsius=max(temperatures, default=None),
        load_1m_hundredths=load,
    )


def available_cpus() -> tuple[int, ...]:
    """Return the CPUs this process may run on (its affinity mask; all of them where the system has no mask)."""
    try:
        return tuple(sorted(os.sched_getaffinity(0)))
    except AttributeError:  # macOS
        return tuple(range(os.cpu_count() or 1))


def _model(root: Path) -> str:
    board = _text(root / "sys/firmware/devicetree/base/model") or _text(root / "proc/device-tree/model")
    if board:
        return board
    for line in (_text(root / "proc/cpuinfo") or "").splitlines():
        name, _, value = line.partition(":")
        if name.strip() in {"model name", "Hardware"} and value.strip():
            return value.strip()
    return platform.processor() or platform.machine()


def _cores(root: Path) -> int:
    found = list((root / "sys/devices/system/cpu").glob("cpu[0-9]*"))
    return len(found) or os.cpu_count() or 1


def _ram_bytes(root: Path) -> int | None:
    for line in (_text(root / "proc/meminfo") or "").splitlines():
        words = line.split()
        if len(words) == 3 and words[0] == "MemTotal:" and words[1].isdigit():  # noqa: PLR2004 - "MemTotal: 123 kB"
            return int(words[1]) * 1024
    return None


def _load_1m_hundredths(root: Path) -> int | None:
    try:
        return round(float((_text(root / "proc/loadavg") or "").split()[0]) * 100)
    except (ValueError, IndexError, OverflowError):
        return None


def _libc() -> str | None:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION")
    except (ValueError, OSError, AttributeError):  # musl, macOS
        return None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0 \n\t")
    except OSError:
        return None


def _integer(path: Path) -> int | None:
    try:
        return int(_text(path) or "")
    except ValueError:
        return None
