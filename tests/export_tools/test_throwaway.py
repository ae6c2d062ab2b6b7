"""pip fetches another onnxruntime into a folder of its own; what it can't fetch is told for what it is."""

import os
import sys
import zipfile
from pathlib import Path

import pytest

from edge_runtime.errors import UnsupportedSystem, Unwritable, UsageError
from export_tools import throwaway
from export_tools.errors import NoWheel


def wheel(folder: Path, name: str, version: str) -> None:
    """Write a wheel that holds one module, which knows its version."""
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{name}/__init__.py", f"__version__ = '{version}'\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of wheels that is all that pip knows, beside settings that would lead it astray."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for variable in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(variable)
    for variable, value in {
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(folder),
        "PIP_USER": "1",
        "PIP_TARGET": str(tmp_path / "elsewhere"),
        "PYTHONPATH": str(tmp_path / "misleading"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(variable, value)
    return folder


def version_of(folder: Path, package: str) -> str:
    return (folder / package / "__init__.py").read_text().split("'")[1]


def test_a_release_is_fetched_once_with_a_numpy_that_fits(index: Path, tmp_path: Path) -> None:
    for version in ("1.15.0", "1.15.1", "1.19.2"):
        wheel(index, "onnxruntime", version)
    for version in ("1.26.4", "2.4.0"):
        wheel(index, "numpy", version)
    old = throwaway.environment("1.15")
    assert (version_of(old, "onnxruntime"), version_of(old, "numpy")) == ("1.15.1", "1.26.4")
    assert version_of(throwaway.environment("1.19.2"), "numpy") == "2.4.0"
    assert old.is_relative_to(tmp_path / "cache")
    assert not (tmp_path / "elsewhere").exists()
    for left in index.iterdir():
        left.unlink()
    assert throwaway.environment("1.15") == old  # nobody is asked again
    assert len(list(old.parent.iterdir())) == 2


@pytest.mark.parametrize(
    ("release", "there"),
    [("1.14", "the oldest is 1.15.0"), ("1.15.7", "there are 1.15.0"), ("3.0", "there are 1.15.0 to 1.20.1")],
)
def test_where_this_python_has_no_wheel_it_says_which_there_are(
    index: Path, tmp_path: Path, release: str, there: str
) -> None:
    for version in ("1.15.0", "1.20.1"):
        wheel(index, "onnxruntime", version)
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    with pytest.raises(NoWheel) as caught:
        throwaway.environment(release)
    assert caught.value.what == f"no wheel of onnxruntime {release} for Python {python}; {there}"
    assert caught.value.exit_code == 5
    assert not list((tmp_path / "cache/edge/runtimes").iterdir())


def test_without_a_network_it_says_so_and_leaves_nothing(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel(index, "onnxruntime", "1.30.0")  # at hand, as a wheelhouse may be: still nobody told of the others
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # the port "discard", where nobody listens
    with pytest.raises(UnsupportedSystem, match=r"onnxruntime 1\.16 can't be fetched: no package index") as caught:
        throwaway.environment("1.16")
    assert not isinstance(caught.value, NoWheel)
    assert caught.value.exit_code == 5
    assert "go online once" in caught.value.hint
    assert not list((tmp_path / "cache/edge/runtimes").iterdir())


def test_an_index_that_knows_no_onnxruntime_is_no_proof_that_there_is_no_wheel(index: Path) -> None:
    with pytest.raises(UnsupportedSystem, match="can't be fetched") as caught:
        throwaway.environment("1.16")
    assert not isinstance(caught.value, NoWheel)


def test_what_pip_says_itself_is_told(index: Path) -> None:
    (index / "onnxruntime-1.15.0-py3-none-any.whl").write_bytes(b"no wheel")
    wheel(index, "numpy", "1.26.4")
    with pytest.raises(UnsupportedSystem, match=r"can't be installed: ERROR: .*onnxruntime"):
        throwaway.environment("1.15")


def test_a_cache_that_others_can_write_to_is_never_run(index: Path, tmp_path: Path) -> None:
    home = tmp_path / "cache/edge/runtimes"
    home.mkdir(parents=True)
    home.chmod(0o777)
    with pytest.raises(UnsupportedSystem, match="can be written by others"):
        throwaway.environment("1.15")


def test_no_place_for_it_is_told(index: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(Unwritable, match="no place for another onnxruntime"):
        throwaway.environment("1.15")


def test_a_release_is_named_as_pip_would() -> None:
    assert throwaway.parse("onnxruntime==1.16") == "1.16"
    assert throwaway.parse("onnxruntime == 1.16.3") == "1.16.3"
    assert throwaway.parse("onnxruntime==1.16.*") == "1.16"
    for text in ("1.16", "onnxruntime>=1.16", "torch==2.0", "onnxruntime==../../tmp", "", "onnxruntime==1"):
        with pytest.raises(UsageError, match="names no release"):
            throwaway.parse(text)
