"""The torch door: from a `SourceSpec` to a module in eval mode, its example and the names of its inputs.

Runs the user's code, so it belongs into a process of its own (`torch_worker`, or a bench's contender).
"""

import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from edge_runtime.errors import EdgeError, short_of_memory
from export_tools import pickled, program, structure
from export_tools.checkpoint import load_weights
from export_tools.errors import SourceError, needs_memory
from export_tools.file_kinds import PICKLE, kind_of
from export_tools.request import SourceSpec
from export_tools.usable import made_usable

_EXAMPLE_HINT = "give one: --example image=1x3x224x224:float32, or return (module, example) from the callable"


@dataclass(frozen=True, slots=True)
class Input:
    """One tensor that forward takes. positional: passed by place, else by `name`, which is forward's parameter."""

    name: str
    positional: bool
    tensor: torch.Tensor


@dataclass(frozen=True, slots=True)
class Source:
    """A module in eval mode, of plain tensors in and out (`structure`).

    example: positional arguments and keyword arguments of forward, or None without one.
    outputs: what it returned, once it has run.   notes: what people should know of how it was opened, as sentences.
    scripted: branches on values are a part of it, and of the graph.
    """

    module: torch.nn.Module
    example: tuple[tuple[Any, ...], Mapping[str, Any]] | None
    entry: str
    outputs: structure.Outputs
    notes: tuple[str, ...] = ()
    scripted: bool = False

    @property
    def original(self) -> torch.nn.Module:
        """The user's own module."""
        return structure.original(self.module)


def open_source(spec: SourceSpec) -> Source:
    """Import or unpickle a module, load its weights, set it to eval mode.

    Raises SourceError for everything that can be wrong with a source, quoting the user's own exception with its
    file and line.
    """
    _make_importable(spec)
    split = spec.file_and_callable
    if split is None:
        module, example, notes = _from_file(spec)
    else:
        (module, example), notes = _built(spec.entry, *split, spec.cwd), ()
    if spec.weights is not None:
        notes += load_weights(module, Path(spec.cwd, spec.weights))
    notes += made_usable(module, spec.entry)
    module.eval()
    plain, example, fixed = structure.arranged(module, example, spec.entry)
    plain.eval()  # the wrapper itself
    outputs = structure.Outputs()
    outputs.watch(plain)
    return Source(plain, example, spec.entry, outputs, (*notes, *fixed), program.is_scripted(module))


def inputs_of(source: Source, given: Mapping[str, torch.Tensor] | None, names: tuple[str, ...]) -> tuple[Input, ...]:
    """Return the inputs in the order of forward's parameters.

    given: an example by final name (or ``arr_0``, ``arr_1`` … by place), which goes before the source's own.
    names: the final names in the order of forward's parameters, or none.
    Raises SourceError when there is no example, or forward doesn't take it, or it holds more than tensors.
    """
    signature = inspect.signature(source.module.forward)
    args, kwargs = _arguments(source, given, names)
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as problem:
        takes = ", ".join(signature.parameters)
        raise SourceError(
            f"the example does not fit forward({takes}): {problem}", source.entry, "name its inputs as forward does"
        ) from problem
    by_place = len(bound.args)
    found: list[Input] = []
    for name, value in _flat(bound):
        if value is None:
            continue
        if not isinstance(value, torch.Tensor):
            raise SourceError(
                f"forward's {name} is a {type(value).__name__} in the example, and only tensors can be inputs",
                source.entry,
                "fix other arguments in a wrapper module whose forward takes tensors alone",
            )
        found.append(Input(name, len(found) < by_place, value.detach()))
    if not found:
        raise SourceError("the example holds no tensor", source.entry, _EXAMPLE_HINT)
    if any(value is None for value in bound.args):
        # a gap among positional arguments would shift those behind it
        found = [Input(one.name, False, one.tensor) for one in found]  # noqa: FBT003 - a dataclass's field
    return tuple(found)


def weights_sha256(module: torch.nn.Module) -> str:
    """Return the SHA-256 over the state_dict's sorted (name, dtype, shape, little-endian bytes).

    The same for a module that was built and loaded, tied, or unpickled.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        if not isinstance(tensor, torch.Tensor):
            continue  # a module's extra state is no weight, and has no bytes that are the same everywhere
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        content = tensor.detach().cpu().contiguous().reshape(-1)
        if content.numel():
            octets = content.view(torch.uint8).reshape(content.numel(), -1).numpy()
            digest.update(np.ascontiguousarray(octets[:, ::-1] if sys.byteorder == "big" else octets).data)
    return digest.hexdigest()


@contextmanager
def user_code(where: str, doing: str) -> Iterator[None]:
    """Turn whatever the user's code raises into a SourceError with the exception, file and line."""
    try:
        yield
    except (EdgeError, KeyboardInterrupt):
        raise
    except BaseException as problem:
        if short_of_memory(problem):
            raise needs_memory(doing, problem, where) from problem
        # SystemExit too: a script without a guard may call sys.exit when it is imported
        said = " ".join(str(problem).split())[:600]
        remedy = "mend it there; run it in plain Python to see the whole traceback"
        if "CUDA" in said:
            remedy = "build it on the CPU there: device='cpu', and torch.load(…, map_location='cpu')"
        hint = f"{_place(problem)}: {remedy}"
        raise SourceError(f"{doing} raised {type(problem).__name__}: {said}", where, hint) from problem


