"""Contenders side by side on one board, and what changed between two records. Runs on a host.

Reading order: `runner` (one board, one artifact, one record), `contenders` (who can be measured), `comparison` (two
records), `report` (what people see). Importing this package imports neither torch nor psutil nor rich.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.comparison import compare
    from bench.runner import bench

__all__ = ["bench", "compare"]

_HOMES = {"bench": "runner", "compare": "comparison"}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - each name has its own type, known to type checkers from above
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
