"""What a process read since it began to look: files that it opened or imported, folders that it listed.

Watched with an audit hook, which sees Python's own ``open``, ``os.open``, imports and listings. It does not see files
that C or Rust code opens by itself, nor the environment, nor the clock; a connection to a network it does see.
"""

import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_LISTINGS = frozenset({"os.listdir", "os.scandir"})
_NETWORK = frozenset({"socket.connect", "socket.getaddrinfo"})


class Reads:
    """Paths, absolute, as they are read. Create it when all that is ours is imported."""

    def __init__(self) -> None:
        self._files: dict[str, None] = {}
        self._folders: dict[str, None] = {}
        self._written: set[str] = set()
        self.network = ""  # the first address that was asked for
        sys.addaudithook(self._hear)

    @property
    def files(self) -> list[str]:
        """Files that were opened to read or imported, there or not; none that it had written itself."""
        return list(self._files)

    @property
    def folders(self) -> list[str]:
        """Folders whose names were listed, other than to import from them."""
        return list(self._folders)

    def _hear(self, event: str, args: Sequence[Any]) -> None:
        # whatever a hook raises reaches the code that is watched
        try:
            if event == "open":
                self._opened(*args, importing=_importing())
            elif event == "import" and isinstance(args[1], str):  # an extension, which is not opened but mapped
                self._files[_absolute(args[1])] = None
            elif event in _LISTINGS and not _importing():
                self._folders[_absolute(args[0] or ".")] = None
            elif event in _NETWORK and not self.network:
                self.network = str(args[-1] if event == "socket.connect" else args[0])[:100]
        except Exception:  # noqa: BLE001, S110 - see above; a file whose name can't be told has none
            pass

    def _opened(self, path: Any, mode: Any, flags: Any, *, importing: bool) -> None:  # noqa: ANN401 - as the event has them
        if isinstance(path, int):
            return
        name = _absolute(path)
        if importing and name.endswith(".pyc"):
            # what was compiled; where there is no such file, the compiled one is all there is
            source = importlib.util.source_from_cache(name) if "__pycache__" in name else name
            name = source if Path(source).is_file() else name
        written = any(letter in mode for letter in "wax") if isinstance(mode, str) else flags & os.O_ACCMODE
        if written:
            self._written.add(name)
        elif name not in self._written:
            self._files[name] = None


def _absolute(path: "str | bytes | os.PathLike[str]") -> str:
    return os.path.abspath(os.fsdecode(path))  # noqa: PTH100 - links stay: another target is another file


def _importing() -> bool:
    """Return whether the import system itself asks: it opens compiled files and lists every folder of the path."""
    return sys._getframe(2).f_code.co_filename.startswith("<frozen importlib")  # noqa: SLF001 - the documented way
