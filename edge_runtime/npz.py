"""Arrays in ``.npy`` and ``.npz`` files: read from strangers within bounds, written the same to the byte.

numpy's own loader trusts headers: one that promises 10 TB makes it allocate, and one with an object dtype unpickles.
Here the header is parsed first, held against the bytes that are really there, and only then is memory taken.
"""

import io
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.lib import format as npy

from edge_runtime.errors import WrongInput
from edge_runtime.files import read_bytes, write_whole

Array = np.ndarray[Any, np.dtype[Any]]

MAX_BYTES = 2**31  # of one file and of its unpacked arrays; a board's inputs are far smaller
MAX_ARRAYS = 256
MAX_HEADER_BYTES = 10_000  # numpy's own limit for untrusted files
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip can say; a fixed one keeps files reproducible


def read(path: Path, *, limit_bytes: int = MAX_BYTES) -> dict[str, Array]:
    """Return the arrays of an ``.npz`` by name, or of an ``.npy`` under the name "" (empty).

    Raises WrongInput for anything that is not plain numeric arrays of at most `limit_bytes` in all: pickled objects,
    structured dtypes, truncated or lying headers, compression bombs.
    """
    content = read_bytes(path, limit_bytes=limit_bytes, error=WrongInput)
    try:
        return _arrays(content, path, limit_bytes)
    except WrongInput:
        raise
    except Exception as problem:
        # zipfile, zlib, lzma, tokenize and numpy's header reader have exceptions with no common ancestor
        raise WrongInput(
            f"broken file: {str(problem)[:200]}", str(path), "save it again with numpy.save or numpy.savez"
        ) from problem


def write(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write arrays as an uncompressed ``.npz``, whole or not at all; the same arrays give the same bytes.

    Uncompressed because random inputs don't shrink, and because another zlib would write other bytes.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy", EPOCH)
            member.external_attr = 0o644 << 16
            content = io.BytesIO()
            npy.write_array(content, np.asarray(array), allow_pickle=False)
            archive.writestr(member, content.getvalue())
    write_whole(path, buffer.getvalue())


def _arrays(content: bytes, path: Path, limit_bytes: int) -> dict[str, Array]:
    if content[:6] == npy.MAGIC_PREFIX:
        return {"": _array(io.BytesIO(content), len(content), str(path), path.name)}
    if content[:2] != b"PK":
        raise WrongInput("neither an .npy nor an .npz file", str(path), "save arrays with numpy.save or numpy.savez")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        if len(members) > MAX_ARRAYS:
            raise WrongInput(f"{len(members)} arrays", str(path), f"at most {MAX_ARRAYS} are read from one file")
        if sum(member.file_size for member in members) > limit_bytes:
            raise WrongInput(
                f"unpacks to more than {limit_bytes} bytes", str(path), "split the data into several files"
            )
        arrays: dict[str, Array] = {}
        for member in members:
            name = member.filename.removesuffix(".npy")
            if name in arrays:
                raise WrongInput(f"the array {name[:80]!r} is there twice", str(path), "save it again")
            # reads no more than the directory entry says, and at the end holds that against the checksum
            with archive.open(member) as stream:
                arrays[name] = _array(stream, member.file_size, str(path), name)
        return arrays


def _array(stream: IO[bytes], size: int, where: str, name: str) -> Array:
    """Return the array of a stream of `size` bytes, read straight into memory of its own."""
    hint = "save plain numeric arrays with numpy.save or numpy.savez"
    try:
        version = npy.read_magic(stream)
        if version not in {(1, 0), (2, 0)}:
            raise WrongInput(
                f"{name[:80]!r} is .npy format {version}",
                where,
                "formats 1.0 and 2.0 hold numbers; use these",
            )
        header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = header(stream, max_header_size=MAX_HEADER_BYTES)
    except WrongInput:
        raise
    except Exception as problem:
        raise WrongInput(f"{name[:80]!r} has a bad .npy header: {str(problem)[:200]}", where, hint) from problem
    if dtype.hasobject or dtype.names is not None or dtype.kind not in "biufc":
        raise WrongInput(f"{name[:80]!r} holds {str(dtype)[:80]}, which is not plain numbers", where, hint)
    if any(not isinstance(size, int) or size < 0 for size in shape):
        raise WrongInput(f"{name[:80]!r} has the shape {str(shape)[:80]}", where, hint)
    promised, there = math.prod(shape) * dtype.itemsize, size - stream.tell()
    if promised != there:
        raise WrongInput(
            f"{name[:80]!r} promises {promised} bytes and holds {there}",
            where,
            "the file is truncated or damaged",
        )
    order: Literal["F", "C"] = "F" if fortran else "C"
    array: Array = np.empty(shape, dtype.newbyteorder("="), order)
    into = array.reshape(-1, order=order).view(np.uint8).data
    while into and (count := stream.readinto(into)):  # type: ignore[attr-defined]  # io.BytesIO and zipfile's have it
        into = into[count:]
    if into or stream.read(1):  # past the end, where zipfile holds the content against its checksum
        raise WrongInput(f"{name[:80]!r} is not as long as its file says", where, "the file is truncated or damaged")
    return array if dtype.isnative else array.byteswap(inplace=True)
