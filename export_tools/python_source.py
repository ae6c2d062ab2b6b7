"""A source given from Python: a module object travels as a private pickle, an example as an ``.npz``."""

import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime import npz
from edge_runtime.errors import UsageError
from edge_runtime.npz import Array
from export_tools.errors import SourceError
from export_tools.remembered import pickle_sha256
from export_tools.request import SourceSpec

if TYPE_CHECKING:
    import torch

    TensorLike = torch.Tensor | Array


@contextmanager
def described(
    source: "torch.nn.Module | str",
    example: Any,  # noqa: ANN401 - one tensor, several, or a mapping: sorted out here
    *,
    weights: str | Path | None,
    import_from: str | Path | None,
    trust_pickle: bool,
) -> "Iterator[tuple[SourceSpec, str, str, Path | None]]":
    """Yield the spec, what the manifest says of the source, a stem for names, and the example's file.

    The files live as long as the context. Raises SourceError for a module that can't be pickled, UsageError for an
    example that is no tensors.
    """
    with tempfile.TemporaryDirectory(prefix="edge-source-") as folder:
        spec = SourceSpec(
            entry=source if isinstance(source, str) else str(Path(folder, "module.pt")),
            weights=None if weights is None else str(weights),
            import_from=None if import_from is None else str(import_from),
            trust_pickle=trust_pickle or not isinstance(source, str),
            paths=() if isinstance(source, str) else tuple(path for path in sys.path if path),
            pickle_sha256=None if isinstance(source, str) else _pickled(source, Path(folder, "module.pt")),
        )
        origin = spec.origin if isinstance(source, str) else f"{type(source).__module__}.{type(source).__qualname__}"
        stem = spec.stem if isinstance(source, str) else type(source).__name__.lower()
        file = None if example is None else Path(folder, "example.npz")
        if file is not None:
            npz.write(file, _arrays(example))
        yield spec, origin, stem, file


def _pickled(module: "torch.nn.Module", path: Path) -> str:
    import torch  # noqa: PLC0415 - whoever has a module has torch; whoever gives a string need not wait for it

    if not isinstance(module, torch.nn.Module):
        raise UsageError(f"the source is a {type(module).__name__}", "export()", 'give a module or "FILE.py:callable"')
    home = type(module).__module__
    if home == "__main__":
        raise SourceError(
            f"{type(module).__qualname__} is defined in __main__, which the exporting process can't import",
            "export()",
            "move the class into a file of its own and import it from there",
        )
    try:
        if isinstance(module, torch.jit.ScriptModule):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what torch would rather have saved
                torch.jit.save(module, path)
        else:
            torch.save(module, path)
    except Exception as problem:
        # pickle raises PicklingError, AttributeError, TypeError or whatever a __reduce__ raises
        raise SourceError(
            f"the module can't be pickled: {problem}", home, 'give "FILE.py:callable" instead of the object'
        ) from problem
    return pickle_sha256(path)


def _arrays(example: Any) -> dict[str, Array]:  # noqa: ANN401 - as above
    if isinstance(example, Mapping):
        return {str(name): _array(value) for name, value in example.items()}
    values = example if isinstance(example, Sequence) else (example,)
    return {f"arr_{index}": _array(value) for index, value in enumerate(values)}


def _array(value: Any) -> Array:  # noqa: ANN401 - as above
    detached = value.detach().cpu().numpy() if hasattr(value, "detach") else value
    if not isinstance(detached, np.ndarray):
        raise UsageError(f"the example holds a {type(value).__name__}", "export()", "give tensors or numpy arrays")
    return detached
