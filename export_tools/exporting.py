"""torch → ONNX by one exporter, in the child that holds the module; and whether values decide what it traced.

A torch door. The parent's half is `convert`.
"""

import contextlib
import re
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from edge_runtime.errors import Unwritable, short_of_memory
from edge_runtime.files import telling_of_full_disks
from export_tools.errors import needs_memory
from export_tools.op_trace import place_in_user_code, place_of
from export_tools.request import DynamicAxis, wire_names
from export_tools.source import Input
from export_tools.unsupported import missing

MAX_DECISIVE = 8  # sizes that a forward decides by, of those that torch.export names
TRACED_SIZE = 2  # a dimension traced at 1 is taken for one that broadcasts, and frozen
Arguments = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Exporting:
    """A module, its inputs under their final names, and what turns tensors into the arguments of its forward.

    tell: hears that tracing is done, where that is a step of its own.   scripted: TorchScript is inside.
    """

    module: torch.nn.Module
    inputs: Sequence[Input]
    names: Sequence[str]
    arguments: Callable[[list[torch.Tensor]], Arguments]
    where: str
    tell: Callable[[Mapping[str, Any]], None]
    scripted: bool = False

    def export(self, command: Mapping[str, Any], example: Sequence[torch.Tensor]) -> dict[str, Any]:
        """Write the ONNX file. Whatever an exporter raises is an answer: the other one may do better."""
        if self.scripted and command["exporter"] == "dynamo":
            return {"failed": "a TorchScript archive, which torch.export does not take"}
        axes = [DynamicAxis(**axis) for axis in command["dynamic"]]
        args, kwargs = self.arguments([widened(*pair, axes) for pair in zip(self.names, example, strict=True)])
        options: dict[str, Any] = {
            "kwargs": kwargs,
            "opset_version": command["opset"],
            "input_names": list(wire_names("input", len(self.names))),
            "output_names": list(wire_names("output", len(command["output_names"]))),
            "dynamo": command["exporter"] == "dynamo",
        }
        if options["dynamo"]:
            options |= {"external_data": True, "verbose": False, "optimize": False}
            options["dynamic_shapes"] = self._dynamic_shapes(axes) if axes else None
        else:
            named = _by_input(axes, lambda axis: axis.name)
            options["dynamic_axes"] = {
                wire: named[name]
                for wire, name in zip(options["input_names"], self.names, strict=True)
                if name in named
            }
            # it would store a transposed copy of a table that is also read as it is
            options["do_constant_folding"] = not _has_tied(self.module)
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                begin = time.monotonic()
                with self._telling_when_traced() as traced, telling_of_full_disks(Path(command["path"])):
                    module = _traced_around(self.module, args, options) if self.scripted else self.module
                    torch.onnx.export(module, args, command["path"], **options)
            frozen = _frozen_by_tracing(caught)
            if frozen and (reason := self._depends_on_values(args, kwargs)):
                said = None if command["allow_frozen"] else reason
                seconds = time.monotonic() - begin - sum(traced)
                return {"failed": said, "branches": frozen, "path": command["path"], "seconds": seconds}
            # the dynamo exporter may keep the example's side of a size's comparison without a word
            decisive = self._decisive_sizes(args, kwargs, axes) if axes and (frozen or options["dynamo"]) else []
        except (KeyboardInterrupt, Unwritable):
            raise
        except BaseException as problem:
            failed = {"failed": f"{type(problem).__name__}: {_first_words(problem)}"}
            if short_of_memory(problem):
                raise needs_memory(f"{command['exporter']}'s exporter", problem, self.where) from problem
            place = place_in_user_code(problem) if _is_about_values(problem) else None
            if place is not None:
                return {**failed, "branches": [place]}
            unknown = missing(_last_cause(problem))
            if unknown is None:
                return failed
            place = place_of(unknown.name, lambda: self.module(*args, **kwargs))
            return {**failed, "operator": unknown.name, "since": unknown.since, "place": place}
        seconds = time.monotonic() - begin - sum(traced)
        return {"failed": None, "path": command["path"], "seconds": seconds, "sizes": decisive}

    @contextlib.contextmanager
    def _telling_when_traced(self) -> Iterator[list[float]]:
        """Tell the parent that torch.export.export is done, as soon as it is; yield its seconds.

        torch.onnx.export calls it, in circumstances of its own that `_capture_strategies.py` of torch knows, and says
        nothing of it.
        """
        capture: Callable[..., Any] = torch.export.export
        seconds: list[float] = []

        def told(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - torch's own signature
            begin = time.monotonic()
            program = capture(*args, **kwargs)
            if not seconds:
                seconds.append(time.monotonic() - begin)
                calls = sum(node.op == "call_function" for node in program.graph.nodes)
                self.tell({"traced_s": seconds[0], "nodes": calls})
            return program

        torch.export.export = told
        try:
            yield seconds
        finally:
            torch.export.export = capture

    def _depends_on_values(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        """Return why the module's path depends on values, or "" when what was frozen are only sizes and constants.

        TorchScript's tracer warns of both alike. torch.export goes through forward with symbols in the place of
        values, and fails at the first that decides something.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                torch.export.export(self.module, args, kwargs, strict=False)
        except BaseException as problem:  # noqa: BLE001 - it raises whatever it meets; only one kind is of interest
            return _first_words(problem) if _is_about_values(problem) else ""
        return ""

    def _decisive_sizes(self, args: tuple[Any, ...], kwargs: dict[str, Any], axes: list[DynamicAxis]) -> list[int]:
        """Return the numbers that forward compares a dynamic size with: ``x.shape[0] == 64`` is a branch at 64.

        torch.export names them when it says which guards of the trace not all sizes satisfy.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                torch.export.export(self.module, args, kwargs, dynamic_shapes=self._dynamic_shapes(axes), strict=False)
        except Exception as problem:  # noqa: BLE001 - it raises whatever it meets; only its words on guards are of interest
            guards = [line for line in str(problem).splitlines() if "guard" in line or "Dim(" in line]
            # indices of inputs and axes are numbers too; trying one more size costs little
            found = re.findall(r"(?<![\w.\[])\d{1,9}(?![\w\]]|\.\d)", " ".join(guards))
            return sorted({int(number) for number in found})[:MAX_DECISIVE]
        return []

    def _dynamic_shapes(self, axes: list[DynamicAxis]) -> Any:  # noqa: ANN401 - torch types this pytree as Any too
        # one Dim object for each name: torch takes two of the same name for two unrelated dimensions
        dims = {axis.name: _dim(axis) for axis in axes}
        named = _by_input(axes, lambda axis: dims[axis.name])
        shapes = [named.get(name, {}) for name in self.names]
        if all(one.positional for one in self.inputs):
            return tuple(shapes)
        return {one.name: shape for one, shape in zip(self.inputs, shapes, strict=True)}


def _traced_around(module: torch.nn.Module, args: tuple[Any, ...], options: dict[str, Any]) -> Any:  # noqa: ANN401 - a script
    """Return TorchScript of a module around TorchScript, whose branches stay; the exporter's own tracer refuses it."""
    if options["kwargs"]:
        raise TypeError("forward takes inputs by keyword alone, which a trace around TorchScript can't")
    return torch.jit.trace(module, args, check_trace=False)  # type: ignore[no-untyped-call]


def _has_tied(module: torch.nn.Module) -> bool:
    """Return whether two names are one parameter."""
    every = [id(one) for _, one in module.named_parameters(remove_duplicate=False)]
    return len(set(every)) < len(every)


def widened(name: str, tensor: torch.Tensor, axes: list[DynamicAxis]) -> torch.Tensor:
    """Return an input of the example with its dynamic dimensions of one repeated, where they may be larger."""
    for axis in axes:
        if axis.input == name and tensor.shape[axis.axis] < TRACED_SIZE:
            least = max(axis.low, axis.step, TRACED_SIZE)
            wanted = -(-least // axis.step) * axis.step
            if axis.allows(wanted):
                tensor = tensor.repeat_interleave(wanted, dim=axis.axis)
    return tensor


def _dim(axis: DynamicAxis) -> Any:  # noqa: ANN401 - torch.export.Dim is a type made at run time
    if axis.step == 1:
        return torch.export.Dim(axis.name, min=axis.low, max=axis.high)
    units = torch.export.Dim(
        f"_{axis.name}", min=axis.low // axis.step, max=None if axis.high is None else axis.high // axis.step
    )
    return axis.step * units


def _by_input(axes: list[DynamicAxis], value: Any) -> dict[str, dict[int, Any]]:  # noqa: ANN401 - a name for one exporter, a Dim for the other
    found: dict[str, dict[int, Any]] = {}
    for axis in axes:
        found.setdefault(axis.input, {})[axis.axis] = value(axis)
    return found


def _frozen_by_tracing(caught: list[warnings.WarningMessage]) -> list[str]:
    """Return where TorchScript's tracer turned a tensor into a Python value, as ``file.py:12``."""
    return [
        f"{Path(warning.filename).name}:{warning.lineno}"
        for warning in caught
        if warning.category.__name__ == "TracerWarning" and "Converting a tensor to a Python" in str(warning.message)
    ]


def _is_about_values(problem: BaseException) -> bool:
    """Return whether torch.export says that a value would decide what is traced."""
    while problem.__cause__ is not None:
        problem = problem.__cause__
    said = f"{type(problem).__name__}: {problem}"
    return any(word in said for word in ("data-dependent", "DataDependent", "Could not guard", "Could not extract"))


def _last_cause(problem: BaseException) -> str:
    while problem.__cause__ is not None:
        problem = problem.__cause__
    return str(problem)


def _first_words(problem: BaseException) -> str:
    # exporters print a page; its cause is the last exception of the chain
    while problem.__cause__ is not None:
        problem = problem.__cause__
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
    return (lines[0] if lines else type(problem).__name__)[:300]
