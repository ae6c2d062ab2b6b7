"""Dicts, dataclasses and nested tuples: a forward that takes or gives them, as one of plain tensors with names.

A graph has flat, named inputs and outputs. So a module whose forward takes more than that is wrapped in one that
takes the tensors of the example alone, each by a readable name, and puts them back where they were; what is no tensor
stays as the example has it. Outputs are flattened by a hook, which every exporter traces. A torch door.
"""

import copy
import dataclasses
import inspect
import keyword
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from export_tools.errors import SourceError

MAX_DEPTH = 16
Path = tuple[str | int, ...]
_FIXED = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device)  # what a graph can be made with


class Arranged(torch.nn.Module):
    """A module of plain tensors around one of structured arguments. `arranged` makes the class with its forward."""

    def __init__(self, module: torch.nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        super().__init__()
        self.module = module
        self._args, self._kwargs = tuple(args), dict(kwargs)

    def call(self, tensors: Sequence[torch.Tensor]) -> Any:  # noqa: ANN401 - whatever the module returns
        """Return what the module makes of the tensors in their places."""
        waiting = iter(tensors)
        args = [_rebuilt(value, waiting) for value in self._args]
        kwargs = {name: _rebuilt(value, waiting) for name, value in self._kwargs.items()}
        return self.module(*args, **kwargs)


class Outputs:
    """What forward returned, made plain. names: of the tensors, once forward has run; none for a plain tuple."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def watch(self, module: torch.nn.Module) -> None:
        """Let the module return a tensor or a tuple of tensors, in the order of what it returned."""
        module.register_forward_hook(self._flatten)

    def _flatten(self, _owner: torch.nn.Module, _args: object, returned: Any) -> Any:  # noqa: ANN401 - a hook's own signature
        self.names[:] = []
        if _is_plain(returned):
            return returned
        found = [(path, leaf) for path, leaf in _leaves(returned, ()) if leaf is not None]
        for path, leaf in found:
            if not isinstance(leaf, torch.Tensor):
                raise SourceError(
                    f"forward returns a {type(leaf).__name__} at {_spelled(path or ('output',))}",
                    "the module",
                    "return tensors only: leave it out, or make it a tensor",
                )
        self.names[:] = _named([path if path and isinstance(path[0], str) else ("output", *path) for path, _ in found])
        return tuple(leaf for _, leaf in found)


def arranged(
    module: torch.nn.Module, example: tuple[tuple[Any, ...], Mapping[str, Any]] | None, where: str
) -> tuple[torch.nn.Module, tuple[tuple[Any, ...], Mapping[str, Any]] | None, tuple[str, ...]]:
    """Return a module that takes plain tensors, its example, and a sentence for each argument that stays as it is.

    A module that does already, or has no example, is returned as it came.
    Raises SourceError for an argument that holds what can neither be an input nor a part of a graph.
    """
    if example is None or all(isinstance(value, torch.Tensor | None) for value in (*example[0], *example[1].values())):
        return module, example, ()
    args, kwargs = example
    try:
        bound = inspect.signature(module.forward).bind(*args, **kwargs)
    except (TypeError, ValueError):
        return module, example, ()  # `source.inputs_of` says what doesn't fit
    kinds = {name: parameter.kind for name, parameter in bound.signature.parameters.items()}
    found: list[tuple[Path, Any]] = []
    for name, value in bound.arguments.items():
        # what *args and **kwargs gathered has names of its own
        root: Path = () if kinds[name] is inspect.Parameter.VAR_KEYWORD else (name,)
        found += _leaves(value, root)
    tensors = [(path, leaf) for path, leaf in found if isinstance(leaf, torch.Tensor)]
    strange = [(path, leaf) for path, leaf in found if not isinstance(leaf, (torch.Tensor, *_FIXED))]
    if strange:
        path, leaf = strange[0]
        raise SourceError(
            f"forward's {_spelled(path)} is a {type(leaf).__name__} in the example, which can't be an input",
            where,
            "give tensors in dicts, tuples, lists or dataclasses; make anything else inside of forward",
        )
    if not tensors:
        return module, example, ()  # `source.inputs_of` says that there is no tensor
    names = _named([path[1:] if len(path) > 1 and isinstance(path[1], str) else path for path, _ in tensors], tensors)
    notes = tuple(
        f"forward's {_spelled(path)} stays {leaf!r:.80}, as in the example: it is no tensor"
        for path, leaf in found
        if isinstance(leaf, _FIXED) and leaf is not None
    )
    kind = type("Arranged", (Arranged,), {"forward": _forward(names)})
    return kind(module, bound.args, bound.kwargs), (tuple(leaf for _, leaf in tensors), {}), notes


def original(module: torch.nn.Module) -> torch.nn.Module:
    """Return the user's own module, whose weights have its own names."""
    inner = module.module if isinstance(module, Arranged) else module
    assert isinstance(inner, torch.nn.Module)  # noqa: S101 - torch types attributes as tensors too
    return inner


def _forward(names: Sequence[str]) -> Callable[..., Any]:
    def forward(self: Arranged, *tensors: torch.Tensor, **named: torch.Tensor) -> Any:  # noqa: ANN401 - as `call`
        return self.call([*tensors, *(named[name] for name in names[len(tensors) :])])

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(name, kind) for name in ("self", *names)]
    # exporters, and whoever binds an example, look at the parameters
    forward.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # a function may carry one
    return forward


