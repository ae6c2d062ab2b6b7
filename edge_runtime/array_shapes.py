"""The shapes of the arrays in an ``.npz``, told by their headers, without numpy.

A process that measures must not have numpy's pages itself: they would count for half in its workers' proportional
memory, and could not be evicted before a cold start.
Source: numpy.lib.format, versions 1.0 and 2.0: magic, version, length of the header, a Python literal.
"""

import ast
import zipfile
from pathlib import Path
from typing import IO

from edge_runtime.errors import WrongInput

MAGIC = b"\x93NUMPY"
LENGTH_BYTES = {b"\x01\x00": 2, b"\x02\x00": 4}  # by version of the format
MAX_ARRAYS, MAX_HEADER_BYTES, MAX_DIMENSIONS = 256, 10_000, 64  # as `npz` has them; numpy's own of dimensions


def array_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of each array by its name; raise WrongInput for a file that tells none.

    Only headers are read: what they promise is held against the content by whoever reads the arrays (`npz.read`).
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > MAX_ARRAYS:
                raise WrongInput(f"{len(members)} arrays", str(path), f"at most {MAX_ARRAYS} are read from one file")
            found = {}
            for member in members:
                with archive.open(member) as stream:
                    found[member.filename.removesuffix(".npy")] = _shape(stream)
    except WrongInput:
        raise
    except Exception as problem:
        # zipfile, zlib and lzma have exceptions with no common ancestor
        raise _broken(str(problem), path) from problem
    return found


def _shape(stream: IO[bytes]) -> tuple[int, ...]:
    start = stream.read(len(MAGIC) + 2)
    length_bytes = LENGTH_BYTES.get(start[len(MAGIC) :]) if start[: len(MAGIC)] == MAGIC else None
    if length_bytes is None:
        raise ValueError("no array of .npy format 1.0 or 2.0")
    length = int.from_bytes(stream.read(length_bytes), "little")
    if length > MAX_HEADER_BYTES:
        raise ValueError("its header is too long")
    header = ast.literal_eval(stream.read(length).decode("latin1").strip())
    shape = header.get("shape") if isinstance(header, dict) else None
    if not isinstance(shape, tuple) or len(shape) > MAX_DIMENSIONS:
        raise ValueError("its header tells no shape")
    if not all(isinstance(size, int) and not isinstance(size, bool) and size >= 0 for size in shape):
        raise ValueError(f"it has the shape {str(shape)[:80]}")
    return shape


def _broken(problem: str, path: Path) -> WrongInput:
    return WrongInput(f"broken file: {problem[:200]}", str(path), "save it again with numpy.savez")
