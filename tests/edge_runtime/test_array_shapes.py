"""Shapes from headers alone: numpy's own files, and what no header is."""

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edge_runtime import npz
from edge_runtime.array_shapes import array_shapes
from edge_runtime.errors import WrongInput

ROOT = Path(__file__).resolve().parents[2]


def npy(header: bytes, version: tuple[int, int] = (1, 0)) -> bytes:
    return b"\x93NUMPY" + bytes(version) + len(header).to_bytes(2 if version == (1, 0) else 4, "little") + header


def zipped(path: Path, *members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for index, content in enumerate(members):
            archive.writestr(f"a{index}.npy", content)
    return path


@given(shapes=st.dictionaries(st.sampled_from("abc/x"), hnp.array_shapes(min_dims=0, min_side=0, max_side=3)))
def test_shapes_are_those_of_the_arrays(
    tmp_path_factory: pytest.TempPathFactory, shapes: dict[str, tuple[int, ...]]
) -> None:
    file = tmp_path_factory.getbasetemp() / "shapes.npz"
    npz.write(file, {name: np.zeros(shape, "f4") for name, shape in shapes.items()})
    assert array_shapes(file) == shapes
    np.savez_compressed(file, *(np.zeros(shape) for shape in shapes.values()))
    assert list(array_shapes(file).values()) == list(shapes.values())


def test_the_longer_form_of_a_header_is_read_too(tmp_path: Path) -> None:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n"
    assert array_shapes(zipped(tmp_path / "a.npz", npy(header, (2, 0)))) == {"a0": (2, 3)}


@pytest.mark.parametrize(
    "member",
    [
        b"",
        b"\x93NUMPY",
        npy(b"{'shape': (2,)}", (2, 0))[:9],
        npy(b"{'shape': (2,)}", (3, 0)),
        npy(b"{'shape': [2]}"),
        npy(b"{'shape': (-1,)}"),
        npy(b"{'shape': (True,)}"),
        npy(b"{'shape': (2.0,)}"),
        npy(b"{'shape': (1,) * 99}"),
        npy(b"{'shape': (" + b"1," * 65 + b")}"),
        npy(b"{}"),
        npy(b"__import__('os')"),
        npy(b"(" * 5000),
        npy(b"{'shape': (2,)}" + b" " * 10_000),
    ],
)
def test_what_tells_no_shape_is_wrong_input(member: bytes, tmp_path: Path) -> None:
    with pytest.raises(WrongInput, match="broken file"):
        array_shapes(zipped(tmp_path / "a.npz", member))


def test_a_missing_file_one_that_is_no_archive_and_too_many_arrays_are_wrong_input(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("no archive")
    for name in ("missing.npz", "text.npz"):
        with pytest.raises(WrongInput, match="broken file"):
            array_shapes(tmp_path / name)
    with pytest.raises(WrongInput, match="257 arrays"):
        array_shapes(zipped(tmp_path / "many.npz", *[npy(b"{'shape': ()}")] * 257))


def test_a_measurement_never_loads_numpy_itself(tiny_edge: Path) -> None:
    code = (
        "import sys\n"
        "from edge_runtime.cli import main\n"
        f"assert main(['measure', {str(tiny_edge)!r}, '--launches', '1', '--budget', '1', '--quiet']) == 0\n"
        "assert 'numpy' not in sys.modules, 'numpy is in the process that measures'\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.DEVNULL, check=True, timeout=120)
