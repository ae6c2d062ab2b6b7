"""Files read within limits, written whole or not at all, hashed as a stream, joined without escape."""

import ctypes
import errno
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from edge_runtime.errors import InputError, OutputExists, Unwritable

CHUNK_BYTES = 1 << 20  # hashing speed stops growing well below this; it bounds memory
NAME_MAX = 255  # bytes of a file's name <linux/limits.h>
RENAME_EXCHANGE = 2  # <linux/fs.h>
AT_FDCWD = -100  # <fcntl.h>


def read_bytes(path: Path, *, limit_bytes: int, error: type[InputError] = InputError) -> bytes:
    """Return the content of a regular file of at most `limit_bytes`; raise `error` for anything else."""
    try:
        # without O_NONBLOCK, opening a FIFO someone put there would wait for ever
        with open(path, "rb", opener=_open_without_waiting) as stream:
            if not _is_regular(stream.fileno()):
                raise error("not a regular file", str(path), "give the path of a file")
            size = os.fstat(stream.fileno()).st_size
            # read() reserves what it is asked for: asking for the limit would fail on a board with less memory; a
            # file of /proc has the size 0, and any may grow while it is read
            content = b"" if size > limit_bytes else stream.read(max(size, min(limit_bytes, CHUNK_BYTES)) + 1)
    except OSError as problem:
        raise error(_reason(problem), str(path), "check that the path is right and readable") from problem
    if max(size, len(content)) > limit_bytes:
        raise error(f"larger than the {limit_bytes} bytes allowed here", str(path), "check that it is the right file")
    return content


def sha256(path: Path, *, error: type[InputError] = InputError) -> str:
    """Return the hexadecimal SHA-256 of a file, read as a stream."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb", opener=_open_without_waiting) as stream:
            if not _is_regular(stream.fileno()):
                raise error("not a regular file", str(path), "the artifact was tampered with; make it again")
            while chunk := stream.read(CHUNK_BYTES):
                digest.update(chunk)
    except OSError as problem:
        raise error(_reason(problem), str(path), "check that the path is right and readable") from problem
    return digest.hexdigest()


def is_plain_relative(text: str) -> bool:
    """Return whether a path from a manifest is relative, POSIX, normalised and unable to leave its folder."""
    path = PurePosixPath(text)
    return (
        bool(text)
        and not path.is_absolute()
        and ".." not in path.parts
        and str(path) == text
        and text != "."
        and text.isprintable()  # no control characters, and no surrogates, which no file name can hold
        and all(len(part.encode()) <= NAME_MAX for part in path.parts)
        and not any(letter in '\\:*?"<>|' for letter in text)
    )


def inside(root: Path, relative: str, *, error: type[InputError] = InputError) -> Path:
    """Join a path that was read from a file to `root`; raise `error` if it leaves it, by text or by symbolic link."""
    if not is_plain_relative(relative):
        raise error(f"the path {relative[:200]!r} may leave its folder", str(root), "the file was not written by edge")
    joined = root / relative
    if not joined.resolve().is_relative_to(root.resolve()):
        raise error(f"{relative!r} is a link that leaves its folder", str(root), "put the file itself there")
    return joined


def write_whole(path: Path, content: bytes) -> None:
    """Write a file by temporary name, flush and rename: a reader sees the old content or the new, never half.

    Raises Unwritable when the file system refuses, or when `path` is a device, a pipe or a directory.
    """
    if path.exists() and not path.is_file():
        raise Unwritable("can't write: not a regular file", str(path), "give the path of a file")
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    except OSError as problem:
        raise _unwritable(problem, path) from problem
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            os.fchmod(stream.fileno(), 0o666 & ~_umask())
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(path)
        sync_directory(path.parent)
    except OSError as problem:
        raise _unwritable(problem, path) from problem
    finally:
        Path(name).unlink(missing_ok=True)


def refuse_taken(path: Path, *, replace: bool) -> None:
    """Refuse an output file early, before any work is spent on it: it is there, or its folder can't take it."""
    if os.path.lexists(path) and not replace:
        raise OutputExists("the output is there already", str(path), "choose another path, or replace it with --force")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        problem = "no permission" if path.parent.is_dir() else "no such folder"
        raise Unwritable(f"can't write: {problem}", str(path.parent), "make it, or choose another place")


