"""Programs that torch saved without their Python: ``.pt2`` of torch.export, and TorchScript archives.

Both need the user's word (`SourceSpec.trust_pickle`). torch.export.load falls back to plain pickles and evaluates
expressions that are in the file; TorchScript may read and write files when it runs. A torch door.
"""

import inspect
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from export_tools.errors import SourceError
from export_tools.file_kinds import PROGRAM
from export_tools.request import SourceSpec

Example = tuple[tuple[Any, ...], Mapping[str, Any]]
_BETTER = "better: give FILE.py:callable and the state_dict as --weights; if you made the file yourself: --trust-pickle"
_BECAUSE = {
    True: "a torch.export program may run any code when it is opened: torch unpickles parts of it",
    False: "a TorchScript archive is a program that may read and write files when it runs",
}


class Program(torch.nn.Module):
    """A program as an ordinary module: with forward's signature, and a training mode that changes nothing.

    Its operators were chosen when it was saved, so that eval() has nothing to switch; torch's own refuse to be asked.
    `load` makes the class with its forward.   scripted: branches on values are a part of it.
    """

    def __init__(self, program: Any, *, scripted: bool) -> None:  # noqa: ANN401 - a graph or a script: both torch leaves untyped
        super().__init__()
        self.program = program
        self.scripted = scripted

    def train(self, mode: bool = True) -> "Program":  # noqa: FBT001, FBT002 - torch's own signature
        """Note the mode, for itself alone."""
        self.training = mode
        if self.scripted:
            self.program.train(mode)
        return self


def load(spec: SourceSpec, kind: str) -> tuple[Program, Example | None, tuple[str, ...]]:
    """Return the module, its example if the file holds one, and what people should know.

    kind: as `file_kinds.kind_of` found it. Raises SourceError without trust, or for what torch can't open.
    """
    path = Path(spec.cwd, spec.entry)
    if not spec.trust_pickle:
        raise SourceError(_BECAUSE[kind == PROGRAM], str(path), _BETTER)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what torch would rather have saved
        try:
            return _exported(path) if kind == PROGRAM else _scripted(path)
        except SourceError:
            raise
        except Exception as problem:
            # torch raises RuntimeError, AssertionError, KeyError, JSONDecodeError … by what is wrong with the file
            said = " ".join(str(problem).split())[:300]
            hint = f"save it again, with this torch ({torch.__version__}) or an earlier one"
            raise SourceError(f"torch can't open it: {type(problem).__name__}: {said}", str(path), hint) from problem


def is_scripted(module: torch.nn.Module) -> bool:
    """Return whether branches on values are a part of the module, and not frozen by tracing."""
    return isinstance(module, Program) and module.scripted


def _exported(path: Path) -> tuple[Program, Example | None, tuple[str, ...]]:
    exported: torch.export.ExportedProgram = torch.export.load(path)
    graph = exported.module()
    for part in graph.modules():
        part.training = False  # what it computes is fixed; asked by a method, it raises
    found = _made(graph, _as_called(inspect.signature(graph.forward), exported), scripted=False)
    return found, exported.example_inputs, _dynamic(exported)


def _as_called(signature: inspect.Signature, exported: torch.export.ExportedProgram) -> inspect.Signature:
    """Return forward's signature with those parameters by keyword alone that the program was exported with so."""
    _, by_keyword = exported.call_spec.in_spec.children() if exported.call_spec.in_spec else (None, None)
    names = set() if by_keyword is None else set(by_keyword.context)
    return signature.replace(
        parameters=[
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) if name in names else parameter
            for name, parameter in signature.parameters.items()
        ]
    )


def _scripted(path: Path) -> tuple[Program, Example | None, tuple[str, ...]]:
    script = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
    if not hasattr(script, "forward"):
        raise SourceError("the TorchScript archive has no forward", str(path), "save the module whose forward it is")
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [
        inspect.Parameter(
            argument.name,
            kind,
            default=argument.default_value if argument.has_default_value() else inspect.Parameter.empty,
        )
        for argument in script.forward.schema.arguments[1:]  # without self
    ]
    note = "a TorchScript archive: of torch's exporters only torchscript, which torch no longer develops, takes it"
    return _made(script, inspect.Signature(parameters), scripted=True), None, (note,)


def _made(program: Any, signature: inspect.Signature, *, scripted: bool) -> Program:  # noqa: ANN401 - as `Program` takes it
    def forward(self: Program, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - whatever the program takes and returns
        return self.program(*args, **kwargs)

    itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    # exporters, and whoever binds an example, look at the parameters
    forward.__signature__ = signature.replace(parameters=[itself, *signature.parameters.values()])  # type: ignore[attr-defined]  # a function may carry one
    made = type("Program", (Program,), {"forward": forward})(program, scripted=scripted)
    assert isinstance(made, Program)  # noqa: S101 - type() is typed as any type
    return made


def _dynamic(exported: torch.export.ExportedProgram) -> tuple[str, ...]:
    """Return a sentence on the dimensions that the program itself leaves open."""
    wanted = set(exported.graph_signature.user_inputs)
    found = []
    for node in exported.graph.nodes:
        if node.op != "placeholder" or node.name not in wanted:
            continue
        for axis, extent in enumerate(getattr(node.meta.get("val"), "shape", ())):
            if isinstance(extent, torch.SymInt):
                limits = exported.range_constraints.get(extent.node.expr)
                ends = "" if limits is None else f":{limits.lower}..{limits.upper}"
                found.append(f"{node.name}:{axis}={str(extent).lower()}{ends}")
    if not found:
        return ("the program's sizes are fixed; for others export it anew with torch.export's dynamic_shapes",)
    return (f"the program's dynamic dimensions: {', '.join(found)} (as --dynamic takes them)",)
