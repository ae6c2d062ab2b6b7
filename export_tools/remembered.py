"""This host's memory of its exports: where the module of an artifact is, by the hash of its reference model.

Kept in ``$XDG_CACHE_HOME/edge/sources`` (``~/.cache/edge/sources``), private to the user, because what it names will
be run. An artifact itself never names code that is run.
"""

import hashlib
import os
import shutil
from dataclasses import replace
from pathlib import Path

from edge_runtime import decode, files
from edge_runtime.errors import EdgeError
from export_tools.errors import SourceError
from export_tools.request import SourceSpec

KIND, SCHEMA = "edge-source", 1
MAX_BYTES = 2**20


def remember(model_sha256: str, spec: SourceSpec, *, folder: Path | None = None) -> str | None:
    """Keep a source; return None, or why it could not be kept. Forgetting is no reason for an export to fail.

    A private pickle (one that has a hash) is copied here too, because its own place is temporary.
    """
    home = folder or cache_folder("sources")
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not is_private(home):
            return f"{home} belongs to or can be written by others"
        if spec.pickle_sha256 is not None:
            kept = home / f"{model_sha256}.pt"
            shutil.copyfile(spec.entry, kept)
            spec = replace(spec, entry=str(kept))
        document = {"kind": KIND, "schema": SCHEMA, "source": spec.to_json()}
        files.write_whole(home / f"{model_sha256}.json", decode.as_json(document).encode())
    except (OSError, EdgeError) as problem:
        return str(problem)
    return None


def recall(model_sha256: str, *, folder: Path | None = None) -> SourceSpec | None:
    """Return the source that a model was exported from on this host, or None when it is not known here.

    Raises SourceError when what is kept is damaged, or could have been written by someone else.
    """
    home = folder or cache_folder("sources")
    path = home / f"{model_sha256}.json"
    if not path.is_file():
        return None
    hint = f"say where the source is: --source FILE.py:callable; or forget it: rm -r {home}"
    if not is_private(home):
        raise SourceError("belongs to or can be written by others, who could name code that you run", str(home), hint)
    fields = decode.document(
        files.read_bytes(path, limit_bytes=MAX_BYTES, error=SourceError), where=str(path), error=SourceError
    )
    decode.envelope(fields, kind=KIND, schema=SCHEMA, what="remembered source")
    text = fields.string("source", limit=MAX_BYTES)
    fields.finish()
    return SourceSpec.from_json(text, where=str(path))


def pickle_sha256(path: Path) -> str:
    """Return the hash under which a private pickle is checked before it is opened."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def cache_folder(name: str) -> Path:
    """Return where this host keeps what it knows of one kind."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # the specification says that a relative value is to be ignored
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "edge" / name


def is_private(folder: Path) -> bool:
    """Return whether a folder is this user's, and nobody else can write to it."""
    status = folder.stat()
    return status.st_uid == os.getuid() and not status.st_mode & 0o022
