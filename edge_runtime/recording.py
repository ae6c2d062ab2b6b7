"""A machine's files for someone else's eyes: what the readers read, without what names the machine or its owner."""

import re
from pathlib import Path

from edge_runtime.errors import OutputExists, Unwritable
from edge_runtime.tree import Tree

GROUPS = "proc/self/cgroup"
OTHER_PROCESS = re.compile(r"proc/\d+(/|$)")  # what else runs is nobody's business, and differs at each look
SERIAL = re.compile(r"^Serial\s*:.*\n?", re.MULTILINE)  # of /proc/cpuinfo on a Raspberry Pi
MAC = re.compile(r"\b(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}\b", re.IGNORECASE)
UNIQUE = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b[0-9a-f]{32,}\b", re.IGNORECASE)
GROUP_ID = re.compile(r"[0-9a-f]{12,}", re.IGNORECASE)  # containers; elsewhere a counter may have as many digits


def save(tree: Tree, folder: Path, *, hostname: str) -> int:
    """Write what a remembering tree has read below `folder`; return how many files there are.

    Left out or replaced: other processes, serial numbers, MAC addresses, ids of containers and machines, `hostname`.
    Raises OutputExists when something is in the folder, Unwritable when the file system refuses.
    """
    refuse_filled(folder)
    files = {
        _anonymous(path, hostname, identifiers=GROUP_ID): _anonymous(text, hostname, identifiers=_ids_in(path))
        for path, text in (tree.seen or {}).items()
        if not OTHER_PROCESS.match(path)
    }
    try:
        for name in tree.folders:
            if not OTHER_PROCESS.match(name):
                (folder / _anonymous(name, hostname, identifiers=GROUP_ID)).mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text + "\n", encoding="utf-8")
    except OSError as problem:
        what = f"can't write: {(problem.strerror or str(problem)).lower()}"
        raise Unwritable(what, str(folder), "check permissions and free space, or choose another place") from problem
    return len(files)


def refuse_filled(folder: Path) -> None:
    """Raise OutputExists unless the folder is free to be made or empty."""
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists() or folder.is_symlink():
        raise OutputExists("something is there already", str(folder), "name a folder that is new or empty")


def _ids_in(path: str) -> re.Pattern[str]:
    return GROUP_ID if path == GROUPS else UNIQUE


def _anonymous(text: str, hostname: str, *, identifiers: re.Pattern[str]) -> str:
    text = MAC.sub("00:00:00:00:00:00", SERIAL.sub("", text))
    text = identifiers.sub("id", UNIQUE.sub("id", text))
    return re.sub(rf"\b{re.escape(hostname)}\b", "board", text) if hostname else text
