"""A memory limit around a worker: a control group where this user may make one, else a limit on its address space.

A control group counts the memory that a process uses, and the kernel reclaims what it can before it kills. An address
space counts what is mapped, used or not, and allocations beyond it fail. Whichever it is, it is believed only after it
has kept a program from memory here: systemd takes a limit in silence where the kernel can't enforce it.

Sources: Documentation/admin-guide/cgroup-v2.rst (memory.max, memory.swap.max, "Delegation"), systemd-run(1),
setrlimit(2).
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edge_runtime.errors import UnsupportedSystem
from edge_runtime.fits import ADDRESS_SPACE, CGROUP
from edge_runtime.launch import Command
from edge_runtime.limits import group_parents
from edge_runtime.tree import Tree

Prefix = Callable[[int], tuple[str, ...]]

ENTER = 'echo $$ > "$1/cgroup.procs" && shift && exec "$@"'
LIMIT = 'ulimit -v "$1" && shift && exec "$@"'
BUS = ("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")  # by which systemd-run finds the user's manager
# what shows that a limit is one: a program that wants more than the small one, and has room in the large one
WANTED, SMALL, LARGE = 96 * 2**20, 64 * 2**20, 512 * 2**20
PROOF = f"b'x' * {WANTED}"
PROOF_S = 30.0


@dataclass(frozen=True, slots=True)
class Confinement:
    """One way of limiting memory. mechanism: as `fits` names it.   prefix: the words before a command, by bytes."""

    mechanism: str
    prefix: Prefix

    def within(self, command: Command, limit_bytes: int) -> Command:
        """Return the command that starts the same worker within so many bytes; its process stays our own child.

        Raises UnsupportedSystem when the kernel takes no such limit.
        """
        bus = {name: os.environ[name] for name in BUS if name in os.environ}
        try:
            prefix = self.prefix(limit_bytes)
        except OSError as problem:
            what = f"a memory limit of {limit_bytes} bytes can't be set: {problem.strerror}"
            raise UnsupportedSystem(what, self.mechanism, "look at the control group's memory.max") from problem
        return Command((*prefix, *command.argv), {**bus, **command.environment})


@contextmanager
def open_confinement(tree: Tree | None = None) -> Iterator[Confinement]:
    """Yield the best way there is on this machine; what it made is removed at the end.

    tree: where control groups are read and made. Raises UnsupportedSystem where memory can't be limited at all.
    """
    tree = tree or Tree()
    manager = () if os.geteuid() == 0 else ("--user",)
    # systemd first: where it runs, groups are its own to make
    scope = Confinement(CGROUP, partial(_in_scope, manager))
    if shutil.which("systemd-run") and _limits(scope):
        yield scope
        return
    for folder in group_parents(tree):
        group = tree.root / folder / f"edge-fit-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:  # not this user's
            continue
        try:
            own = Confinement(CGROUP, partial(_in_group, group))
            if _limits(own):
                yield own
                return
        finally:
            with suppress(OSError):
                group.rmdir()
    space = Confinement(ADDRESS_SPACE, _in_address_space)
    if not _limits(space):
        what = "no way to limit a worker's memory works here"
        raise UnsupportedSystem(what, "this machine", "it takes Linux: control groups, or ulimit -v")
    yield space


def _in_group(group: Path, limit_bytes: int) -> tuple[str, ...]:
    """Set the group's limits, and return what enters it."""
    (group / "memory.max").write_text(str(limit_bytes), encoding="ascii")
    swap = group / "memory.swap.max"
    if swap.exists():  # it is not where the kernel has no swap
        swap.write_text("0", encoding="ascii")
    return ("/bin/sh", "-c", ENTER, "sh", str(group))


def _in_scope(manager: tuple[str, ...], limit_bytes: int) -> tuple[str, ...]:
    limits = ("-p", f"MemoryMax={limit_bytes}", "-p", "MemorySwapMax=0")
    # a scope, since a service would be the manager's child and outlive us
    return ("systemd-run", *manager, "--scope", "--quiet", "--collect", *limits, "--")


def _in_address_space(limit_bytes: int) -> tuple[str, ...]:
    return ("/bin/sh", "-c", LIMIT, "sh", str(limit_bytes // 1024))


def _limits(found: Confinement) -> bool:
    """Return whether a program gets its memory within a large limit, and doesn't within a small one."""
    program = Command((sys.executable, "-I", "-S", "-c", PROOF), {"PATH": os.environ.get("PATH", os.defpath)})
    try:
        return [_ends_well(found.within(program, limit)) for limit in (LARGE, SMALL)] == [True, False]
    except (OSError, UnsupportedSystem, subprocess.TimeoutExpired):
        return False


def _ends_well(command: Command) -> bool:
    done = subprocess.run(
        command.argv,
        env=command.environment,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=PROOF_S,
        check=False,
    )
    return done.returncode == 0