def _place(problem: BaseException) -> str:
    frames = traceback.extract_tb(problem.__traceback__)
    foreign = (os.path.dirname(torch.__file__), os.path.dirname(__file__), os.path.dirname(importlib.__file__))  # noqa: PTH120 - prefixes of text
    own = [frame for frame in frames if not frame.filename.startswith((*foreign, "<frozen"))]
    if isinstance(problem, SyntaxError) and problem.filename:
        return f"{problem.filename}, line {problem.lineno}"
    if not own and not frames:
        return "it has no traceback"
    last = (own or frames)[-1]
    return f"{last.filename}, line {last.lineno}"


def _make_importable(spec: SourceSpec) -> None:
    # a module's own neighbours come first, as when Python runs a script; paths keep the order of the parent's
    places = [spec.cwd, *spec.paths]
    sys.path[:] = [*places, *(path for path in sys.path if path not in places)]
    if spec.import_from is not None and Path(spec.cwd, spec.import_from).is_dir():
        sys.path.insert(0, str(Path(spec.cwd, spec.import_from)))


def _from_file(spec: SourceSpec) -> tuple[torch.nn.Module, program.Example | None, tuple[str, ...]]:
    path = Path(spec.cwd, spec.entry)
    kind = kind_of(path)
    if spec.pickle_sha256 is not None and hashlib.sha256(path.read_bytes()).hexdigest() != spec.pickle_sha256:
        raise SourceError("the file is not the one that was written at the export", str(path), "export it again")
    if kind != PICKLE:
        return program.load(spec, kind)
    with user_code(spec.entry, "unpickling"):
        return pickled.load(spec), None, ()


def _built(
    entry: str, place: str, name: str, cwd: str
) -> tuple[torch.nn.Module, tuple[tuple[Any, ...], Mapping[str, Any]] | None]:
    with user_code(entry, "importing it"):
        home = _imported_file(Path(cwd, place)) if place.endswith(".py") else _imported(place)
        found: Any = home
        for part in name.split("."):
            if not hasattr(found, part):
                known = ", ".join(sorted(n for n, value in vars(home).items() if callable(value) and n[0] != "_")[:8])
                raise SourceError(f"no {name!r} in it", entry, f"it has: {known or 'nothing that can be called'}")
            found = getattr(found, part)
    with user_code(entry, f"{name}()"):
        returned = found() if callable(found) and not isinstance(found, torch.nn.Module) else found
    module, example = returned if isinstance(returned, tuple) and len(returned) == 2 else (returned, None)  # noqa: PLR2004 - (module, example)
    if not isinstance(module, torch.nn.Module):
        raise SourceError(
            f"{name} gave a {type(returned).__name__}, not a torch.nn.Module",
            entry,
            "return a module or (module, example)",
        )
    with user_code(entry, "making the example"):
        return module, _example(example, home)


def _imported_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise SourceError("no such file", str(path), "check the path: FILE.py:callable")
    return pickled.import_file(path)


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as problem:
        if problem.name is None or not f"{name}.".startswith(f"{problem.name}."):
            raise  # the module is there, something that it imports is not
        raise SourceError(
            f"no module {problem.name!r}",
            name,
            "install it, say where it is with --import-from DIR, or give FILE.py:callable",
        ) from problem


def _example(returned: object, home: ModuleType) -> tuple[tuple[Any, ...], Mapping[str, Any]] | None:
    keywords = getattr(home, "example_kwargs", None)
    kwargs = keywords() if callable(keywords) and returned is None else {}
    makes = getattr(home, "example_inputs", None)
    example = makes() if returned is None and callable(makes) else returned
    if isinstance(example, Mapping):
        return (), {**example, **kwargs}
    if isinstance(example, tuple | list):
        return tuple(example), kwargs
    if example is not None:
        return (example,), kwargs
    return ((), kwargs) if kwargs else None


def _arguments(
    source: Source, given: Mapping[str, torch.Tensor] | None, names: tuple[str, ...]
) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    if given is None:
        if source.example is None:
            raise SourceError("there is no example input to trace it with", source.entry, _EXAMPLE_HINT)
        return source.example
    if all(name.startswith("arr_") and name[4:].isdecimal() for name in given):
        return tuple(given[name] for name in sorted(given, key=lambda name: int(name[4:]))), {}
    if not names:
        return (), given
    if set(given) != set(names):
        raise SourceError(
            f"the example names {', '.join(sorted(given))}, the inputs are named {', '.join(names)}",
            source.entry,
            "use the names of --input-names in --example",
        )
    return tuple(given[name] for name in names), {}


def _flat(bound: inspect.BoundArguments) -> Iterator[tuple[str, Any]]:
    for name, value in bound.arguments.items():
        kind = bound.signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            yield from ((f"{name}_{index}", item) for index, item in enumerate(value))
        elif kind is inspect.Parameter.VAR_KEYWORD:
            yield from value.items()
        else:
            yield name, value
