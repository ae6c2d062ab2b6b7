"""One model on its way: converted by an exporter or adopted, then fold → shapes → strip → check → verify."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from edge_runtime import session
from edge_runtime.manifest import Port, Shape
from edge_runtime.units import size
from export_tools import graph_file, peak
from export_tools.convert import Conversion, Written, await_converted, await_traced, counted
from export_tools.errors import ExportFailed, ParityLost, leaves_torch
from export_tools.explain import Investigation
from export_tools.graph_file import size_of
from export_tools.kernels import places_of, refuse_missing
from export_tools.passes import SHAPES, Pass, Passed, apply
from export_tools.postprocess import refuse_labels
from export_tools.random_nodes import refuse_random
from export_tools.reference import Answered, Opened, answer_cases, described_outputs
from export_tools.repeat import Read
from export_tools.request import TRACER, ExportRequest
from export_tools.sequences import ports_of_outputs, refuse_unlike
from export_tools.stages import Progress, stage
from export_tools.strip import forget, least_ir, set_ports
from export_tools.torch_process import TorchProcess
from export_tools.verify import Verification, output_shapes, refuse_invalid, threads, verify


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that is proven, and how. warnings: passes that were dropped on the way."""

    conversion: Conversion
    verification: Verification
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What every candidate of one export is held against. outputs: shapes by name.   doubts: judges ties.

    reference: what gave the answers, as `verify` calls it.
    """

    request: ExportRequest
    inputs: tuple[Port, ...]
    outputs: Mapping[str, Shape]
    answered: Answered
    doubts: Investigation
    reference: str
    passes: Sequence[Pass]
    work: Path
    progress: Progress


@dataclass(frozen=True, slots=True)
class Made:
    """What came of an export before it is packed. read: what the process that answered had read."""

    opened: Opened
    outputs: tuple[Port, ...]
    answered: Answered
    proven: Candidate
    read: Read


def prepared(
    request: ExportRequest,
    opened: Opened,
    reference: TorchProcess,
    *,
    replay: Callable[[Path], str],
    passes: Sequence[Pass],
    work: Path,
    progress: Progress,
) -> tuple[Proof, tuple[Port, ...]]:
    """Ask the reference for its answers to all cases; return what candidates are held against, and the outputs.

    Raises as `reference.answer_cases`; UsageError for state or labels that don't fit the outputs.
    """
    with stage(progress, "answer", f"the cases in {opened.engine}") as told:
        answered = answer_cases(request, opened, reference, work, told.step)
        told.says(f"{len(answered.cases)} cases, {opened.engine}")
    shapes = output_shapes(answered.cases, answered.answers, opened.inputs)
    outputs = described_outputs(request, opened, ports_of_outputs(shapes, answered.answers[0].plain))
    refuse_unlike(request.state, opened.inputs, outputs)
    if request.labels is not None:
        refuse_labels(request.labels, opened.classes, outputs)
    doubts = Investigation.of(request, opened, reference, answered, work=work, replay=replay)
    proof = Proof(
        request=request,
        inputs=opened.inputs,
        outputs=shapes,
        answered=answered,
        doubts=doubts,
        reference=opened.reference,
        passes=passes,
        work=work,
        progress=progress,
    )
    return proof, tuple(outputs.values())


def converted(proof: Proof, child: TorchProcess, exporter: str, why: str) -> Candidate:
    """Await what a child was asked to export, make it ours and prove it.

    Raises ExportFailed, OpsetUnavailable or ParityLost: another exporter may do better.
    """
    with stage(proof.progress, "trace", exporter) as told:
        traced = await_traced(child, exporter)
        told.says(f"{exporter}: {traced.detail}")
        told.took(traced.seconds)
    with stage(proof.progress, "convert", exporter) as told:
        written = await_converted(
            child, exporter, traced, opset=proof.request.opset, inputs=proof.inputs, outputs=list(proof.outputs)
        )
        told.says(f"{exporter}, opset {written.opset}")
        told.took(written.seconds)
        told.did(None, size_of(written.graph))
    child.end()  # what is written no longer needs the module in memory
    return proven(proof, written, exporter, why)


def proven(proof: Proof, written: Written, exporter: str, why: str) -> Candidate:
    """Fold a graph, infer its shapes, strip, check and verify it; a pass that spoils the proof is undone."""
    set_ports(written.graph, inputs=proof.inputs, outputs=proof.outputs)
    passed = Passed(written.graph, (), ())
    for name, passes in (("fold", proof.passes), ("shapes", (SHAPES,))):
        if name not in proof.request.skip:
            passed = _passed(proof, written, passed, name, passes)
    try:
        return _finished(proof, written, passed, exporter, why)
    except (ExportFailed, ParityLost):
        if not passed.kept:
            raise
        # each was right on the cases it was tried with; without them all the exporter's own graph has its chance
        named = ", ".join(passed.kept)
        dropped = f"the graph passes {named} are dropped: together they spoil a case that the graph without them passes"
        return _finished(proof, written, Passed(written.graph, (), (*passed.dropped, dropped)), exporter, why)


def _passed(proof: Proof, written: Written, before: Passed, name: str, passes: Sequence[Pass]) -> Passed:
    with stage(proof.progress, name, "; ".join(f"{one.name} {one.does}" for one in passes)) as told:
        after = apply(
            before.graph,
            written.folder,
            passes,
            cases=proof.answered.cases,
            answers=proof.answered.answers,
            tied=proof.doubts.tied,
            threads=threads(),
            where=proof.request.origin,
        )
        told.says(f"kept {', '.join(after.kept)}" if after.kept else "nothing to change")
        told.did(size_of(before.graph), size_of(after.graph))
    return Passed(after.graph, (*before.kept, *after.kept), (*before.dropped, *after.dropped))


def _finished(proof: Proof, written: Written, passed: Passed, exporter: str, why: str) -> Candidate:
    request, cases = proof.request, proof.answered.cases
    graph = onnx.ModelProto()
    graph.CopyFrom(passed.graph)
    if "strip" not in request.skip:
        with stage(proof.progress, "strip", "paths and stack traces of this machine, names of tools") as told:
            before = size_of(graph)
            forget(graph)
            told.did(before, size_of(graph))
    graph.ir_version = least_ir(graph)
    home = proof.work / exporter
    home.mkdir(exist_ok=True)
    with stage(proof.progress, "check", "onnx's checker, with full shape inference") as told:
        files = graph_file.write(graph, written.folder, home / "model.onnx")
        refuse_invalid(files[0], where=request.origin)
        refuse_random(graph, request.origin)
        runs = _runs_there(request, graph, written)
        sizes = peak.largest_sizes(request.dynamic, proof.inputs, cases)
        memory = peak.estimate(graph, sizes)
        peak.refuse_too_large(memory, request.target, sizes, where=request.origin)
        told.says(f"valid, opset {written.opset}, IR {graph.ir_version}{runs}; peak about {size(memory.bytes)}")
    with stage(proof.progress, "verify", f"{len(cases)} cases in onnxruntime") as told:
        found = verify(
            files[0],
            cases,
            proof.answered.answers,
            threads=threads(),
            where=request.origin,
            state=request.state,
            tied=proof.doubts.tied,
            reference=proof.reference,
            progress=told.step,
        )
        more = proof.doubts.search(files[0], found, decisive=written.decisive)
        session.give_back_freed_memory()
        told.says(
            f"{len(cases)} cases, worst error {found.worst.difference.ratio:.1%} of its tolerance; "
            f"{more} more inputs searched"
        )
    if exporter == TRACER and proof.answered.escapes and not request.allow_frozen_branch:
        # after the proof, which names the operator where it finds an input that shows it
        raise leaves_torch(proof.answered.escapes[0], request.origin)
    conversion = Conversion(
        model=files[0],
        exporter=exporter,
        why=why,
        opset_asked=request.opset,
        opset_written=written.opset,
        ir_by_exporter=written.ir,
        ir=graph.ir_version,
        operators=counted(graph),
        passes=passed.kept,
        frozen=written.frozen,
        peak_bytes=memory.bytes,
    )
    return Candidate(conversion, found, passed.dropped)


def _runs_there(request: ExportRequest, graph: onnx.ModelProto, written: Written) -> str:
    """Return what the target's onnxruntime has for the graph; raise when it can't run it."""
    if request.target is None:
        return ""
    release = request.target.release
    kinds = refuse_missing(graph, release, where=request.origin, places=places_of(written.graph))
    return f"; onnxruntime {release.name} has kernels for all {kinds} kinds of operators"
