"""This machine as a board: a private root that holds what a board would hold and nothing else.

A worker started there finds numpy, onnxruntime and `edge_runtime`, and no package that only a host has, so that what
works here works on a board. The root is removed on every way out.
"""

import compileall
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import edge_runtime
from edge_runtime import manifest
from edge_runtime.artifact import Artifact, open_artifact
from edge_runtime.errors import EdgeError, Unwritable
from edge_runtime.launch import Command, own_command

NAME = "local"
LINKED = ("numpy", "onnxruntime")  # too large to copy for each run
START = "import sys; sys.path.insert(0, sys.argv[1]); from edge_runtime.worker import main; sys.exit(main())"


@dataclass(frozen=True, slots=True)
class LocalBoard:
    """An open private root: what a run asks of a board."""

    root: Path
    name: str = NAME

    def put_artifact(self, artifact: Artifact, *, place: str = "") -> Artifact:
        """Return the artifact as it stands on the board, every file hashed on the way.

        place: a folder of its own, where several may have one name.
        Raises ManifestError or HashMismatch for a damaged one, Unwritable when it doesn't fit.
        """
        artifact.verify()
        there = self.root / "artifacts" / place / artifact.path.resolve().name
        description = artifact.manifest
        files = [file.path for variant in description.variants for file in variant.files]
        for relative in (manifest.FILE_NAME, *files, *(case.path for case in description.golden)):
            _place(artifact.path / relative, there / relative)
        return open_artifact(there)

    def put_contender(self, file: Path) -> Path:
        """Return a contender's file as it stands on the board, compiled as it would be after its first run."""
        there = self.root / "contenders" / file.name
        _place(file, there)
        compileall.compile_file(there, quiet=2)
        return there

    def command(self) -> Command:
        """Return how a worker starts on the board.

        ``-I -S`` leave out the environment's PYTHON variables, the working directory and the interpreter's own
        site-packages: torch, onnx, rich and psutil can't be imported even by accident.
        """
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        environment = {**kept, "HOME": str(self.root / "home")}
        return Command((sys.executable, "-I", "-S", "-B", "-c", START, str(self.root / "payload")), environment)

    def torch_command(self) -> Command:
        """Return how a worker starts that has torch: as on a board, that is the machine's own interpreter."""
        return own_command()


@contextmanager
def open_board() -> Iterator[LocalBoard]:
    """Yield this machine as a board; its private root is removed at the end, whatever happened."""
    with tempfile.TemporaryDirectory(prefix="edge-board-", ignore_cleanup_errors=True) as folder:
        root = Path(folder)
        (root / "home").mkdir()
        _lay_payload(root / "payload")
        yield LocalBoard(root)


def _lay_payload(payload: Path) -> None:
    own = Path(edge_runtime.__file__).parent
    shutil.copytree(own, payload / own.name, ignore=shutil.ignore_patterns("__pycache__"))
    # workers write no bytecode, and compiling in each of them would be charged to our cold start
    compileall.compile_dir(payload, quiet=2)
    for name in LINKED:
        spec = importlib.util.find_spec(name)
        if spec is None or not spec.submodule_search_locations:
            continue  # the worker's own import error says it better
        package = Path(spec.submodule_search_locations[0])
        (payload / name).symlink_to(package)
        libraries = package.with_name(f"{name}.libs")  # where wheels keep the shared libraries they bring
        if libraries.is_dir():
            (payload / libraries.name).symlink_to(libraries)


def _place(source: Path, there: Path) -> None:
    """Link a file, or copy it where the file system or its owner forbids that."""
    try:
        there.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source.resolve(), there)
        except OSError:
            shutil.copyfile(source, there)
    except OSError as problem:
        raise _unplaced(problem, there) from problem


def _unplaced(problem: OSError, there: Path) -> EdgeError:
    reason = (problem.strerror or str(problem)).lower()
    return Unwritable(f"can't write: {reason}", str(there), "free space in the temporary directory, or set TMPDIR")
