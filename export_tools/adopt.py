"""An ``.onnx`` file from elsewhere becomes an artifact: ``edge export model.onnx -o x.edge``.

There is no module to hold it against, so it is held against itself: what the file answers in onnxruntime as it came,
with all optimisation off, is the reference that every later stage must keep to. Torch is never imported.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

import onnx

from edge_runtime import npz
from edge_runtime.errors import UsageError, WrongInput
from edge_runtime.npz import Array
from edge_runtime.tolerance import describe
from export_tools import graph_file
from export_tools.candidate import Candidate, Proof, proven
from export_tools.cases import made_example, ports_of
from export_tools.convert import Written
from export_tools.errors import ExportFailed, KernelMissing, OpsetUnavailable, ParityLost, SourceError
from export_tools.foreign import Foreign, ForeignPort, axes_of, bring_in, rename, weights_of
from export_tools.graph_file import size_of
from export_tools.passes import MAX_WHOLE_BYTES
from export_tools.reference import Opened
from export_tools.request import AUTO, DynamicAxis, ExportRequest, TensorSpec
from export_tools.stages import stage
from export_tools.torch_process import TorchProcess
from export_tools.verify import NOT_THE_MODULE, threads

ADOPTED = "adopted"  # in the place of an exporter's name
FRAMEWORK = "onnx"
USUAL_SIZES = (2, 8, 32, 64, 128, 224, 256, 512)  # for dimensions without a size, when nobody says what they may be
NAMES_SHOWN = 5  # of what an old file lists: every weight of it, often
COUNT = 2  # of the first axis, mostly a batch: at 1 it would look like one that broadcasts


@dataclass(frozen=True, slots=True)
class Adopted:
    """A file that was opened. request: with its own names, dynamic axes and opset."""

    foreign: Foreign
    request: ExportRequest
    opened: Opened


def refuse_flags(request: ExportRequest) -> None:
    """Raise UsageError for what only a PyTorch module can be asked."""
    source = request.source
    for given, flag, why in (
        (source.weights, "--weights", "its weights are in the file"),
        (source.import_from, "--import-from", "no code is imported for it"),
        (source.trust_pickle, "--trust-pickle", "no pickle is opened for it"),
        (request.exporter != AUTO, "--exporter", "no exporter runs: the file is taken as it is"),
        (request.allow_frozen_branch, "--allow-frozen-branch", "its branches are part of the graph"),
        (request.preprocess, "--preprocess", "the steps are folded around a PyTorch module"),
        (request.postprocess, "--postprocess", "the steps are folded around a PyTorch module"),
    ):
        if given:
            raise UsageError(
                f"{source.origin} is an ONNX file: {why}", flag, "leave it out, or export the module itself"
            )


def open_file(request: ExportRequest, child: TorchProcess, work: Path) -> Adopted:
    """Read a file safely and open it in a child; return it with its inputs, and an example that it answers.

    Raises as `foreign.bring_in`; SourceError when it answers no example, or answers by chance; UsageError for names,
    axes or an example that don't fit it.
    """
    refuse_flags(request)
    foreign = bring_in(Path(request.source.cwd) / request.source.entry, work / "came")
    inputs = _named(foreign.inputs, request.input_names, "input", request)
    outputs = _named(foreign.outputs, request.output_names, "output", request)
    both = {port.name for port in inputs} & {port.name for port in outputs}
    if both:
        raise UsageError(f"{', '.join(sorted(both))} is an input and an output", "--output-names", "name them apart")
    request = replace(
        request,
        opset=_opset(foreign, request),
        dynamic=axes_of(inputs, request.dynamic),
        input_names=tuple(port.name for port in inputs),
        output_names=tuple(port.name for port in outputs),
    )
    child.ask(
        {
            "do": "open",
            "model": str(foreign.model),
            "where": request.origin,
            "threads": threads(),
            "inputs": list(zip(request.input_names, (port.name for port in foreign.inputs), strict=True)),
            "outputs": [port.name for port in foreign.outputs],
        }
    )
    child.answer()
    example = _example(request, inputs, foreign, child, work)
    digest, weights_bytes = weights_of(foreign)
    opened = Opened(
        example=example,
        inputs=ports_of(example, request.dynamic, request.all_ranges),
        output_names=request.output_names,
        finished=None,
        classes=None,
        weights_sha256=digest,
        weights_bytes=weights_bytes,
        torch_version=None,
        notes=tuple(_notes(foreign)),
    )
    names = dict(zip((port.name for port in foreign.inputs), request.input_names, strict=True))
    rename(foreign.graph, names | dict(zip((p.name for p in foreign.outputs), request.output_names, strict=True)))
    return Adopted(foreign, request, opened)


def adopted(proof: Proof, found: Adopted) -> Candidate:
    """Convert the opset if another was asked for, make the graph ours and prove it against the file as it came.

    Raises OpsetUnavailable when the opset can't be had, ParityLost when what came of it answers otherwise.
    """
    request, foreign = proof.request, found.foreign
    graph, why = foreign.graph, f"it came as ONNX, and its opset {foreign.opset} is kept"
    if request.opset != foreign.opset:
        with stage(proof.progress, "convert", f"opset {foreign.opset} to {request.opset}") as told:
            before = size_of(graph)
            graph = _converted(graph, foreign, request)
            told.says(f"opset {foreign.opset} to {request.opset}, by onnx's version converter")
            told.did(before, size_of(graph))
        why = f"it came as ONNX of opset {foreign.opset}"
    written = Written(
        graph=graph,
        folder=foreign.folder,
        opset=foreign.opset if graph is foreign.graph else request.opset,
        ir=foreign.ir,
        seconds=0.0,
        frozen=(),
    )
    try:
        return proven(proof, written, ADOPTED, why)
    except KernelMissing:
        raise
    except ExportFailed as problem:
        raise ExportFailed(problem.what, request.origin, "mend the file where it was made") from problem
    except ParityLost as problem:
        explained = proof.doubts.explained(problem)
        if graph is not foreign.graph:
            raise OpsetUnavailable(
                f"converted to opset {request.opset} it answers otherwise: {explained.what}",
                request.origin,
                _keep(foreign, request),
            ) from problem
        error = ParityLost(
            explained.what.replace(NOT_THE_MODULE, "it answers otherwise than the file as it came"),
            request.origin,
            "see whether the stage fold is at fault: --skip fold",
        )
        error.failing = explained.failing
        raise error from problem


def _opset(foreign: Foreign, request: ExportRequest) -> int:
    """Return the opset to write: the one asked for, else the file's own, unless that is more than the target reads."""
    if not request.keep_opset:
        return request.opset
    return foreign.opset if request.target is None else min(foreign.opset, request.target.release.opset)


