"""One exporter's model, from its trace to its proof: trace → convert → strip → check → verify."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.manifest import Shape
from export_tools import graph_file
from export_tools.convert import Conversion, await_converted, await_traced, counted
from export_tools.explain import Investigation
from export_tools.graph_file import size_of
from export_tools.reference import Answered, Opened
from export_tools.request import ExportRequest
from export_tools.stages import Progress, stage
from export_tools.strip import forget, set_ports
from export_tools.torch_process import TorchProcess
from export_tools.verify import Verification, refuse_invalid, verify


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that is proven, and how."""

    conversion: Conversion
    verification: Verification


def make(
    request: ExportRequest,
    child: TorchProcess,
    exporter: str,
    why: str,
    *,
    opened: Opened,
    answered: Answered,
    outputs: Mapping[str, Shape],
    doubts: Investigation,
    work: Path,
    progress: Progress,
) -> Candidate:
    """Await what a child was asked to export, make it ours and prove it. The files are in `work`.

    Raises ExportFailed, OpsetUnavailable or ParityLost: another exporter may do better.
    """
    with stage(progress, "trace", exporter) as told:
        traced = await_traced(child, exporter)
        told.says(f"{exporter}: {traced.detail}")
        told.took(traced.seconds)
    with stage(progress, "convert", exporter) as told:
        written = await_converted(
            child, exporter, traced, opset=request.opset, inputs=opened.inputs, outputs=list(outputs)
        )
        graph = written.graph
        told.says(f"{exporter}, opset {written.opset}")
        told.took(written.seconds)
        told.did(None, size_of(graph))
    before = size_of(graph)
    if "strip" not in request.skip:
        with stage(progress, "strip", "paths, stack traces, shapes of one example") as told:
            forget(graph)
            told.did(before, size_of(graph))
    set_ports(graph, inputs=opened.inputs, outputs=outputs)
    home = work / exporter
    home.mkdir()
    with stage(progress, "check", "onnx's checker, with full shape inference") as told:
        files = graph_file.write(graph, written.folder, home / "model.onnx")
        refuse_invalid(files[0], where=request.origin)
        told.says(f"valid, opset {written.opset}, IR {graph.ir_version}")
    with stage(progress, "verify", f"{len(answered.cases)} cases in onnxruntime") as told:
        found = verify(
            files[0],
            answered.cases,
            answered.answers,
            threads=len(os.sched_getaffinity(0)),
            where=request.origin,
            state=request.state,
            tied=doubts.tied,
            progress=told.step,
        )
        more = doubts.search(files[0], found)
        told.says(
            f"{len(answered.cases)} cases, worst error {found.worst.difference.ratio:.1%} of its tolerance; "
            f"{more} more inputs searched"
        )
    return Candidate(
        Conversion(
            model=files[0],
            exporter=exporter,
            why=why,
            opset_asked=request.opset,
            opset_written=written.opset,
            ir_by_exporter=written.ir,
            ir=graph.ir_version,
            operators=counted(graph),
            frozen=written.frozen,
        ),
        found,
    )
