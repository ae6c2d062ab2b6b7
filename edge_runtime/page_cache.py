"""What of files is in the kernel's page cache, and having it dropped, which needs no root.

``posix_fadvise(POSIX_FADV_DONTNEED)`` drops clean pages that no process has in its page tables; ``mincore`` counts what
stayed. Dirty pages have to be written first, files in memory (tmpfs) can't be dropped at all. Directory entries, inodes
and what lies below this kernel (a drive's memory, a virtual machine's host) stay: the first start after power-on is
slower than any start after `evict`.
Sources: posix_fadvise(2), mincore(2), mm/truncate.c (mapping_evict_folio).
"""

import ctypes
import mmap
import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.tree import Tree

WINDOW_BYTES = 64 * 2**20  # mapped at once: a 32-bit address space has no room for a library of a gigabyte
MOUNTS = "proc/self/mountinfo"

Resident = Callable[[int, int], int | None]  # of a descriptor and the file's size: its bytes in the cache


@dataclass(frozen=True, slots=True, kw_only=True)
class Residency:
    """How much of a set of files is in the page cache.

    resident_bytes: None where the kernel doesn't tell; an upper bound where there are files that this user isn't told
    of (`is_told_of`).   largest: the path of which most is there, "" for none.
    """

    total_bytes: int
    resident_bytes: int | None
    largest: str = ""

    @property
    def share(self) -> float | None:
        """Return the share that is in the cache; None where that is unknown, or there is nothing to ask about."""
        if self.resident_bytes is None or not self.total_bytes:
            return None
        return min(1.0, self.resident_bytes / self.total_bytes)


def residency(paths: Iterable[str], *, resident: Resident | None = None) -> Residency:
    """Return how much of these files is in the page cache; what is no regular file, or can't be read, is left out.

    resident: how that is asked; None asks the kernel.
    """
    return _seen(paths, resident or resident_bytes, lambda _: None)


def evict(paths: Iterable[str], *, resident: Resident | None = None) -> Residency:
    """Have these files dropped from the page cache; return what stayed. What can't be read is left out, as above."""
    count = resident or resident_bytes
    wanted = list(paths)

    def drop(descriptor: int) -> None:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        # asked for only where something stayed: a flush of each of two thousand files takes seconds on a card
        if count(descriptor, os.fstat(descriptor).st_size):
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    # twice: pages of the first files may have come back by the read-ahead of a later one, or waited in a CPU's batch
    _seen(wanted, count, drop)
    return _seen(wanted, count, drop)


def is_told_of(path: str) -> bool:
    """Return whether the kernel tells this user what of a file is in the page cache.

    It says "all" of a file that one neither owns nor may write. Source: mm/mincore.c (can_do_mincore), since Linux 5.2.
    """
    try:
        own = Path(path).stat().st_uid == os.geteuid()
    except OSError:
        return False
    return own or os.geteuid() == 0 or os.access(path, os.W_OK)


def filesystem(path: str, tree: Tree | None = None) -> str:
    """Return the type of the file system that holds a file, such as "ext4"; "" where that is not told.

    Source: proc_pid_mountinfo(5): the third field is major:minor, the type is the first field after " - ".
    """
    try:
        device = Path(path).stat().st_dev
    except OSError:
        return ""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in ((tree or Tree()).text(MOUNTS) or "").splitlines():
        before, _, after = line.partition(" - ")
        if before.split()[2:3] == [wanted] and after:
            return after.split()[0]
    return ""


def resident_bytes(descriptor: int, size: int) -> int | None:
    """Return how many bytes of an open file are in the page cache, in whole pages; None where the kernel won't say."""
    libc = ctypes.CDLL(None, use_errno=True)
    mincore = getattr(libc, "mincore", None)
    if mincore is None:
        return None
    mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p)
    found = 0
    for offset in range(0, size, WINDOW_BYTES):
        length = min(WINDOW_BYTES, size - offset)
        pages = ctypes.create_string_buffer(-(-length // mmap.PAGESIZE))
        try:
            # private and writable, because ctypes takes the address of nothing else; no page of it is ever touched
            with mmap.mmap(
                descriptor, length, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE, offset=offset
            ) as held:
                place = ctypes.c_char.from_buffer(held)
                status = mincore(ctypes.addressof(place), length, pages)
                del place  # a mapping that something still points into can't be closed
        except (OSError, ValueError):  # no room for the mapping, or the file became shorter
            return None
        if status != 0:
            return None
        found += mmap.PAGESIZE * sum(page & 1 for page in pages.raw)
    return found


def _seen(paths: Iterable[str], resident: Resident, act: Callable[[int], None]) -> Residency:
    asked = {path: _asked(path, resident, act) for path in paths}
    found = {path: answer for path, answer in asked.items() if answer is not None}
    stayed = {path: bytes_ for path, (_, bytes_) in found.items() if bytes_ is not None}
    largest = max(stayed, key=stayed.__getitem__, default="")
    return Residency(
        total_bytes=sum(size for size, _ in found.values()),
        resident_bytes=sum(stayed.values()) if len(stayed) == len(found) else None,
        largest=largest if stayed.get(largest) else "",
    )


def _asked(path: str, resident: Resident, act: Callable[[int], None]) -> tuple[int, int | None] | None:
    """Return a file's size and how much of it is in the cache after `act`; None for what is not to be asked about."""
    try:
        # O_NONBLOCK: opening a FIFO that someone put there would wait for ever
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or not status.st_size:
            return None
        act(descriptor)
        found = resident(descriptor, status.st_size)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return status.st_size, None if found is None else min(found, status.st_size)
