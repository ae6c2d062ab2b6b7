"""The files of a machine below a root: /proc and /sys as the kernel shows them, or a folder that replays a machine.

Every reader takes a `Tree`, so that tests and ``edge doctor --root`` read recorded machines through the same code.
A path is relative to the root. What is missing, unreadable or no text of a kernel is None, never empty and never 0.
"""

import fnmatch
import os
import re
from pathlib import Path

MAX_BYTES = 1 << 20  # /proc/cpuinfo of 256 cores has 400 KB; a replayed folder may hold anything
COMMANDS = "commands"  # where a recorded machine keeps what its commands printed
COMMAND_TIMEOUT_S = 5.0  # vcgencmd waits for ever when the firmware doesn't answer
NOT_NAME = re.compile(r"[^\w.-]+")


class Tree:
    """What one machine tells, by path below `root`; remembers what it read when `remember` is set."""

    def __init__(self, root: Path = Path("/"), *, remember: bool = False) -> None:
        self.root = root
        self.live = root == Path("/")
        self.seen: dict[str, str] | None = {} if remember else None
        self.folders: set[str] = set()  # that were listed: an empty one counts too, as a CPU without a clock does

    def text(self, path: str) -> str | None:
        """Return a file's text without the white space and NULs around it; None when there is nothing to read."""
        return self._remembered(path, self._read(path))

    def integer(self, path: str) -> int | None:
        """Return a file's one decimal integer."""
        return as_integer(self.text(path))

    def names(self, folder: str, pattern: str = "*") -> tuple[str, ...]:
        """Return the names in a folder that match a shell pattern, in natural order (cpu2 before cpu10)."""
        try:
            found = fnmatch.filter((entry.name for entry in (self.root / folder).iterdir()), pattern)
        except OSError:
            return ()
        if self.seen is not None:
            self.folders |= {f"{folder}/{name}" for name in found if (self.root / folder / name).is_dir()}
        return tuple(sorted(found, key=lambda name: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", name)]))

    def denied(self, path: str) -> bool:
        """Return whether this user may not read a file."""
        try:
            with open(self.root / path, "rb", opener=_open_without_waiting):
                return False
        except OSError as problem:
            return isinstance(problem, PermissionError)

    def command(self, *argv: str) -> str | None:
        """Return what a command of this machine prints, or of a replayed one has printed; None when it fails."""
        path = f"{COMMANDS}/{NOT_NAME.sub('-', ' '.join(argv))}"
        return self._remembered(path, self._run(argv) if self.live else self._read(path))

    def _read(self, path: str) -> str | None:
        try:
            with open(self.root / path, "rb", opener=_open_without_waiting) as stream:
                content = stream.read(MAX_BYTES)
        except OSError:
            return None
        return content.decode(errors="replace").strip("\0 \n\t") or None

    def _remembered(self, path: str, text: str | None) -> str | None:
        if self.seen is not None and text is not None:
            self.seen[path] = text
        return text

    @staticmethod
    def _run(argv: tuple[str, ...]) -> str | None:
        import shutil  # noqa: PLC0415 - every worker reads conditions, few machines have a command to ask
        import subprocess  # noqa: PLC0415 - as above; 8 ms of every cold start

        program = shutil.which(argv[0])
        if program is None:
            return None
        try:
            done = subprocess.run(
                [program, *argv[1:]],
                capture_output=True,
                timeout=COMMAND_TIMEOUT_S,
                check=True,
                stdin=subprocess.DEVNULL,
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.decode(errors="replace").strip() or None


def as_integer(text: str | None, base: int = 10) -> int | None:
    """Return the integer that a text is, or None; longer than any counter of a kernel is none."""
    try:
        return int(text[:40], base) if text else None
    except ValueError:
        return None


def cpu_list(text: str | None) -> tuple[int, ...]:
    """Return the CPUs of a kernel list: "0-2,5" (sysfs) or "0 1 2" (related_cpus); empty for anything else."""
    found: list[int] = []
    for part in re.split(r"[,\s]+", text or ""):
        low, dash, high = part.partition("-")
        if not low.isdecimal() or (dash and not high.isdecimal()):
            return ()
        found += range(int(low), min(int(high if dash else low), int(low) + 4096) + 1)
    return tuple(found)


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
