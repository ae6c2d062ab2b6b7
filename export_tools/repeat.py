"""A repeated export of what has not changed is none: this host remembers what each artifact was made from.

Content-addressed: an artifact is what an export would make again when its own files are as they were written, and so is
everything that the export read (the source, every module and file that it imported or opened, weights, data, example),
with the same options, tools and interpreter. Kept in ``$XDG_CACHE_HOME/edge/exports``, by the hash of the artifact's
manifest. What a source takes from the environment, the clock or a file that C code opens can't be known; a source that
asks the network is never taken for unchanged.

Importing this must stay cheap: torch and onnx are not imported, and the answer takes a fraction of a second.
"""

import hashlib
import json
import os
import sys
import sysconfig
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from edge_runtime import decode, files, manifest
from edge_runtime.artifact import open_artifact
from edge_runtime.errors import EdgeError
from export_tools import remembered
from export_tools.remembered import cache_folder, is_private
from export_tools.request import ExportRequest

KIND, SCHEMA = "edge-export-inputs", 1
MAX_BYTES, MAX_FILES, MAX_TEXT = 2**23, 20_000, 2**22
KEPT = 256  # records: about as many artifacts as one project exports; without a bound they would pile up
# What exports, by distribution and by the package whose files its version vouches for
TOOLS = {
    "torch": "torch",
    "onnx": "onnx",
    "onnxscript": "onnxscript",
    "onnx-ir": "onnx_ir",
    "onnxslim": "onnxslim",
    "onnxruntime": "onnxruntime",
    "numpy": "numpy",
    "protobuf": "google.protobuf",
    "safetensors": "safetensors",
    "sympy": "sympy",
    "mpmath": "mpmath",
    "networkx": "networkx",
    "ml_dtypes": "ml_dtypes",
}
_ELSEWHERE = ("/proc", "/sys", "/dev")  # no files that anybody keeps
# Where the artifact goes and how long it may take make no other artifact; the example is known by its content
_NO_MATTER = frozenset({"output", "force", "timeout_s", "example"})


@dataclass(frozen=True, slots=True)
class Read:
    """What an export read. network: the first address that it asked for, or ""."""

    files: tuple[str, ...]
    folders: tuple[str, ...]
    network: str


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The artifact is what this export made. made: when, in UTC.   count: of its files.   document: its JSON."""

    made: str
    count: int
    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Changed:
    """The artifact is another than this export would make, or it can't be told. why: "" when nothing is known of it."""

    why: str


def compare(request: ExportRequest, *, folder: Path | None = None) -> Unchanged | Changed:
    """Return whether the artifact at the request's output is what the export would make again.

    Raises nothing: what can't be read is changed.
    """
    record = _record(request.output, folder or cache_folder("exports"))
    if record is None or request.source.pickle_sha256 is not None:
        return Changed("")
    why = (
        _difference(json.loads(record["tools"]), tools())
        or _difference(json.loads(record["options"]), _options(request))
        or next((f"{_short(path)} has changed" for path, was in record["files"].items() if _digest(path) != was), "")
        or next(
            (f"{_short(path)} holds others" for path, was in record["folders"].items() if _listing(path) != was), ""
        )
        or _damage(request.output)
    )
    if why:
        return Changed(why)
    document = {**json.loads(record["document"]), "artifact": str(request.output), "unchanged": True}
    return Unchanged(record["made"], len(record["files"]), document)


def keep(
    request: ExportRequest,
    read: Read,
    document: Mapping[str, Any],
    *,
    began_ns: int,
    work: Path,
    folder: Path | None = None,
) -> str | None:
    """Remember what an artifact was made from; return None, or why not. That is no reason for an export to fail.

    document: what a repeated export answers with ``--json``.   began_ns: when the export did; what changed since then
    can't be vouched for.   work: where the export's own files were.
    """
    paths = _matter((*read.files, *_named(request)), work)
    why = (
        ("" if request.source.pickle_sha256 is None else "the module came as an object, which is compared by nothing")
        or (f"the source asks the network ({read.network})" if read.network else "")
        or (f"it read {len(paths)} files" if len(paths) > MAX_FILES else "")
        or next((f"{_short(path)} changed during the export" for path in paths if _changed_ns(path) >= began_ns), "")
    )
    if why:
        return why
    record = {
        "kind": KIND,
        "schema": SCHEMA,
        "made": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
        "options": _json(_options(request)),
        "tools": _json(tools()),
        "files": _json({path: _digest(path) for path in paths}),
        "folders": _json({path: _listing(path) for path in _matter(read.folders, work)}),
        "document": _json(document),
    }
    home = folder or cache_folder("exports")
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not is_private(home):
            return f"{home} belongs to or can be written by others"
        files.write_whole(home / f"{_key(request.output)}.json", decode.as_json(record).encode())
        _make_room(home)
    except (OSError, EdgeError) as problem:
        return str(problem)
    return None


