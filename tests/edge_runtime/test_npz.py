"""Arrays from strangers: plain numbers within bounds, or WrongInput."""

import io
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edge_runtime import npz
from edge_runtime.errors import WrongInput

ROOT = Path(__file__).resolve().parents[2]
plain_dtypes = (
    hnp.boolean_dtypes()
    | hnp.integer_dtypes()
    | hnp.unsigned_integer_dtypes()
    | hnp.floating_dtypes(sizes=(16, 32, 64))
)


def npy_bytes(header: str, body: bytes = b"") -> bytes:
    text = header.encode("latin1")
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + body


def described(descr: str, shape: str, *, fortran: bool = False) -> str:
    return f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n"


def zipped(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@given(
    arrays=st.dictionaries(
        st.text(st.characters(codec="ascii", exclude_characters="\0\\:"), min_size=1, max_size=8),
        hnp.arrays(plain_dtypes, hnp.array_shapes(min_dims=0, min_side=0)),
        min_size=1,
        max_size=3,
    )
)
def test_what_is_written_reads_back_in_this_machines_byte_order(
    tmp_path_factory: pytest.TempPathFactory, arrays: dict[str, npz.Array]
) -> None:
    file = tmp_path_factory.getbasetemp() / "round.npz"
    npz.write(file, arrays)
    found = npz.read(file)
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype.newbyteorder("=")
        assert found[name].tobytes() == array.astype(array.dtype.newbyteorder("=")).tobytes()
        assert found[name].shape == array.shape
        assert found[name].flags.owndata
        assert found[name].flags.writeable


def test_numpys_own_files_are_read(tmp_path: Path) -> None:
    array = np.asfortranarray(np.arange(6, dtype=">f4").reshape(2, 3))
    np.save(tmp_path / "x.npy", array)
    np.savez_compressed(tmp_path / "x.npz", one=array, two=np.float64(3))
    alone = npz.read(tmp_path / "x.npy")
    assert list(alone) == [""]
    assert alone[""].dtype == np.dtype("float32")
    assert alone[""].tolist() == [[0, 1, 2], [3, 4, 5]]
    both = npz.read(tmp_path / "x.npz")
    assert (both["one"].tolist(), both["two"].tolist()) == ([[0, 1, 2], [3, 4, 5]], 3.0)


def test_the_same_arrays_give_the_same_bytes_on_any_day(tmp_path: Path) -> None:
    arrays = {"input/x": np.arange(3), "output/y": np.eye(2)}
    for name in ("a", "b"):
        npz.write(tmp_path / name, arrays)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with zipfile.ZipFile(tmp_path / "a") as archive:
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


class Exploit:
    """A pickle that leaves a file behind when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def test_a_pickle_is_refused_and_never_executed(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    exploit = pickle.dumps(Exploit(mark))
    boxed = np.empty(1, dtype=object)
    boxed[0] = Exploit(mark)
    np.save(tmp_path / "object.npy", boxed, allow_pickle=True)
    np.savez(tmp_path / "object.npz", x=boxed)
    (tmp_path / "raw.npy").write_bytes(exploit)
    zipped(tmp_path / "raw.npz", {"x.npy": exploit})
    for name in ("object.npy", "object.npz", "raw.npy", "raw.npz"):
        with pytest.raises(WrongInput):
            npz.read(tmp_path / name)
    assert not mark.exists()
    pickle.loads(exploit)
    assert mark.exists()  # it was armed


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"not an array", id="text"),
        pytest.param(b"\x93NUMPY", id="magic alone"),
        pytest.param(b"\x93NUMPY\x03\x00\x00\x00\x00\x00", id="format 3"),
        pytest.param(npy_bytes(described("'<f4'", "(2,)"), b"\0" * 7), id="a byte short"),
        pytest.param(npy_bytes(described("'<f4'", "(2,)"), b"\0" * 9), id="a byte long"),
        pytest.param(npy_bytes(described("'<f4'", f"({10**13},)")), id="10 TB promised"),
        pytest.param(npy_bytes(described("'<f4'", "(-1,)")), id="negative size"),
        pytest.param(npy_bytes(described("'<f4'", f"({2**70}, 0)")), id="a size beyond any index, and nothing"),
        pytest.param(npy_bytes(described("'<f4'", "(" + "1, " * 100 + ")"), b"\0" * 4), id="100 dimensions"),
        pytest.param(npy_bytes(described("'<f4'", "(1.5,)")), id="half an element"),
        pytest.param(npy_bytes(described("'|O'", "(1,)"), b"\0" * 8), id="objects"),
        pytest.param(npy_bytes(described("[('a', '<f4')]", "(1,)"), b"\0" * 4), id="structure"),
        pytest.param(npy_bytes(described("'<U4'", "(1,)"), b"\0" * 16), id="text array"),
        pytest.param(npy_bytes(described("'<M8[s]'", "(1,)"), b"\0" * 8), id="dates"),
        pytest.param(npy_bytes(described("()", "(1,)"), b"\0" * 4), id="empty descr"),
        pytest.param(npy_bytes(described("[5]", "(1,)"), b"\0" * 4), id="senseless descr"),
        pytest.param(npy_bytes("{'descr': (("), id="unclosed header"),
        pytest.param(npy_bytes("  x\n y"), id="indented header"),
        pytest.param(npy_bytes("__import__('os').system('true')"), id="code as header"),
        pytest.param(npy_bytes("(" * 5000), id="deep header"),
        pytest.param(b"PK\x03\x04 and no more", id="zip's first bytes"),
    ],
)
def test_a_file_that_lies_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(WrongInput) as refused:
        npz.read(tmp_path / "x.npy")
    assert refused.value.where == str(tmp_path / "x.npy")
    if content[:6] == b"\x93NUMPY":
        with pytest.raises(WrongInput):
            npz.read(zipped(tmp_path / "x.npz", {"x.npy": content}))


@given(content=st.binary(max_size=300), prefix=st.sampled_from([b"", b"\x93NUMPY\x01\x00", b"PK\x03\x04"]))
def test_any_bytes_are_arrays_or_wrong_input(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, prefix: bytes
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.npy"
    file.write_bytes(prefix + content)
    with pytest.raises(WrongInput):
        npz.read(file)


@given(data=st.data())
def test_a_flipped_byte_of_an_archive_is_noticed_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    file = tmp_path_factory.getbasetemp() / "flipped.npz"
    npz.write(file, {"x": np.arange(20, dtype="f4")})
    content = bytearray(file.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    file.write_bytes(content)
    try:
        arrays = npz.read(file)
    except WrongInput:
        return
    for array in arrays.values():
        assert array.dtype.kind in "biufc"
        assert array.nbytes <= len(content)


def test_a_truncated_archive_is_refused_wherever_it_ends(tmp_path: Path) -> None:
    npz.write(tmp_path / "whole.npz", {"x": np.arange(20)})
    content = (tmp_path / "whole.npz").read_bytes()
    for end in range(0, len(content), 7):
        (tmp_path / "cut.npz").write_bytes(content[:end])
        with pytest.raises(WrongInput):
            npz.read(tmp_path / "cut.npz")


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    body = npy_bytes(described("'|u1'", f"({2**28},)"), b"\0" * 2**28)
    bomb = zipped(tmp_path / "bomb.npz", {"x.npy": body}, zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < 2**20
    code = (
        "import pathlib, resource, sys\n"
        "from edge_runtime import errors, npz\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n"
        "    npz.read(pathlib.Path(sys.argv[1]), limit_bytes=1 << 24)\n"
        "except errors.WrongInput as error:\n"
        "    print(error.what, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 14)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(bomb)], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == f"unpacks to more than {1 << 24} bytes True\n", done.stderr


def test_a_member_that_holds_more_than_it_says_is_refused(tmp_path: Path) -> None:
    body = npy_bytes(described("'|u1'", "(1000,)"), b"\0" * 1000)
    file = zipped(tmp_path / "x.npz", {"x.npy": body}, zipfile.ZIP_DEFLATED)
    lying = file.read_bytes().replace(len(body).to_bytes(4, "little"), (80).to_bytes(4, "little"))
    file.write_bytes(lying)
    with pytest.raises(WrongInput):
        npz.read(file)


def test_too_many_members_and_twins_are_refused(tmp_path: Path) -> None:
    body = io.BytesIO()
    np.save(body, np.arange(2))
    many = {f"x{index}.npy": body.getvalue() for index in range(npz.MAX_ARRAYS + 1)}
    with pytest.raises(WrongInput, match="257 arrays"):
        npz.read(zipped(tmp_path / "many.npz", many))
    with pytest.raises(WrongInput, match="there twice"):
        npz.read(zipped(tmp_path / "twins.npz", {"x": body.getvalue(), "x.npy": body.getvalue()}))


def test_a_file_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros(100))
    with pytest.raises(WrongInput, match="larger than the 500 bytes"):
        npz.read(tmp_path / "x.npy", limit_bytes=500)


def test_a_file_of_the_wrong_size_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "x.npy").open("wb") as stream:
        stream.truncate(2**40)  # sparse: reading 2 GiB of it would take seconds and as much memory
    with pytest.raises(WrongInput, match="larger than the"):
        npz.read(tmp_path / "x.npy")


def test_a_member_that_its_checksum_belies_is_refused(tmp_path: Path) -> None:
    npz.write(tmp_path / "x.npz", {"x": np.arange(100)})
    content = (tmp_path / "x.npz").read_bytes()
    place = content.index(np.arange(100).tobytes())
    (tmp_path / "x.npz").write_bytes(content[:place] + b"\x07" + content[place + 1 :])
    with pytest.raises(WrongInput, match="Bad CRC"):
        npz.read(tmp_path / "x.npz")
