"""Which files a start of an engine reads, as far as its own process can tell.

Those that Python opened (modules, the manifest, a cached graph, weights) are told by an audit hook, those that C code
mapped (shared libraries, mapped weights) by the kernel. What C code opened, read and closed is seen by neither: the
model's files and the contender's cache are added by name.
Sources: PEP 578 (the event "open"), proc_pid_maps(5).
"""

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from edge_runtime.artifact import Artifact
from edge_runtime.tree import Tree

MAPS = "proc/self/maps"
NO_FILES = ("/proc/", "/sys/", "/dev/")
FIELDS = 6  # of a line of maps that ends in a path, which may hold spaces


class TouchedFiles:
    """Notes what is opened from its creation on; a hook can't be removed, so this is for a process that soon ends."""

    def __init__(self) -> None:
        self._opened: set[str] = set()
        sys.addaudithook(self._note)

    def paths(self, places: tuple[Path, ...] = ()) -> tuple[str, ...]:
        """Return the absolute paths of all files touched so far that are still there, sorted.

        places: files and folders that are added, whether touched or not.
        """
        # a copy: what is done below opens files too
        found = {*self._opened, *_of_modules(), *_mapped(Tree())}
        found.update(str(path) for place in places for path in (place, *place.rglob("*")))
        resolved = {os.path.realpath(path) for path in found if not path.startswith(NO_FILES)}
        return tuple(sorted(path for path in resolved if path.isprintable() and os.path.isfile(path)))  # noqa: PTH113 - a torch process has thousands

    def event(self, artifact: Artifact, job: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a worker tells of its start: the files above, the model's, and those the contender keeps."""
        model = [artifact.path / file.path for file in artifact.variant(job["variant"]).files]
        kept = [Path(job["options"]["cache"])] if "cache" in job["options"] else []
        return {"event": "files", "paths": self.paths((*model, *kept))}

    def _note(self, event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str | bytes):
            self._opened.add(os.path.abspath(os.fsdecode(arguments[0])))  # noqa: PTH100 - as above


def _of_modules() -> Iterator[str]:
    """Yield the files of the modules that were imported before the hook was there."""
    for module in tuple(sys.modules.values()):
        # not by getattr: what stands in for a module may answer a question for any name with an error of its own
        spec = vars(module).get("__spec__") if isinstance(module, ModuleType) else None
        for place in (getattr(spec, "origin", None), getattr(spec, "cached", None)):
            if isinstance(place, str) and os.path.isabs(place):  # noqa: PTH117 - "built-in" and "frozen" are none
                yield place


def _mapped(tree: Tree) -> Iterator[str]:
    for line in (tree.text(MAPS) or "").splitlines():
        words = line.split(maxsplit=FIELDS - 1)
        if len(words) == FIELDS and words[-1].startswith("/"):
            yield words[-1]
