"""Where onnxruntime's optimised graph is kept for this machine, so that later loads map it instead of optimising.

An entry is the graph as ``.onnx``, the file of its weights when they are worth one, and a small JSON note. Its name is
a hash of everything that decides its content: the model's hash, onnxruntime's version and build, the CPU and its
features, the options. A graph optimised for one CPU must never run on another: its layouts and integer kernels are
baked in.

Why not one ``.ort`` file: the weights in it begin anywhere, and a ResNet-18 on mapped ones was 6 % slower; in a file of
their own onnxruntime aligns them. It also lets go of those that a kernel has packed for itself, so that four matrices
of 16 MiB take 66 MiB of private memory, against 130 from the ``.ort`` file and 113 without any of this.

Nothing here may keep a model from running: a full or read-only disk means no cache, a damaged entry is made anew.
"""

import contextlib
import hashlib
import json
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from edge_runtime import decode, files, trust
from edge_runtime.errors import EdgeError, InputError, Unwritable, UsageError

KIND, SCHEMA = "edge-graph", 1
GRAPH, WEIGHTS = ".onnx", ".weights"
MAX_NOTE_BYTES = 1 << 16
DEFAULT_LIMIT_BYTES = 1 << 30  # a dozen ResNet-50s; $EDGE_CACHE_BYTES sets another
MAX_DIGITS = 19  # of a count of bytes that fits 64 bits
STALE_NS = 24 * 3600 * 10**9  # no fill takes a day: what is older was left by one that was killed
Warn = Callable[[str], None]

# What this cache names, and what it leaves when it is killed: $EDGE_CACHE may be any folder, with files of others in it
_OWN = re.compile(r"[0-9a-f]{64}(?:\.onnx|\.weights|\.json)|\.[0-9a-f]{16}(?:[0-9a-f]{48}\.json)?\.\w+(?:\.tmp)?")


@dataclass(frozen=True, slots=True)
class Entry:
    """One optimised graph on disk. path: the graph.   bytes: with its weights.   used_ns: when it was last loaded."""

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


def noise_folder() -> Path:
    """Return where calibrations are kept (`noise_floor`)."""
    return _cache() / "noise"


def key(model_sha256: str, *, engine: str, options: Mapping[str, str]) -> str:
    """Return the name of an entry: a hash of what decides its content.

    engine: onnxruntime's version and build.   options: those that change the graph. The thread count is not among
    them: the optimiser doesn't ask for it.
    """
    parts = {"model": model_sha256, "engine": engine, "cpu": _cpu_identity(), "options": dict(sorted(options.items()))}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def contains(name: str) -> bool:
    """Return whether an entry is there, without looking whether it is sound."""
    try:
        return _graph_path(name).is_file()
    except OSError:
        return False


def find(name: str, *, warn: Warn) -> Path | None:
    """Return the entry's graph when it and its weights are there and are what was written, else None.

    Both are hashed at their first use in a boot, later trusted by their stat records. A damaged entry is removed: its
    bytes never reach onnxruntime, which may crash on them.
    """
    path = _graph_path(name)
    try:
        note = _read_note(path)
        if note is None or not path.is_file():
            return None
        for part in note.parts:
            _verify(part)
        # the time of last use decides who goes when space is short; not changing it is no reason to fail
        with contextlib.suppress(OSError):
            os.utime(_note_path(path))
    except EdgeError as problem:
        warn(f"a cached graph is damaged and is made anew: {problem.what} ({path})")
        remove(name)
        return None
    except OSError:  # a folder that is closed to us: `fill` says so
        return None
    return path


def fill(name: str, *, model: str, make: Callable[[Path, str], None], warn: Warn) -> Path | None:
    """Let `make` write the graph, then publish it and return its path; failing is a warning and None.

    make: is given the path to write to, and the name of the file beside it for the weights, which the graph quotes.
    Several processes may fill one entry at once: each writes to a folder of its own, and the last rename wins with
    the same content. What `make` raises as an EdgeError is raised here too.
    """
    place = folder()
    temporary: Path | None = None
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sweep()
        temporary = Path(tempfile.mkdtemp(prefix=f".{name[:16]}.", dir=place))
        final = _graph_path(name)
        made = [temporary / final.name, temporary / _weights_path(final).name]
        make(made[0], made[1].name)
        parts = {path.suffix[1:]: path for path in made if path.exists()}
        size = sum(path.stat().st_size for path in parts.values())
        limit = limit_bytes(warn=_silently)  # `session` has warned already
        if size > limit:
            raise Unwritable(f"it has {size} bytes, the cache may have {limit}", str(place), "EDGE_CACHE_BYTES")
        note = {
            "kind": KIND,
            "schema": SCHEMA,
            "key": name,
            "parts": {
                suffix: {"sha256": files.sha256(path), "bytes": path.stat().st_size} for suffix, path in parts.items()
            },
            "model": model[:200],
        }
        for taken in (final, _weights_path(final), _note_path(final)):
            if taken.is_dir() and not taken.is_symlink():
                shutil.rmtree(taken, ignore_errors=True)  # nobody but this cache names anything so
        # the graph last: without it the rest is no entry
        for path in reversed(parts.values()):
            if path == made[0]:
                files.write_whole(_note_path(final), decode.as_json(note).encode())
            path.replace(place / path.name)
        _make_room(limit, keep=name)
    except (OSError, Unwritable) as problem:
        reason = problem.what if isinstance(problem, EdgeError) else (problem.strerror or str(problem)).lower()
        warn(f"the optimised graph can't be cached, so each start optimises anew: {reason} ({place})")
        return None
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    return final


