"""Where onnxruntime's optimised graph is kept for this machine, so that later loads map it instead of optimising.

An entry is one ``.ort`` file and a small JSON note beside it. Its name is a hash of everything that decides its
content: the model's hash, onnxruntime's version and build, the CPU and its features, the options. A graph optimised
for one CPU must never run on another: its layouts and integer kernels are baked in.

Nothing here may keep a model from running: a full or read-only disk means no cache, a damaged entry is made anew.
"""

import contextlib
import hashlib
import json
import os
import platform
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from edge_runtime import decode, files, trust
from edge_runtime.errors import EdgeError, InputError, Unwritable

KIND, SCHEMA = "edge-graph", 1
MAX_NOTE_BYTES = 1 << 16
DEFAULT_LIMIT_BYTES = 1 << 30  # a dozen ResNet-50s; $EDGE_CACHE_BYTES sets another
Warn = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Entry:
    """One optimised graph on disk. used_ns: when it was last loaded."""

    key: str
    path: Path
    bytes: int
    used_ns: int
    model: str


class CacheDamaged(InputError):
    """An entry is not what was written; it is removed and made anew."""


def folder() -> Path:
    """Return the folder of the optimised graphs."""
    return _cache() / "graphs"


def trust_folder() -> Path:
    """Return the folder of the stat records of files that were hashed in this boot."""
    return _cache() / "trust"


def key(model_sha256: str, *, engine: str, options: Mapping[str, str]) -> str:
    """Return the name of an entry: a hash of what decides its content.

    engine: onnxruntime's version and build.   options: those that change the graph. The thread count is not among
    them: the optimiser doesn't ask for it.
    """
    parts = {"model": model_sha256, "engine": engine, "cpu": _cpu_identity(), "options": dict(sorted(options.items()))}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def find(name: str, *, warn: Warn) -> Path | None:
    """Return the entry's file when it is there and is what was written, else None.

    It is hashed at its first use in a boot, later trusted by its stat record. A damaged one is removed.
    """
    path = folder() / f"{name}.ort"
    try:
        note = _read_note(path)
        if note is None:
            return None
        digest, _ = trust.sha256(path, folder=trust_folder(), error=CacheDamaged)
        if digest != note:
            raise CacheDamaged("its content changed", str(path), "it is made anew")
        # the time of last use decides who goes when space is short; not changing it is no reason to fail
        with contextlib.suppress(OSError):
            os.utime(_note_path(path))
    except EdgeError as problem:
        warn(f"a cached graph is damaged and is made anew: {problem.what} ({path})")
        remove(name)
        return None
    return path


def fill(name: str, *, model: str, make: Callable[[Path], None], warn: Warn) -> None:
    """Let `make` write the graph to a path it is given, then publish it; failing is a warning, never an error.

    Several processes may fill one entry at once: each writes a file of its own, and the last rename wins with the
    same content.
    """
    place = folder()
    temporary: Path | None = None
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, text = tempfile.mkstemp(prefix=f".{name[:16]}.", suffix=".ort", dir=place)
        os.close(descriptor)
        temporary = Path(text)
        make(temporary)
        digest, size = files.sha256(temporary), temporary.stat().st_size
        final = place / f"{name}.ort"
        note = {"kind": KIND, "schema": SCHEMA, "sha256": digest, "bytes": size, "model": model[:200]}
        # the note first: a graph without its note is invisible, a note without its graph is no entry
        files.write_whole(_note_path(final), decode.as_json(note).encode())
        temporary.replace(final)
        _make_room(keep=name)
    except (OSError, Unwritable) as problem:
        reason = problem.what if isinstance(problem, EdgeError) else (problem.strerror or str(problem)).lower()
        warn(f"the optimised graph can't be cached, so each start optimises anew: {reason} ({place})")
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def entries() -> tuple[Entry, ...]:
    """Return what is cached, most recently used first; what has no readable note is not an entry."""
    found = []
    for path in folder().glob("*.ort") if folder().is_dir() else ():
        with contextlib.suppress(EdgeError, OSError):
            fields = _fields(path)
            if fields is not None and not path.name.startswith("."):
                used_ns = _note_path(path).stat().st_mtime_ns
                found.append(Entry(path.stem, path, path.stat().st_size, used_ns, fields[1]))
    return tuple(sorted(found, key=lambda entry: -entry.used_ns))


def clear() -> int:
    """Remove every entry and what interrupted fills left; return the bytes freed."""
    freed = 0
    for path in (*folder().glob("*.ort"), *folder().glob("*.json"), *folder().glob(".*")):
        with contextlib.suppress(OSError):
            freed += path.stat().st_size
            path.unlink()
    return freed


def remove(name: str) -> None:
    """Remove one entry, if it is there."""
    path = folder() / f"{name}.ort"
    for part in (path, _note_path(path)):
        with contextlib.suppress(OSError):
            part.unlink()


def limit_bytes() -> int:
    """Return how large the cache may grow: ``$EDGE_CACHE_BYTES``, else 1 GiB."""
    text = os.environ.get("EDGE_CACHE_BYTES", "")
    return int(text) if text.isdigit() else DEFAULT_LIMIT_BYTES


def _cache() -> Path:
    own, shared = os.environ.get("EDGE_CACHE"), os.environ.get("XDG_CACHE_HOME")
    if own:
        return Path(own)
    return (Path(shared) if shared else Path.home() / ".cache") / "edge"


def _cpu_identity(root: Path = Path("/")) -> str:
    """Return what the optimiser and the kernels see of the CPU: architecture, model and features, of the first core.

    Source: arch/x86/kernel/cpu/proc.c and arch/arm64/kernel/cpuinfo.c say which lines /proc/cpuinfo has.
    """
    named = ("vendor_id", "cpu family", "model", "model name", "flags", "CPU implementer", "CPU part", "Features")
    try:
        text = (root / "proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = platform.processor()
    first = text.split("\n\n", 1)[0].splitlines()
    kept = [line for line in first if line.partition(":")[0].strip() in named]
    return "\n".join((platform.machine(), *kept))


def _make_room(*, keep: str) -> None:
    """Remove the entries used longest ago until the rest fits; the one just written stays."""
    total = 0
    for entry in entries():
        total += entry.bytes
        if total > limit_bytes() and entry.key != keep:
            remove(entry.key)
            total -= entry.bytes


def _read_note(path: Path) -> str | None:
    fields = _fields(path)
    if fields is None or not path.is_file():
        return None
    sha256, _, size = fields
    if path.stat().st_size != size:
        raise CacheDamaged(f"it is {path.stat().st_size} bytes, {size} were written", str(path), "it is made anew")
    return sha256


def _fields(path: Path) -> tuple[str, str, int] | None:
    note = _note_path(path)
    if not note.is_file():
        return None
    text = files.read_bytes(note, limit_bytes=MAX_NOTE_BYTES, error=CacheDamaged)
    fields = decode.document(text, where=str(note), error=CacheDamaged)
    decode.envelope(fields, kind=KIND, schema=SCHEMA, what="cached graph")
    found = fields.string("sha256", limit=64), fields.string("model", limit=200), fields.integer("bytes")
    fields.finish()
    return found


def _note_path(path: Path) -> Path:
    return path.with_suffix(".json")
