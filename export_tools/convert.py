"""torch → ONNX by one exporter, in the child that has the module open; what it wrote is held against what was asked."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx

from edge_runtime.errors import InvalidModel, UsageError
from edge_runtime.manifest import Port
from export_tools import graph_file
from export_tools.errors import ExportFailed, OperatorUnknown, OpsetUnavailable, depends_on_values
from export_tools.foreign import rename
from export_tools.request import AUTO, DEFAULT_OPSET, EXPORTERS, DynamicAxis, wire_names
from export_tools.strip import opset_of
from export_tools.torch_process import TorchProcess
from export_tools.unsupported import remedy


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """One ONNX file as it goes into the artifact.

    why: why this exporter's graph was taken, as a sentence.   passes: the graph passes that changed it.
    frozen: where it holds one path of a forward that has several.   peak_bytes: estimated, of a process that runs it.
    """

    model: Path
    exporter: str
    why: str
    opset_asked: int
    opset_written: int
    ir_by_exporter: int
    ir: int
    operators: tuple[tuple[str, int], ...]
    passes: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()
    peak_bytes: int | None = None


def exporters_for(exporter: str, opset: int) -> tuple[str, ...]:
    """Return the exporters to try, best first.

    torch's dynamo exporter knows more modules and writes opset 18 by nature; for an older one it converts afterwards,
    or silently doesn't. The TorchScript exporter writes the old ones directly.
    """
    if exporter != AUTO:
        return (exporter,)
    return EXPORTERS if opset >= DEFAULT_OPSET else EXPORTERS[::-1]


def ask_for_export(
    child: TorchProcess,
    exporter: str,
    *,
    opset: int,
    dynamic: Sequence[DynamicAxis],
    output_names: Sequence[str],
    allow_frozen: bool = False,
    path: Path,
) -> None:
    """Ask a child that has the module open to write the ONNX file to `path`."""
    child.ask(
        {
            "do": "export",
            "exporter": exporter,
            "opset": opset,
            "dynamic": [asdict(axis) for axis in dynamic],
            "output_names": list(output_names),
            "allow_frozen": allow_frozen,
            "path": str(path),
        }
    )


@dataclass(frozen=True, slots=True)
class Traced:
    """What a child did before it wrote a graph. answer: its last word, when it had nothing to say in between."""

    detail: str
    seconds: float
    answer: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What an exporter wrote, as it wrote it. folder: where the graph's large weights lie.

    seconds: the child's own.   frozen: where it holds one path of a forward that has several.   decisive: sizes that
    forward compares dynamic ones with.
    """

    graph: onnx.ModelProto
    folder: Path
    opset: int
    ir: int
    seconds: float
    frozen: tuple[str, ...]
    decisive: tuple[int, ...] = ()


def await_traced(child: TorchProcess, exporter: str) -> Traced:
    """Wait until the child has traced forward. Raises ExportFailed or ParityLost when it could not."""
    answer = child.answer()
    if "traced_s" in answer:
        return Traced(f"{answer['nodes']} calls of PyTorch's operators", float(answer["traced_s"]), None)
    _refuse_failure(answer, exporter)
    return Traced("traces and converts in one step", float(answer["seconds"]), answer)


def await_converted(
    child: TorchProcess, exporter: str, traced: Traced, *, opset: int, inputs: Sequence[Port], outputs: list[str]
) -> Written:
    """Wait for the exporter and check what it wrote.

    Raises ExportFailed with the exporter's own reason, ParityLost when that is that values decide the path through
    forward, OpsetUnavailable when it wrote another opset.
    """
    begin = time.monotonic()
    answer = traced.answer or child.answer()
    _refuse_failure(answer, exporter)
    own_s = 0.0 if traced.answer else float(answer["seconds"])
    path, waited_s = Path(answer["path"]), time.monotonic() - begin
    try:
        graph = graph_file.read(path)
    except InvalidModel as problem:
        raise ExportFailed(f"it wrote no model: {problem.what}", exporter, "try the other exporter") from problem
    if opset_of(graph) != opset:
        raise OpsetUnavailable(
            f"opset {opset} was asked for, it wrote opset {opset_of(graph)}",
            exporter,
            f"ask for --opset {opset_of(graph)}",
        )
    names = [port.name for port in inputs]
    _part_shared(graph, wire_names("input", len(names)), wire_names("output", len(outputs)))
    wired = zip(
        (*wire_names("input", len(names)), *wire_names("output", len(outputs))), (*names, *outputs), strict=True
    )
    rename(graph, dict(wired))
    _check_ports(graph, names, outputs, exporter)
    return Written(
        graph=graph,
        folder=path.parent,
        opset=opset,
        ir=graph.ir_version,
        seconds=own_s + time.monotonic() - begin - waited_s,
        frozen=tuple(map(str, answer.get("branches", ()))),
        decisive=tuple(map(int, answer.get("sizes", ()))),
    )


