"""Which operators a forward runs, and at which line of the user's code: in the child that holds the module.

Below Python's ``if`` and ``for`` a module is a sequence of operators. Where two inputs of the same sizes give two
sequences, the values decided, and a traced graph would hold one of the paths only. A torch door.
"""

import contextlib
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree

from export_tools.dispatch_mode import DispatchMode
from export_tools.unsupported import plain

# Whose lines are nobody's to change: torch with what it computes with, this package, and Python's own library
_SITE = Path(torch.__file__).parent.parent
OWN = (
    *(f"{_SITE / name}{os.sep}" for name in ("torch", "sympy", "numpy", "onnx", "onnxscript", "onnx_ir")),
    f"{Path(__file__).parent}{os.sep}",
    "<",
)
LIBRARY = f"{Path(os.__file__).parent}{os.sep}"
UNKNOWN = "?"
LEAST_ALIKE = 4  # letters, below which the beginning of a name says little


@dataclass(frozen=True, slots=True)
class Operation:
    """One operator that ran. place: ``model.py:12``, the innermost line that is not torch's.

    reads: it turned values into what Python can see: a number to decide by, or a size that depends on values.
    numbers: Python's own among its arguments; what ``float(x.max())`` gave is one, and so is every constant and size.
    """

    kind: str
    place: str
    reads: bool = False
    numbers: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """What one operator was given and gave. arguments: by the names of its schema, defaults included.

    seeded: it may draw random numbers; whether it does is a matter of its arguments.
    """

    operation: Operation
    arguments: Mapping[str, Any]
    result: Any
    seeded: bool = False

    @property
    def given(self) -> list[torch.Tensor]:
        """The tensors among the arguments."""
        return _tensors(_pytree.tree_leaves(dict(self.arguments)))

    @property
    def results(self) -> list[torch.Tensor]:
        """The tensors among the results."""
        return _tensors(_pytree.tree_leaves(self.result))


class OpTrace(DispatchMode):  # type: ignore[no-untyped-call]  # torch leaves its modes untyped
    """Records while it is entered; `called` is told what each operator was given and gave, and may keep it.

    Composite operators are seen as the parts they have on this machine. ``torch.cond`` is one operator, whichever of
    its branches runs: an exporter keeps both.
    """

    def __init__(self, called: Callable[[Call], None] | None = None) -> None:
        super().__init__()
        self.operations: list[Operation] = []
        self._called = called

    def operator(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:  # noqa: ANN401 - as `DispatchMode.operator`
        """Return what an operator gives, and record it."""
        found = func(*args, **kwargs)
        leaves = _pytree.tree_leaves((args, kwargs))
        tags = getattr(func, "tags", ())
        operation = Operation(
            str(func),
            place_of_frame(sys._getframe(1)),  # noqa: SLF001 - inspect.stack() reads source files at each of thousands of calls
            torch.Tag.data_dependent_output in tags or torch.Tag.dynamic_output_shape in tags,
            tuple(leaf for leaf in leaves if isinstance(leaf, int | float)),
        )
        self.operations.append(operation)
        if self._called is not None:
            self._called(
                Call(
                    operation,
                    named_arguments(func, args, kwargs),
                    found,
                    torch.Tag.nondeterministic_seeded in tags,
                )
            )
        return found


def departure(one: Sequence[Operation], other: Sequence[Operation], *, numbers: bool = False) -> str | None:
    """Return the place where two runs part, or None where they are the same.

    The last line before it that read a value: the condition of an ``if``, of a ``while``, the bound of a ``for``.
    numbers: Python's numbers must be the same too, as in a graph that keeps those of one run.
    """

    def differ(a: Operation, b: Operation) -> bool:
        return (a.kind, a.place) != (b.kind, b.place) or (numbers and a.numbers != b.numbers)

    parted = next((index for index, (a, b) in enumerate(zip(one, other, strict=False)) if differ(a, b)), None)
    if parted is None:
        if len(one) == len(other):
            return None
        parted = min(len(one), len(other))
    longer = one if len(one) > parted else other
    read = next((operation for operation in reversed(longer[:parted]) if operation.reads), longer[parted])
    return read.place


class _Functions(TorchFunctionMode):
    """Records the functions of torch that are called, by the names they are called by: ``fft_fft2``."""

    def __init__(self) -> None:
        super().__init__()
        self.called: list[tuple[str, str]] = []

    def __torch_function__(
        self,
        func: Any,  # noqa: ANN401 - a function, and whatever it takes and gives
        _types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - as above
        name = str(getattr(func, "__name__", ""))
        self.called.append((name, place_of_frame(sys._getframe(1))))  # noqa: SLF001 - as above
        return func(*args, **(kwargs or {}))


def place_of(operator: str, run: Callable[[], object]) -> str | None:
    """Return the first line of the user's code that calls an operator, as exporters name it; None if it isn't seen.

    An operator is called by a name, and runs as others that it is made of: either may be what an exporter names.
    """
    functions, trace = _Functions(), OpTrace()
    # a forward raises anything; what ran until then is all that is known
    with contextlib.suppress(Exception), torch.no_grad(), functions, trace:
        run()
    seen = [*((one.kind, one.place) for one in trace.operations), *functions.called]
    wanted, known = plain(operator), [(plain(name), place) for name, place in seen if place != UNKNOWN]
    exact = (place for name, place in known if name == wanted)
    # grid_sampler runs as grid_sampler_2d
    alike = (place for name, place in known if name.startswith(wanted) and len(wanted) >= LEAST_ALIKE)
    return next(exact, None) or next(alike, None)


def is_nested(operations: Sequence[Operation]) -> bool:
    """Return whether a run went through nested tensors, whose sizes are values."""
    return any("nested_tensor" in operation.kind for operation in operations)


def place_in_user_code(problem: BaseException) -> str | None:
    """Return the innermost line of the user's code that an exception passed through, as ``model.py:12``."""
    while problem.__cause__ is not None:
        problem = problem.__cause__
    places = [
        f"{Path(frame.f_code.co_filename).name}:{line}"
        for frame, line in traceback.walk_tb(problem.__traceback__)
        if _is_users(frame.f_code.co_filename)
    ]
    return places[-1] if places else None


def place_of_frame(frame: FrameType | None) -> str:
    """Return the innermost line of the user's code from a frame outwards, as ``model.py:12``."""
    while frame is not None:
        if _is_users(frame.f_code.co_filename):
            return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
        frame = frame.f_back
    return UNKNOWN


def _is_users(file: str) -> bool:
    in_library = file.startswith(LIBRARY) and "-packages" not in file
    return not file.startswith(OWN) and not in_library


def named_arguments(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ANN401 - an operator
    """Return what an operator is given, by the names of its schema, defaults included."""
    schema = getattr(func, "_schema", None)
    if schema is None:  # a higher-order operator
        return {**{str(index): arg for index, arg in enumerate(args)}, **kwargs}
    known = {argument.name: argument.default_value for argument in schema.arguments}
    return {**known, **dict(zip(known, args, strict=False)), **kwargs}


def _tensors(leaves: Sequence[object]) -> list[torch.Tensor]:
    return [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