def refuse_existing(path: Path, *, replace: bool, ours: Callable[[Path], bool]) -> None:
    """Refuse a taken output path early, before any work is spent on it.

    With `replace`, a directory that is `ours` may be replaced; anything else never is, so that a mistyped ``--force``
    can't delete someone's folder.
    """
    if not os.path.lexists(path):
        return
    if not replace:
        raise OutputExists("the output is there already", str(path), "choose another path, or replace it with --force")
    if path.is_symlink() or not ours(path):
        raise OutputExists(
            "it is there, and is not an artifact or holds more than one",
            str(path),
            "choose another path, or remove it yourself",
        )


@contextmanager
def staged_directory(final: Path, *, replace: bool, ours: Callable[[Path], bool]) -> Iterator[Path]:
    """Yield an empty directory beside `final`; on success flush it and rename it into place, else remove it.

    Raises OutputExists as `refuse_existing` does, Unwritable when the file system refuses.
    """
    refuse_existing(final, replace=replace, ours=ours)
    try:
        staging = Path(tempfile.mkdtemp(prefix=f".{final.name}.", suffix=".tmp", dir=final.parent))
    except OSError as problem:
        raise _unwritable(problem, final) from problem
    try:
        yield staging
        try:
            _flush_tree(staging)
            refuse_existing(final, replace=replace, ours=ours)
            if final.exists():
                _exchange(staging, final)  # afterwards `staging` names the old directory, removed below
            else:
                staging.rename(final)
            sync_directory(final.parent)
        except OSError as problem:
            raise _unwritable(problem, final) from problem
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def is_full(problem: OSError) -> bool:
    """Return whether a file system refuses more: it is full, or what one user or file may have is."""
    return problem.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def telling_of_full_disks(path: Path) -> Iterator[None]:
    """Raise Unwritable, naming the file or else `path`, for an OSError inside that says that there is no room."""
    try:
        yield
    except OSError as problem:
        if not is_full(problem):
            raise
        raise _unwritable(problem, Path(problem.filename2 or problem.filename or path)) from problem


def sync_directory(path: Path) -> None:
    """Flush a directory, so that a rename in it survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as problem:
        # some network and FUSE file systems know no fsync of directories; there is nothing better to do there
        if problem.errno not in {errno.EINVAL, errno.ENOTSUP}:
            raise _unwritable(problem, path) from problem
    finally:
        os.close(descriptor)


def _exchange(one: Path, other: Path) -> None:
    # two plain renames would leave a moment without the artifact
    libc = ctypes.CDLL(None, use_errno=True)
    exchange = getattr(libc, "renameat2", None)
    if exchange is not None:
        status = exchange(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE)
        if status == 0:
            return
        if ctypes.get_errno() not in {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP}:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(other))
    aside = one.with_name(one.name + ".old")
    other.rename(aside)
    one.rename(other)
    aside.rename(one)


def _flush_tree(root: Path) -> None:
    root.chmod(0o777 & ~_umask())  # mkdtemp made it private
    for folder, _, names in os.walk(root):
        for name in names:
            descriptor = os.open(Path(folder, name), os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        sync_directory(Path(folder))


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _is_regular(descriptor: int) -> bool:
    return stat.S_ISREG(os.fstat(descriptor).st_mode)


def _reason(problem: OSError) -> str:
    return (problem.strerror or str(problem)).lower()


def _unwritable(problem: OSError, path: Path) -> Unwritable:
    return Unwritable(
        f"can't write: {_reason(problem)}",
        str(path),
        "check permissions and free space, or choose another place",
    )