def counted(model: onnx.ModelProto) -> tuple[tuple[str, int], ...]:
    """Return how many nodes of each operator the graph has, sorted by name."""
    kinds = [node.op_type for node in model.graph.node]
    return tuple((kind, kinds.count(kind)) for kind in sorted(set(kinds)))


def check_output_names(
    names: Sequence[str], count: int, inputs: Sequence[str], own: Sequence[str] = ()
) -> tuple[str, ...]:
    """Return the outputs' names: those given, else the module's own, else ``output``, ``output_1`` and so on.

    own: the keys or fields of what forward returns; one that is an input's name too gets the ending ``_out``.
    Raises UsageError for given names that can't be.
    """
    if names and len(names) != count:
        raise UsageError(f"{len(names)} output names for {count} outputs", "--output-names", "name each once")
    told_apart = tuple(f"{name}_out" if name in inputs else name for name in own)
    chosen = tuple(names) or told_apart or tuple("output" if not index else f"output_{index}" for index in range(count))
    both = set(chosen) & set(inputs)
    if both:
        hint = "name them apart: --input-names, --output-names"
        raise UsageError(f"{', '.join(sorted(both))} is an input and an output", "--output-names", hint)
    return chosen


def _refuse_failure(answer: Mapping[str, Any], exporter: str) -> None:
    failed, branches = answer["failed"], tuple(map(str, answer.get("branches", ())))
    if failed is not None and branches:
        raise depends_on_values(branches[0], exporter)
    if failed is not None and "operator" in answer:
        raise _unknown(answer, exporter)
    if failed is not None:
        raise ExportFailed(str(failed), exporter, "see the other exporter's reason, or change what it stumbles over")


def _unknown(answer: Mapping[str, Any], exporter: str) -> ExportFailed | OpsetUnavailable:
    operator, since = str(answer["operator"]), answer["since"]
    place = f" at {answer['place']}" if answer["place"] else ""
    if since is not None:
        return OpsetUnavailable(
            f"the operator {operator}{place} takes opset {since}", exporter, f"ask for --opset {since}"
        )
    error = OperatorUnknown(f"it has no conversion for the operator {operator}{place}", exporter, remedy(operator))
    error.operator, error.place = operator, str(answer["place"] or "")
    return error


def _part_shared(model: onnx.ModelProto, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Give each port a value of its own, where forward returns an input, or one tensor twice.

    An exporter that knows values by one name calls all of these by the last.
    """
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    found = [value for value in graph.input if value.name not in weights]
    if (len(found), len(graph.output)) != (len(inputs), len(outputs)):
        return
    returned = {value.name for value in graph.output}
    passed = {
        value.name: wire
        for value, wire in zip(found, inputs, strict=True)
        if value.name != wire and value.name in returned
    }
    for part in graph_file.graphs_of(model):
        for node in part.node:
            node.input[:] = [passed.get(name, name) for name in node.input]
    for value in found:
        value.name = passed.get(value.name, value.name)
    for value, wire in zip(graph.output, outputs, strict=True):
        if value.name != wire or value.name in passed:
            copied = passed.get(value.name, value.name)
            graph.node.append(onnx.helper.make_node("Identity", [copied], [wire], name=f"copy_{wire}"))
            value.name = wire


def _check_ports(proto: onnx.ModelProto, inputs: list[str], outputs: list[str], exporter: str) -> None:
    weights = {tensor.name for tensor in proto.graph.initializer}
    found = [value.name for value in proto.graph.input if value.name not in weights]
    if found != inputs:
        missing = ", ".join(sorted(set(inputs) - set(found))) or "the order of the inputs"
        raise ExportFailed(
            f"it lost {missing}", exporter, "does forward use each of its inputs? leave the others out of the example"
        )
    if [value.name for value in proto.graph.output] != outputs:
        raise ExportFailed(f"it wrote other outputs than {', '.join(outputs)}", exporter, "return plain tensors")
