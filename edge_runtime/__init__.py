"""The part that runs on a board: numpy, onnxruntime and the standard library, nothing else.

Reading order: `model` (load and call), `bound_call` (the fast path), `session` (the door to onnxruntime), `timing` (the
measuring loop), `rounds` (launches, paired), `record` (the evidence). The public names are below; importing this
package imports neither numpy nor onnxruntime until one of them is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_runtime.artifact import Artifact, open_artifact
    from edge_runtime.bound_call import BoundCall
    from edge_runtime.errors import EdgeError
    from edge_runtime.manifest import Port
    from edge_runtime.model import Model, load
    from edge_runtime.record import Record
    from edge_runtime.rounds import measure
    from edge_runtime.selfcheck import check
    from edge_runtime.stateful import StatefulCall

__version__ = "0.1.0"

__all__ = [
    "Artifact",
    "BoundCall",
    "EdgeError",
    "Model",
    "Port",
    "Record",
    "StatefulCall",
    "check",
    "load",
    "measure",
    "open_artifact",
]

_HOMES = {
    "Artifact": "artifact",
    "BoundCall": "bound_call",
    "EdgeError": "errors",
    "Model": "model",
    "Port": "manifest",
    "Record": "record",
    "StatefulCall": "stateful",
    "check": "selfcheck",
    "load": "model",
    "measure": "rounds",
    "open_artifact": "artifact",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - each name has its own type, known to type checkers from above
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
