"""Sources to export, and artifacts that several tests look at: an export takes seconds, so each is made once."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from export_tools import ExportRequest
from export_tools.pipeline import Exported, run
from export_tools.request import SourceSpec, parse_dynamic, parse_example

SOURCES = Path(__file__).parent / "sources"
Requested = Callable[..., ExportRequest]


@pytest.fixture(autouse=True)
def _private_memory(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what exports remember out of the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def import_state() -> Iterator[None]:
    """Undo what opening a source in this process does to the import system."""
    path, modules = list(sys.path), dict(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - set(modules):
        if getattr(sys.modules[name], "__file__", None) and str(SOURCES) in str(sys.modules[name].__file__):
            del sys.modules[name]


@pytest.fixture(scope="session")
def spec() -> Callable[..., SourceSpec]:
    """Return what makes the spec of a callable in sources/networks.py, or of another entry there."""

    def made(name: str, **options: Any) -> SourceSpec:
        entry = name if ":" in name or "." in name else f"networks.py:{name}"
        return SourceSpec(entry=entry, cwd=options.pop("cwd", str(SOURCES)), **options)

    return made


@pytest.fixture(scope="session")
def requested(spec: Callable[..., SourceSpec]) -> Requested:
    """Return what makes a request for one of the sources; flags as on the command line."""

    def made(
        name: str, output: Path, *, dynamic: tuple[str, ...] = (), example: tuple[str, ...] = (), **options: Any
    ) -> ExportRequest:
        source = options.pop("source", None) or spec(name)
        # "auto" takes both exporters' time: tests of the choice ask for it
        options.setdefault("exporter", "dynamo" if options.get("opset", 18) >= 18 else "torchscript")
        return ExportRequest(
            source=source,
            output=output,
            name="tested",
            origin=source.origin,
            dynamic=tuple(parse_dynamic(text) for text in dynamic),
            example=parse_example(example),
            **{"timeout_s": 120.0, **options},
        )

    return made


@pytest.fixture(scope="session")
def linear(requested: Requested, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exported]:
    """Return the exported linear model with a dynamic batch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
        patch.setenv("SOURCE_DATE_EPOCH", "1700000000")
        yield run(requested("linear", tmp_path_factory.mktemp("linear") / "linear.edge", dynamic=("x:0=batch",)))


@pytest.fixture
def quiet_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let temporary files of this process and its children be made in a folder of their own, to see what is left."""
    folder = tmp_path / "temporary files"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    return folder


def alive(pid: int) -> bool:
    """Return whether a process is there and no zombie."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
