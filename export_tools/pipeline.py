"""An export, in order: open and answer, then the stages (`request.STAGES`).

trace → convert → fold → shapes → strip → check → verify of each exporter (`candidate`), then goldens → package of the
artifact (`pack`).
"""

import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime import files
from edge_runtime.artifact import Artifact, is_only_an_artifact, open_artifact
from edge_runtime.errors import Unwritable
from edge_runtime.manifest import GoldenCase, State
from edge_runtime.units import size
from export_tools import adopt, prove, python_source, remembered, repeat, replay
from export_tools.attempts import Attempts, proven_best
from export_tools.candidate import Made, prepared
from export_tools.convert import Conversion, exporters_for
from export_tools.errors import OpsetUnavailable
from export_tools.export_document import document
from export_tools.pack import Contents, created, pack, write_golden
from export_tools.passes import FOLD, Pass
from export_tools.postprocess import checked_labels
from export_tools.postprocess import parse as parse_postprocess
from export_tools.preprocess import parse as parse_preprocess
from export_tools.reference import (
    ask_to_open,
    await_opened,
    read_by,
    start,
)
from export_tools.request import AUTO, ExportRequest, SourceSpec, ValueRange, opset_for, parse_dynamic_mapping
from export_tools.stages import Progress, stage
from export_tools.target import Target
from export_tools.target import parse as parse_target
from export_tools.verify import Verification

if TYPE_CHECKING:
    import torch

    from export_tools.python_source import TensorLike


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What an export made.

    on_target: how the target's onnxruntime was asked, where it was to run it.
    warnings: what people should know and nothing else says.   notes: how the source was read.
    """

    artifact: Artifact
    conversion: Conversion
    verification: Verification
    warnings: tuple[str, ...]
    notes: tuple[str, ...] = ()
    target: Target | None = None
    on_target: prove.Proven | None = None


def run(request: ExportRequest, *, progress: Progress = lambda _: None, passes: Sequence[Pass] = FOLD) -> Exported:
    """Export, verify and write one artifact. passes: what the stage fold tries, in order.

    Raises OutputExists or Unwritable before any work, SourceError for a source that can't serve, ExportFailed or
    OpsetUnavailable when no exporter can, ParityLost when the model answers differently; then nothing is written.
    """
    began_ns = time.time_ns()
    refuse_output(request)
    refuse_opset(request)
    ready = _fetched(request, progress)
    with (
        tempfile.TemporaryDirectory(prefix="edge-export-") as folder,
        files.telling_of_full_disks(Path(folder)),
    ):
        work = Path(folder)
        make = _adopted if request.source.is_onnx else _converted
        made = make(request, work, progress, passes)
        contents = Contents(
            conversion=made.proven.conversion,
            verification=made.proven.verification,
            inputs=made.opened.inputs,
            outputs=made.outputs,
            cases=made.answered.cases,
            answers=made.answered.answers,
            weights_sha256=made.opened.weights_sha256,
            torch_version=made.opened.torch_version,
        )
        golden: tuple[GoldenCase, ...] = ()
        if "goldens" not in request.skip:
            with stage(progress, "goldens", "inputs and answers to replay on a board") as told:
                golden = write_golden(work, contents)
                told.says(f"{len(golden)} of {len(contents.cases)} cases")
        on_target = None if ready is None else _proven_on_target(ready, request, contents, golden, work, progress)
        with stage(progress, "package", str(request.output)) as told:
            artifact = pack(request, contents, golden, work)
            told.says(f"{request.output}, {size(artifact.size_bytes(artifact.variant()))}")
    forgotten = remembered.remember(artifact.variant().files[0].sha256, _with_steps(request))
    lost = () if forgotten is None else (f"edge bench will need --source, it could not be remembered: {forgotten}",)
    exported = Exported(
        artifact=artifact,
        conversion=contents.conversion,
        verification=contents.verification,
        warnings=(*made.answered.left_out, *made.proven.warnings, *contents.verification.warnings, *lost),
        notes=made.opened.notes,
        target=request.target,
        on_target=on_target,
    )
    repeat.keep(request, made.read, document(exported), began_ns=began_ns, work=work)
    return exported


def export(
    source: "torch.nn.Module | str",
    example: "TensorLike | Sequence[TensorLike] | Mapping[str, TensorLike] | None" = None,
    output: str | Path | None = None,
    *,
    dynamic: Mapping[str, Mapping[int, str]] | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    weights: str | Path | None = None,
    input_names: Sequence[str] = (),
    output_names: Sequence[str] = (),
    opset: int | None = None,
    target: str | None = None,
    prove_target: bool = False,
    exporter: str = AUTO,
    allow_frozen_branch: bool = False,
    data: str | Path | None = None,
    state: Mapping[str, str] | None = None,
    preprocess: Sequence[str] = (),
    postprocess: Sequence[str] = (),
    labels: Sequence[str] | None = None,
    name: str | None = None,
    version: str = "1",
    import_from: str | Path | None = None,
    trust_pickle: bool = False,
    timeout_s: float = 600.0,
    seed: int = 0,
    skip: Sequence[str] = (),
    force: bool = False,
    progress: Progress = lambda _: None,
) -> Artifact:
    """Export a module, or what ``edge export`` takes as SOURCE; return the artifact.

    ``export(module, example, "digits.edge", dynamic={"image": {0: "batch"}})``. example: a tensor, a sequence of
    them, or a mapping by input name; numpy arrays serve too. dynamic: axis to name, or to ``"batch:1..64"``.
    ranges: the values that an input is meant to take, ``{"image": (0, 1)}``.
    state: input to output, ``{"h_in": "h_out"}``. preprocess, postprocess: as the flags. labels: names of the classes.
    skip: stages to leave out, of `request.SWITCHED`.   An artifact that is there and is what this export would make
    again is returned as it is, unless force; a module given as an object is always exported anew.
    A module travels to the exporting process as a private pickle: its class must be importable there, which one
    defined in ``__main__`` is not. Raises as `run` does.
    """
    with python_source.described(
        source,
        example,
        weights=weights,
        import_from=import_from,
        trust_pickle=trust_pickle,
    ) as (spec, origin, stem, example_file):
        aim = None if target is None else parse_target(target)
        path = Path(output) if output is not None else Path(f"{name or stem}.edge")
        request = ExportRequest(
            source=spec,
            output=path,
            name=name or path.name.removesuffix(".edge"),
            origin=origin,
            example=example_file,
            dynamic=parse_dynamic_mapping(dynamic or {}),
            ranges=tuple(
                ValueRange(input=port, low=float(low), high=float(high)) for port, (low, high) in (ranges or {}).items()
            ),
            input_names=tuple(input_names),
            output_names=tuple(output_names),
            opset=opset_for(opset, aim),
            keep_opset=opset is None,
            target=aim,
            prove_target=prove_target,
            exporter=exporter,
            allow_frozen_branch=allow_frozen_branch,
            data=None if data is None else Path(data),
            preprocess=parse_preprocess(preprocess),
            postprocess=parse_postprocess(postprocess),
            labels=None if labels is None else checked_labels(labels, "labels"),
            state=tuple(State(input=taken, output=given) for taken, given in (state or {}).items()),
            version=version,
            timeout_s=timeout_s,
            seed=seed,
            skip=tuple(skip),
            force=force,
        )
        if isinstance(repeat.compare(request), repeat.Unchanged):
            return open_artifact(path)
        return run(request, progress=progress).artifact


def _fetched(request: ExportRequest, progress: Progress) -> prove.Fetched | None:
    """Fetch the target's onnxruntime when it is to run the model: before minutes are spent on what can't be proven."""
    if request.target is None or not request.prove_target:
        return None
    release = request.target.release.name
    with stage(progress, "fetch", f"onnxruntime {release}, into an environment of its own") as told:
        ready = prove.fetched(release)
        told.says(ready.why or f"onnxruntime {release} in {ready.folder}")
    return ready


def _proven_on_target(  # noqa: PLR0917 - one call of it
    ready: prove.Fetched,
    request: ExportRequest,
    contents: Contents,
    golden: Sequence[GoldenCase],
    work: Path,
    progress: Progress,
) -> prove.Proven:
    named = [Path(one.path).stem for one in golden]
    with stage(progress, "prove", f"the golden cases in onnxruntime {ready.release}") as told:
        found = prove.proven(
            ready,
            contents.conversion.model,
            *prove.replayed(contents.verification, contents.cases, contents.answers, named),
            where=request.origin,
            work=work,
            progress=told.step,
        )
        told.says(str(found))
    return found


def refuse_output(request: ExportRequest) -> None:
    """Refuse an output that is taken or can't be written, before minutes are spent on it."""
    files.refuse_existing(request.output, replace=request.force, ours=is_only_an_artifact)
    created()  # refuses a senseless SOURCE_DATE_EPOCH
    parent = request.output.absolute().parent
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        problem = "can't write there" if parent.is_dir() else "there is no such folder"
        raise Unwritable(problem, str(parent), "make it, or choose another place with -o")


