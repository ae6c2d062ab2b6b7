"""What kind of file a SOURCE is, by its content: names lie, and each kind that can't serve has a remedy of its own."""

import zipfile
from pathlib import Path

from edge_runtime.units import size
from export_tools.errors import SourceError

PICKLE, SCRIPT, PROGRAM = "a whole-module pickle", "a TorchScript archive", "a torch.export program"
MOST_NAMES = 100_000  # of files in an archive: torch writes one for each weight
SPARE_BYTES = 2**20
_PICKLE_MAGIC = b"\x80"  # protocol 2 and later, torch's format before 1.6
_BUILD = "give FILE.py:callable, package.module:callable, or a module saved with torch.save(module, FILE)"
_WEIGHTS = "give what builds the module, and this as its weights: FILE.py:callable --weights {name}"
_FOREIGN = (  # offset, bytes there, what such a file is
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes it"),
    (0, b"GGUF", "a GGUF file of llama.cpp"),
    (4, b"TFL3", "a TensorFlow Lite model"),
    (4, b"ET12", "an ExecuTorch program, compiled for its own runtime"),
)


def kind_of(path: Path) -> str:
    """Return `PICKLE`, `SCRIPT` or `PROGRAM`; raise SourceError with what any other file is, and what to give instead.

    A pickle of weights is told from one of a module only by opening it, which `pickled` does.
    """
    if path.suffix == ".py":
        raise SourceError("which of its callables?", str(path), f"name it: {path.name}:build")
    if not path.is_file():
        problem = "not a file" if path.exists() else "no such file"
        raise SourceError(problem, str(path), "give FILE.py:callable, package.module:callable or model.pt")
    if zipfile.is_zipfile(path):
        return _kind_of_archive(path)
    with path.open("rb") as stream:
        head = stream.read(16)
    for offset, magic, what in _FOREIGN:
        if head[offset:].startswith(magic):
            raise SourceError(f"{what}: not PyTorch's", str(path), _BUILD)
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
        raise SourceError("it holds weights (safetensors), not a module", str(path), _WEIGHTS.format(name=path.name))
    if not head.startswith(_PICKLE_MAGIC):
        raise SourceError("not a model that torch saved", str(path), _BUILD)
    return PICKLE


def _kind_of_archive(path: Path) -> str:
    names = _names(path)
    inner = {name.partition("/")[2] for name in names} | names  # torch's own have one folder around everything
    if any(name.startswith("models/") and name.endswith(".json") for name in inner):
        return PROGRAM
    if "serialized_exported_program.json" in inner:  # as torch wrote it before 2.7
        return PROGRAM
    if any(name.startswith("data/aotinductor/") for name in inner):
        hint = "give the program itself, saved with torch.export.save, or FILE.py:callable"
        raise SourceError("compiled by AOTInductor for one kind of machine: it holds no program", str(path), hint)
    if "constants.pkl" in inner:
        return SCRIPT
    if "data.pkl" in inner:
        return PICKLE
    if names and all(name.endswith(".npy") for name in names):
        raise SourceError("it holds arrays (.npz), not a module", str(path), _WEIGHTS.format(name=path.name))
    raise SourceError("a zip, but not of torch.save", str(path), _BUILD)


def _names(path: Path) -> set[str]:
    hint = "save it again; torch writes archives that are not compressed"
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as problem:
        raise SourceError(f"a broken archive: {problem}", str(path), hint) from problem
    if len(entries) > MOST_NAMES:
        raise SourceError(f"an archive of {len(entries)} files", str(path), hint)
    whole, there = sum(entry.file_size for entry in entries), path.stat().st_size
    names = {entry.filename for entry in entries}
    if whole > there + SPARE_BYTES and not all(name.endswith(".npy") for name in names):
        raise SourceError(f"an archive of {size(there)} that unpacks to {size(whole)}", str(path), hint)
    return names