def tools() -> dict[str, str]:
    """Return everything else that decides what an export makes: versions, the interpreter, and our own code."""
    found = {"python": sys.version, "prefix": sys.prefix, "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    for name in TOOLS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = ""
    code = hashlib.sha256()
    for root in map(Path, _own_code()):
        for path in sorted(root.rglob("*.py")):
            code.update(f"{path.relative_to(root)}\0{files.sha256(path)}\0".encode())
    return {**found, "edge's own code": code.hexdigest()}


def _record(output: Path, home: Path) -> dict[str, Any] | None:
    try:
        path = home / f"{_key(output)}.json"
        if not path.is_file() or not is_private(home):
            return None
        fields = decode.document(files.read_bytes(path, limit_bytes=MAX_BYTES), where=str(path))
        decode.envelope(fields, kind=KIND, schema=SCHEMA, what="memory of an export")
        found: dict[str, Any] = {"made": fields.string("made")}
        found |= {key: fields.string(key, limit=MAX_TEXT) for key in ("options", "tools", "document")}
        for key in ("files", "folders"):
            found[key] = {str(k): str(v) for k, v in json.loads(fields.string(key, limit=MAX_TEXT)).items()}
        fields.finish()
    except (EdgeError, OSError, ValueError, AttributeError):
        return None  # as if nothing were known
    return found


def _key(output: Path) -> str:
    return files.sha256(output / manifest.FILE_NAME)


def _options(request: ExportRequest) -> dict[str, Any]:
    options = {key: value for key, value in asdict(request).items() if key not in _NO_MATTER}
    if not request.source.is_onnx:
        del options["keep_opset"]  # a module has no opset of its own
    example = request.example
    options["example"] = _digest(example) if isinstance(example, Path) else json.loads(_json(example))
    return dict(json.loads(_json(options)))


def _named(request: ExportRequest) -> list[str]:
    """Return the files that the request itself names."""
    spec, home = request.source, Path(request.source.cwd)
    place = spec.entry if spec.file_and_callable is None else spec.file_and_callable[0]
    paths = [home / place, *(home / path for path in (spec.weights, spec.import_from) if path is not None)]
    data = request.data
    if data is not None:
        paths += sorted(data.glob("*.npz")) if data.is_dir() else [data]
    return [str(path.absolute()) for path in paths if path.is_file()]


def _matter(paths: Iterable[str], work: Path) -> list[str]:
    """Return the paths that nothing else vouches for, each once."""
    roots = [*_ELSEWHERE, str(work), *_roots()]
    site = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    library = sysconfig.get_path("stdlib")
    found = []
    for path in dict.fromkeys(paths):
        own = any(path.startswith(f"{one}{os.sep}") for one in site)
        if any(path == root or path.startswith(f"{root}{os.sep}") for root in roots):
            continue
        if path.startswith(f"{library}{os.sep}") and not own:
            continue
        found.append(path)
    return found


def _roots() -> list[str]:
    # not find_spec: of "google.protobuf" it would import the parent
    site = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    return [*_own_code(), *(str(Path(one, *package.split("."))) for one in site for package in TOOLS.values())]


def _own_code() -> list[str]:
    return [str(Path(str(module.__file__)).parent) for module in (files, remembered)]


def _digest(path: str | Path) -> str:
    """Return a file's hash; "" for one that is not there, which matters as much."""
    try:
        return files.sha256(Path(path)) if Path(path).is_file() else ""
    except EdgeError:
        return ""


def _changed_ns(path: str) -> int:
    try:
        return Path(path).stat().st_ctime_ns
    except OSError:
        return 0


def _damage(output: Path) -> str:
    try:
        open_artifact(output).verify()
    except EdgeError as problem:
        return f"it is damaged: {problem.what}"
    return ""


def _listing(path: str) -> str:
    try:
        return hashlib.sha256(
            "\0".join(sorted(one.name for one in Path(path).iterdir())).encode(errors="surrogateescape")
        ).hexdigest()
    except OSError:
        return ""


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    for key in dict.fromkeys((*before, *now)):
        one, other = before.get(key), now.get(key)
        if one == other:
            continue
        if isinstance(one, dict) and isinstance(other, dict):
            return _difference(one, other)
        told = f"{key.replace('_', ' ')} was {_short(_text(one))}, is {_short(_text(other))}"
        return told if len(told) < 200 else f"{key} is another"  # noqa: PLR2004 - a line or two
    return ""


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"…{text[-79:]}"  # noqa: PLR2004 - most of a line


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _make_room(home: Path) -> None:
    records = sorted(home.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    for path in records[:-KEPT]:
        path.unlink(missing_ok=True)