def _is_plain(value: object) -> bool:
    kinds = torch.Tensor | None
    return isinstance(value, kinds) or (
        type(value) in {tuple, list} and all(isinstance(item, kinds) for item in value)  # type: ignore[attr-defined]  # one of the two
    )


def _parts(value: object) -> list[tuple[str | int, Any]] | None:
    """Return what a value consists of by key, or None for a leaf."""
    if isinstance(value, Mapping):
        return [(key if isinstance(key, int) else str(key), item) for key, item in value.items()]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return list(zip(value._fields, value, strict=True))
    if isinstance(value, tuple | list):
        return list(enumerate(value))
    return None


def _leaves(value: object, path: Path) -> Iterator[tuple[Path, Any]]:
    parts = _parts(value)
    if parts is None:
        yield path, value
        return
    if len(path) > MAX_DEPTH:
        raise SourceError(f"{_spelled(path[:3])} … is nested deeper than {MAX_DEPTH} levels", "forward", "flatten it")
    for key, item in parts:
        yield from _leaves(item, (*path, key))


def _rebuilt(value: Any, tensors: Iterator[torch.Tensor]) -> Any:  # noqa: ANN401 - any structure, with other tensors in it
    if isinstance(value, torch.Tensor):
        return next(tensors)
    parts = _parts(value)
    if parts is None:
        return value
    items = [_rebuilt(item, tensors) for _, item in parts]
    if isinstance(value, Mapping):
        made = dict(zip(value, items, strict=True))
        if type(value) is dict:
            return made
        mapping: Any = copy.copy(value)
        for key, item in made.items():
            mapping[key] = item  # one that can't be written to raises, and the user's place is told
        return mapping
    if dataclasses.is_dataclass(value):
        other: Any = copy.copy(value)
        for (name, _), item in zip(parts, items, strict=True):
            object.__setattr__(other, str(name), item)  # frozen ones too
        return other
    return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)


def _named(paths: Sequence[Path], full: Sequence[tuple[Path, Any]] = ()) -> list[str]:
    """Return a readable name for each path, each once; where two would be the same, the full paths tell them apart."""
    short = [_joined(path) for path in paths]
    long = [_joined(path) for path, _ in full] or short
    chosen = [name if short.count(name) == 1 else other for name, other in zip(short, long, strict=True)]
    found: list[str] = []
    for name in chosen:
        number = 1
        unique = name
        while unique in found:
            unique, number = f"{name}_{number}", number + 1
        found.append(unique)
    return found


def _joined(path: Path) -> str:
    name = re.sub(r"\W", "_", "_".join(map(str, path)), flags=re.ASCII).strip("_") or "value"
    return f"_{name}" if name[0].isdigit() or keyword.iskeyword(name) or name == "self" else name


def _spelled(path: Path) -> str:
    """Return a path as one would write it: ``batch['ids'][0]``."""
    first, *rest = path or ("argument",)
    return f"{first}{''.join(f'[{key!r}]' for key in rest)}"