def refuse_opset(request: ExportRequest) -> None:
    """Raise OpsetUnavailable when the target doesn't read the opset, or it can't express the preprocessing."""
    if request.target is not None:
        request.target.refuse_opset(request.opset)
    for one in request.preprocess:
        if request.opset < one.least_opset:
            raise OpsetUnavailable(
                f"opset {request.opset} can't express {one.why_opset}, which takes opset {one.least_opset}",
                request.origin,
                f"ask for --opset {one.least_opset}, or resize otherwise",
            )


def _converted(request: ExportRequest, work: Path, progress: Progress, passes: Sequence[Pass]) -> Made:
    """Export a PyTorch module: trace, convert and prove it, in child processes."""
    exporters = exporters_for(request.exporter, request.opset)
    with ExitStack() as children:
        reference, exporting = (children.enter_context(start(request)) for _ in range(2))
        with stage(progress, "open", request.origin) as told:
            ask_to_open(request, reference, work, precise=True)
            ask_to_open(request, exporting, work, precise=False)
            opened = await_opened(request, reference, exporting, work)
            told.says(", ".join(f"{port.name} {port}" for port in opened.inputs))
        attempts = Attempts(request, opened, exporters, exporting, work=work, children=children)
        proof, outputs = prepared(
            request,
            opened,
            reference,
            replay=partial(replay.of_export, request),
            passes=passes,
            work=work,
            progress=progress,
        )
        return Made(opened, outputs, proof.answered, proven_best(proof, attempts), read_by(reference, work))


def _adopted(request: ExportRequest, work: Path, progress: Progress, passes: Sequence[Pass]) -> Made:
    """Adopt an ONNX file: prove what becomes of it against the file as it came."""
    with start(request) as reference:
        with stage(progress, "open", request.origin) as told:
            found = adopt.open_file(request, reference, work)
            told.says(", ".join(f"{port.name} {port}" for port in found.opened.inputs))
        proof, outputs = prepared(
            found.request,
            found.opened,
            reference,
            replay=partial(replay.of_export, request),
            passes=passes,
            work=work,
            progress=progress,
        )
        return Made(found.opened, outputs, proof.answered, adopt.adopted(proof, found), read_by(reference, work))


def _with_steps(request: ExportRequest) -> SourceSpec:
    post = request.postprocess
    steps = tuple(str(one) for one in request.preprocess)
    return replace(request.source, preprocess=steps, postprocess=None if post is None else str(post))
