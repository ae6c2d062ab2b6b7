"""What contenders of other engines share: how they say that they can't run here, and where they keep what they make.

An engine that isn't installed, a machine that lacks a tool, a model with an operator it doesn't know: each of these is
`Unsupported`, which skips the contender with the sentence and lets the others go on. A wrong answer is not for a
contender to say: the worker finds it.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.errors import UnsupportedModel, UnsupportedSystem

if TYPE_CHECKING:
    from edge_runtime.contender import Job

LONGEST = 300  # of another engine's words, whose errors go on for pages


def absent(engine: str, extra: str, problem: ImportError) -> UnsupportedSystem:
    """Return the error for an engine that isn't installed, or doesn't start, with the extra that brings it."""
    missing = isinstance(problem, ModuleNotFoundError)
    what = f"{engine} is not installed" if missing else f"{engine} can't be imported: {_first_line(problem)}"
    return UnsupportedSystem(what, "this interpreter", f'install it: pip install "edge-runtime[{extra}]"')


def unable(engine: str, doing: str, problem: BaseException) -> UnsupportedModel:
    """Return the error for an engine that refuses this model, in its own words."""
    what = f"{engine} can't {doing} this model: {type(problem).__name__}: {_first_line(problem)}"
    return UnsupportedModel(what, "this model", f"leave it out, or make a model that {engine} knows")


def kept_folder(job: "Job") -> Path:
    """Return the contender's own folder, private to the user, because what lies in it will be loaded and run.

    Raises UnsupportedSystem when it can't be made or could have been written by others.
    """
    folder = Path(job.options["cache"])
    hint = "set XDG_CACHE_HOME to a folder of your own"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except OSError as problem:
        raise UnsupportedSystem(f"can't make a folder to keep: {problem.strerror}", str(folder), hint) from problem
    if status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise UnsupportedSystem("the folder belongs to or can be written by others", str(folder), hint)
    return folder


def _first_line(problem: BaseException) -> str:
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
    return lines[0][:LONGEST] if lines else "it says nothing more"