def _named(
    ports: Sequence[ForeignPort], names: Sequence[str], what: str, request: ExportRequest
) -> tuple[ForeignPort, ...]:
    flag = f"--{what}-names"
    if names and len(names) != len(ports):
        own = ", ".join(port.name for port in ports)
        raise UsageError(f"{len(names)} {what} names for {len(ports)} {what}s ({own})", flag, "name each once")
    named = tuple(replace(port, name=name) for port, name in zip(ports, names or [p.name for p in ports], strict=True))
    for name in (port.name for port in named):
        if not name or not name.isprintable() or name != name.strip() or "," in name:
            raise UsageError(f"the file calls an {what} {name!r}", request.origin, f"give it another name: {flag} A,B")
    return named


def _example(
    request: ExportRequest, ports: Sequence[ForeignPort], foreign: Foreign, child: TorchProcess, work: Path
) -> dict[str, Array]:
    """Return an example that the file answers: the one given, or one of usual sizes."""
    if request.example is not None:
        given = (
            made_example(request.example, seed=request.seed, ranges=request.all_ranges)
            if isinstance(request.example, tuple)
            else npz.read(request.example)
        )
        example = _fitting(given, ports)
        _probe(example, foreign, child, work)
        return example
    rankless = [port.name for port in ports if port.shape is None]
    if rankless:
        raise UsageError(
            f"the file does not say what shape {', '.join(rankless)} has",
            request.origin,
            "give an example: --example NAME=1x3x224x224:float32 or FILE.npz",
        )
    first: SourceError | None = None
    tried: list[tuple[TensorSpec, ...]] = []
    for usual in USUAL_SIZES:
        sizes = _sizes(request.dynamic, usual)
        specs = tuple(
            TensorSpec(
                name=port.name,
                shape=tuple(
                    size if isinstance(size, int) else sizes[port.name, axis]
                    for axis, size in enumerate(port.shape or ())
                ),
                dtype=port.dtype,
            )
            for port in ports
        )
        if specs in tried:
            continue
        tried.append(specs)
        example = made_example(specs, seed=request.seed, ranges=request.all_ranges)
        try:
            _probe(example, foreign, child, work)
        except SourceError as problem:
            if type(problem) is not SourceError or "answers differently" in problem.what:
                raise
            first = first or problem
        else:
            return example
    assert first is not None  # noqa: S101 - there is at least one size
    raise SourceError(
        f"it answers no example that could be made for it: {first.what}", request.origin, first.hint
    ) from first


