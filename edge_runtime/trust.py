"""Hash a file in full at its first use in a boot; later trust it while its stat record is unchanged.

A ResNet-50 takes a Raspberry Pi half a second to hash, at every start of a program. What this does not see is a change
that leaves the ctime alone, which takes a process that had the file mapped for writing before, and may write it, or
root; a card that rots does so between boots more often than within one. `edge check` hashes in full.
"""

import contextlib
import hashlib
import os
import re
import time
from pathlib import Path

from edge_runtime import decode, files
from edge_runtime.errors import EdgeError, InputError

KIND, SCHEMA = "edge-trust", 1
MAX_BYTES = 4096
# A file changed in the same tick of the kernel's clock in which it was hashed keeps its ctime; ticks are 1 to 10 ms
YOUNGEST_NS = 50_000_000
KEPT = 512  # records: more files than a machine has artifacts; without a bound, temporary ones would pile up
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_OWN = re.compile(r"[0-9a-f]{32}\.json|\.[0-9a-f]{32}\.json\.\w+\.tmp")


def sha256(
    path: Path, *, folder: Path, boot_id: Path = BOOT_ID, error: type[InputError] = InputError
) -> tuple[str, bool]:
    """Return a file's SHA-256, and whether it was trusted instead of hashed.

    folder: where stat records are kept; when it can't be written, every call hashes.   boot_id: the kernel's file;
    where there is none (containers without /proc, macOS) nothing is trusted. Raises `error` for unreadable files.
    """
    boot, record = _boot(boot_id), _stat_record(path)
    place = folder / f"{hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]}.json"
    if boot and record and (known := _known(place, boot, record)):
        return known, True
    digest = files.sha256(path, error=error)
    # what changed while it was hashed, or is too young for its ctime to prove anything, is hashed again next time
    if boot and record and record == _stat_record(path) and time.time_ns() - record[4] > YOUNGEST_NS:
        _remember(place, boot, record, digest)
    return digest, False


def refuse_foreign(path: Path, *, error: type[InputError] = InputError) -> None:
    """Refuse a file that another user but root could have written: what vouches for others must be our own.

    Raises OSError when it is not there.
    """
    owner = path.stat().st_uid
    if owner not in {os.geteuid(), 0}:
        raise error(f"it belongs to user {owner}", str(path), "remove it, or give $EDGE_CACHE another folder")


def forget(folder: Path) -> None:
    """Remove every stat record: the next loads hash in full."""
    for place in _records(folder):
        with contextlib.suppress(OSError):
            place.unlink()


def _stat_record(path: Path) -> tuple[int, int, int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _known(place: Path, boot: str, record: tuple[int, ...]) -> str | None:
    try:
        refuse_foreign(place)
        fields = decode.document(files.read_bytes(place, limit_bytes=MAX_BYTES), where=str(place))
        decode.envelope(fields, kind=KIND, schema=SCHEMA, what="stat record")
        same = fields.string("boot") == boot and fields.integers("stat", limit=5) == record
        digest = fields.string("sha256", limit=64)
        fields.finish()
    except (EdgeError, OSError):
        return None  # as if it were not there: it is written anew
    return digest if same else None


def _remember(place: Path, boot: str, record: tuple[int, ...], digest: str) -> None:
    document = {"kind": KIND, "schema": SCHEMA, "boot": boot, "stat": list(record), "sha256": digest}
    # a read-only or full disk costs time at each load, never a load
    with contextlib.suppress(EdgeError, OSError):
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.write_whole(place, decode.as_json(document).encode())
        _make_room(place.parent)


def _make_room(folder: Path) -> None:
    written = sorted((path.stat().st_mtime_ns, path) for path in _records(folder))
    for _, path in written[:-KEPT]:
        path.unlink(missing_ok=True)


def _records(folder: Path) -> list[Path]:
    """Return our own files in the folder, those of interrupted writes too: it may hold others'."""
    try:
        return [path for path in folder.iterdir() if _OWN.fullmatch(path.name)]
    except OSError:
        return []


def _boot(boot_id: Path) -> str:
    try:
        return boot_id.read_text(encoding="ascii").strip()
    except OSError:
        return ""
