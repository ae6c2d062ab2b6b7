"""From a PyTorch module to a verified artifact. Runs on a host with torch and onnx.

Reading order: `pipeline` (the stages), `request` (what is asked), `source` (the module), `convert`, `verify`, `pack`.
Torch itself is only ever imported in child processes (`torch_process`, `torch_worker`). Importing this package
imports neither torch nor onnx.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from export_tools.pipeline import export
    from export_tools.request import ExportRequest

__all__ = ["ExportRequest", "export"]

_HOMES = {"ExportRequest": "request", "export": "pipeline"}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - each name has its own type, known to type checkers from above
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