def _probe(example: dict[str, Array], foreign: Foreign, child: TorchProcess, work: Path) -> None:
    path = work / "probe.npz"
    npz.write(path, example)
    child.ask({"do": "probe", "example": str(path), "random": list(foreign.random)})
    child.answer()


def _fitting(given: dict[str, Array], ports: Sequence[ForeignPort]) -> dict[str, Array]:
    named = {name.removeprefix("input/"): array for name, array in given.items()}
    for port in ports:
        if port.name not in named:
            told = ", ".join(named) or "nothing"
            raise UsageError(f"no input {port.name!r} in the example", "--example", f"it holds {told}")
        array = named[port.name]
        fits = array.dtype.name == port.dtype and (port.shape is None or array.ndim == len(port.shape))
        fits = fits and all(
            isinstance(wanted, str) or size == wanted
            for size, wanted in zip(array.shape, port.shape or (), strict=False)
        )
        if not fits:
            wanted = ", ".join(str(size or "?") for size in port.shape or ("...",))
            raise WrongInput(
                f"{port.name} is {describe(array)}, the file takes {port.dtype}[{wanted}]",
                "--example",
                "give it as the file takes it",
            )
    return {port.name: named[port.name] for port in ports}


def _sizes(dynamic: Sequence[DynamicAxis], usual: int) -> dict[tuple[str, int], int]:
    """Return a size for each dynamic axis, one for each name: `usual` or what its range has next to it."""
    chosen: dict[str, int] = {}
    found: dict[tuple[str, int], int] = {}
    for axis in dynamic:
        wanted = COUNT if axis.axis == 0 else usual
        wanted = max(axis.low, min(wanted, axis.high or wanted))
        wanted = -(-wanted // axis.step) * axis.step
        found[axis.input, axis.axis] = chosen.setdefault(axis.name, wanted)
    return found


def _converted(graph: onnx.ModelProto, foreign: Foreign, request: ExportRequest) -> onnx.ModelProto:
    def refuse(reason: str) -> NoReturn:
        raise OpsetUnavailable(
            f"it is of opset {foreign.opset}, and can't be converted to {request.opset}: {reason}",
            request.origin,
            _keep(foreign, request),
        )

    given = onnx.ModelProto()
    given.CopyFrom(graph)
    if size_of(given).bytes > MAX_WHOLE_BYTES:
        refuse(f"onnx's converter wants all weights in memory, more than {MAX_WHOLE_BYTES >> 20} MiB")
    graph_file.bring_in(given, foreign.folder)
    try:
        made = onnx.version_converter.convert_version(given, request.opset)
    except (onnx.version_converter.ConvertError, ValueError, RuntimeError) as problem:
        refuse(" ".join(str(problem).split())[:200])
    graph_file.move_out(made, foreign.folder, "converted.data")
    return made


def _keep(foreign: Foreign, request: ExportRequest) -> str:
    if request.target is not None:
        return f"save it with an older opset where it was made; {request.target.name} reads up to {request.opset}"
    return f"leave --opset out, and it keeps its own: {foreign.opset}"


def _notes(foreign: Foreign) -> list[str]:
    if not foreign.overridable:
        return []
    more = len(foreign.overridable) - NAMES_SHOWN
    names = ", ".join(foreign.overridable[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
    return [f"inputs that have a value in the file are constants from here on: {names}"]
