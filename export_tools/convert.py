"""torch → ONNX by one exporter, in the child that has the module open; what it wrote is held against what was asked."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # stubs are another package

from edge_runtime.errors import UsageError
from edge_runtime.manifest import Port, Shape
from export_tools.errors import ExportFailed, OpsetUnavailable, depends_on_values
from export_tools.request import AUTO, DEFAULT_OPSET, EXPORTERS, DynamicAxis
from export_tools.strip import MAX_INLINE_BYTES, opset_of, strip
from export_tools.torch_process import TorchProcess


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """One ONNX file as it goes into the artifact.

    why: why this exporter wrote it, as a sentence.   frozen: where it holds one path of a forward that has several.
    """

    model: Path
    exporter: str
    why: str
    opset_asked: int
    opset_written: int
    ir_by_exporter: int
    ir: int
    operators: tuple[tuple[str, int], ...]
    frozen: tuple[str, ...] = ()


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
    weights_bytes: int,
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
            "external_data": weights_bytes > MAX_INLINE_BYTES,
            "path": str(path),
        }
    )


def finish(
    child: TorchProcess,
    exporter: str,
    why: str,
    *,
    opset: int,
    inputs: Sequence[Port],
    outputs: Mapping[str, Shape],
    written: Path,
    target: Path,
) -> Conversion:
    """Wait for the exporter, check what it wrote, write the stripped model to `target`.

    Raises ExportFailed with the exporter's own reason, ParityLost when that is that values decide the path through
    forward, OpsetUnavailable when it wrote another opset.
    """
    answer = child.answer()
    failed, branches = answer["failed"], tuple(map(str, answer.get("branches", ())))
    if failed is not None and branches:
        raise depends_on_values(branches[0], exporter)
    if failed is not None:
        raise ExportFailed(str(failed), exporter, "see the other exporter's reason, or change what it stumbles over")
    try:
        proto = onnx.load(written, load_external_data=False)
    except (OSError, DecodeError) as problem:
        raise ExportFailed(f"it wrote no ONNX file: {problem}", exporter, "try the other exporter") from problem
    if opset_of(proto) != opset:
        raise OpsetUnavailable(
            f"opset {opset} was asked for, it wrote opset {opset_of(proto)}",
            exporter,
            f"ask for --opset {opset_of(proto)}",
        )
    _check_ports(proto, [port.name for port in inputs], list(outputs), exporter)
    model = strip(written, target, inputs=inputs, outputs=outputs)
    return Conversion(
        model=target,
        exporter=exporter,
        why=why,
        opset_asked=opset,
        opset_written=opset_of(model),
        ir_by_exporter=proto.ir_version,
        ir=model.ir_version,
        operators=_counted(model),
        frozen=branches,
    )


def check_output_names(names: Sequence[str], count: int, inputs: Sequence[str]) -> tuple[str, ...]:
    """Return the outputs' names, ``output``, ``output_1`` … unless given; raise UsageError if they can't be."""
    if names and len(names) != count:
        raise UsageError(f"{len(names)} output names for {count} outputs", "--output-names", "name each once")
    chosen = tuple(names) or tuple("output" if index == 0 else f"output_{index}" for index in range(count))
    both = set(chosen) & set(inputs)
    if both:
        hint = "name them apart: --input-names, --output-names"
        raise UsageError(f"{', '.join(sorted(both))} is an input and an output", "--output-names", hint)
    return chosen


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


def _counted(model: onnx.ModelProto) -> tuple[tuple[str, int], ...]:
    kinds = [node.op_type for node in model.graph.node]
    return tuple((kind, kinds.count(kind)) for kind in sorted(set(kinds)))
