"""Readings of this process's memory from /proc. Null means "could not be measured", never 0.

The folder to read is an argument, so that tests replay recorded trees.
"""

import os
from dataclasses import dataclass
from pathlib import Path

SELF = Path("/proc/self")
KIB = 1024  # the unit /proc calls "kB"


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Memory of one process in bytes.

    resident: VmRSS.   proportional: Pss, shared pages divided among their users.   private: Private_Clean +
    Private_Dirty.   peak: VmHWM, the most resident since the start or the last `reset_peak`.
    """

    resident: int | None
    proportional: int | None
    private: int | None
    peak: int | None


def memory(process: Path = SELF) -> Memory:
    """Read the memory of a process from its /proc folder; what the kernel doesn't tell is None."""
    status = _fields(process / "status")
    rollup = _fields(process / "smaps_rollup")
    clean, dirty = rollup.get("Private_Clean"), rollup.get("Private_Dirty")
    return Memory(
        resident=status.get("VmRSS"),
        proportional=rollup.get("Pss"),
        private=None if clean is None or dirty is None else clean + dirty,
        peak=status.get("VmHWM"),
    )


def reset_peak(process: Path = SELF) -> bool:
    """Let `Memory.peak` begin anew from the present; return False where the kernel doesn't allow it.

    Source: Documentation/filesystems/proc.rst, clear_refs, value 5 (Linux 4.0, CONFIG_PROC_PAGE_MONITOR).
    """
    try:
        # unbuffered and never created: a missing file must stay missing
        descriptor = os.open(process / "clear_refs", os.O_WRONLY)
    except OSError:
        return False
    try:
        os.write(descriptor, b"5")
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _fields(path: Path) -> dict[str, int]:
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return {}
    found: dict[str, int] = {}
    for line in lines:
        name, _, rest = line.partition(":")
        words = rest.split()
        if len(words) == 2 and words[0].isdigit() and words[1] == "kB":  # noqa: PLR2004 - "NAME: 123 kB"
            found[name] = int(words[0]) * KIB
    return found