def entries() -> tuple[Entry, ...]:
    """Return what is cached, most recently used first; what has no readable note is not an entry."""
    found = []
    for path in _listed():
        with contextlib.suppress(EdgeError, OSError):
            note = _read_note(path) if path.suffix == GRAPH else None
            if note is not None:
                size = sum(part.path.stat().st_size for part in note.parts)
                found.append(Entry(path.stem, path, size, _note_path(path).stat().st_mtime_ns, note.model))
    return tuple(sorted(found, key=lambda entry: -entry.used_ns))


def clear() -> int:
    """Remove every entry, what interrupted fills left and all stat records; return the bytes of graphs freed."""
    freed = 0
    for path in _listed():
        with contextlib.suppress(OSError):
            size = sum(part.lstat().st_size for part in (path.rglob("*") if path.is_dir() else (path,)))
            _remove(path)
            freed += size
    trust.forget(trust_folder())
    return freed


def remove(name: str) -> None:
    """Remove one entry, if it is there."""
    path = _graph_path(name)
    for part in (path, _note_path(path), _weights_path(path)):
        with contextlib.suppress(OSError):
            part.unlink()


def limit_bytes(*, warn: Warn | None = None) -> int:
    """Return how large the cache may grow: ``$EDGE_CACHE_BYTES``, else 1 GiB; 0 means no cache at all.

    Anything but a count of bytes is a UsageError, or with `warn` a warning and 1 GiB: a wrong limit keeps no model
    from running.
    """
    text = os.environ.get("EDGE_CACHE_BYTES", "")
    if not text:
        return DEFAULT_LIMIT_BYTES
    if not (text.isascii() and text.isdigit() and len(text) < MAX_DIGITS):
        wrong = UsageError(f"EDGE_CACHE_BYTES={text[:80]!r}", "the environment", "a count of bytes, such as 268435456")
        if warn is None:
            raise wrong
        warn(f"{wrong}; until then {DEFAULT_LIMIT_BYTES}")
        return DEFAULT_LIMIT_BYTES
    return int(text)


def _cache() -> Path:
    own, shared = os.environ.get("EDGE_CACHE"), os.environ.get("XDG_CACHE_HOME")
    if own:
        return Path(own)
    try:
        return (Path(shared) if shared else Path.home() / ".cache") / "edge"
    except RuntimeError:
        return Path(os.devnull, "edge")  # a user without a home: nothing can be there, so nothing is cached


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


def _silently(_: str) -> None:
    pass


def _make_room(limit: int, *, keep: str) -> None:
    """Remove the entries used longest ago until the rest fits; the one just written stays."""
    total = 0
    for entry in entries():
        total += entry.bytes
        if total > limit and entry.key != keep:
            remove(entry.key)
            total -= entry.bytes


def _listed() -> list[Path]:
    try:
        return [path for path in folder().iterdir() if _OWN.fullmatch(path.name)]
    except OSError:
        return []


def _sweep() -> None:
    for left in _listed():
        with contextlib.suppress(OSError):
            if left.name.startswith(".") and time.time_ns() - left.lstat().st_mtime_ns > STALE_NS:
                _remove(left)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


@dataclass(frozen=True, slots=True)
class _Part:
    path: Path
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class _Note:
    model: str
    parts: tuple[_Part, ...]


def _verify(part: _Part) -> None:
    if not part.path.is_file():
        raise CacheDamaged(f"{part.path.name} is missing", str(part.path), "it is made anew")
    size = part.path.stat().st_size
    if size != part.bytes:
        raise CacheDamaged(f"it is {size} bytes, {part.bytes} were written", str(part.path), "it is made anew")
    digest, _ = trust.sha256(part.path, folder=trust_folder(), error=CacheDamaged)
    if digest != part.sha256:
        raise CacheDamaged("its content changed", str(part.path), "it is made anew")


def _read_note(path: Path) -> _Note | None:
    note = _note_path(path)
    if not note.is_file():
        return None
    trust.refuse_foreign(note, error=CacheDamaged)  # it vouches for the graph's content
    text = files.read_bytes(note, limit_bytes=MAX_NOTE_BYTES, error=CacheDamaged)
    fields = decode.document(text, where=str(note), error=CacheDamaged)
    decode.envelope(fields, kind=KIND, schema=SCHEMA, what="cached graph")
    if fields.string("key", limit=64) != path.stem:
        raise CacheDamaged("its note belongs to another entry", str(note), "it is made anew")
    told = fields.mapping("parts", limit=2)
    if not {GRAPH[1:]} <= told.keys() <= {GRAPH[1:], WEIGHTS[1:]}:
        raise CacheDamaged(f"its note tells of {', '.join(sorted(told))[:80]}", str(note), "it is made anew")
    parts = [
        _Part(path.with_suffix(f".{suffix}"), part.string("sha256", limit=64), part.integer("bytes"))
        for suffix, part in told.items()
    ]
    for part in told.values():
        part.finish()
    found = _Note(fields.string("model", limit=200), tuple(parts))
    fields.finish()
    return found


def _graph_path(name: str) -> Path:
    return folder() / f"{name}{GRAPH}"


def _weights_path(path: Path) -> Path:
    return path.with_suffix(WEIGHTS)


def _note_path(path: Path) -> Path:
    return path.with_suffix(".json")
