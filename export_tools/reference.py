"""What PyTorch says: the module opened in child processes, its ports, and its answers to every case."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edge_runtime import npz
from edge_runtime.errors import UsageError
from edge_runtime.manifest import Port, State
from edge_runtime.npz import Array
from edge_runtime.session import ENGINE
from export_tools.cases import DATA, REAL, Case, made_example, make_cases, ports_of, read_data
from export_tools.convert import check_output_names
from export_tools.errors import SourceError, SourceLost, depends_on_values
from export_tools.noise import Answers
from export_tools.postprocess import described
from export_tools.repeat import Read
from export_tools.request import ExportRequest
from export_tools.sequences import carried_on, make_sequences, refuse_unknown
from export_tools.sizings import describe
from export_tools.torch_process import ONNX, TORCH, TorchProcess
from export_tools.verify import ITSELF, Tied
from export_tools.verify import TORCH as TORCH_ANSWERS

NAMED = 3  # of the weights, or of what else is told by name
MAX_AT_ONCE_BYTES = 2**27  # of weights that several processes may hold at the same time
SAME_ANSWER = 1e-5  # of the largest value: far above what another alignment of memory moves, far below dropout


@dataclass(frozen=True, slots=True)
class Opened:
    """The module as its processes describe it.

    finished: the place of the output that is postprocessed, and the size of its last axis before; None without.
    torch_version: None for an ONNX file, which onnxruntime answers for.   dtype_hint: what to change first if no model
    can be proven equal, where the weights' dtype is the likely reason.
    """

    example: Mapping[str, Array]
    inputs: tuple[Port, ...]
    output_names: tuple[str, ...]
    finished: int | None
    classes: int | None
    weights_sha256: str
    weights_bytes: int
    torch_version: str | None
    notes: tuple[str, ...] = ()
    dtype_hint: str = ""

    @property
    def is_large(self) -> bool:
        """Whether each process more that holds the module is memory that the others may lack."""
        return self.weights_bytes > MAX_AT_ONCE_BYTES

    @property
    def engine(self) -> str:
        """What answers, as people call it."""
        return ENGINE if self.torch_version is None else f"PyTorch {self.torch_version}"

    @property
    def reference(self) -> str:
        """What its answers are, as `verify` calls it."""
        return ITSELF if self.torch_version is None else TORCH_ANSWERS


def start(request: ExportRequest) -> TorchProcess:
    """Start a child for the request's source."""
    worker = ONNX if request.source.is_onnx else TORCH
    return TorchProcess(request.origin, cwd=request.source.cwd, timeout_s=request.timeout_s, worker=worker)


def ask_to_open(request: ExportRequest, child: TorchProcess, work: Path, *, precise: bool) -> None:
    """Ask a child to open the module. precise: it is the reference, and gets a float64 copy in `await_opened`."""
    example = request.example
    if isinstance(example, tuple):
        npz.write(work / "described.npz", made_example(example, seed=request.seed, ranges=request.all_ranges))
        example = work / "described.npz"
    child.ask(
        {
            "do": "open",
            "spec": asdict(request.source),
            "example": None if example is None else str(example.absolute()),
            "input_names": list(request.input_names),
            "output_names": list(request.output_names),
            "preprocess": [str(one) for one in request.preprocess],
            "postprocess": [] if request.postprocess is None else [str(request.postprocess)],
            "ranges": {one.input: (one.low, one.high) for one in request.all_ranges},
            "seed": request.seed,
            # not yet: until both are compared, the module is in memory twice already
            "precise": False,
            "example_out": str(work / f"example-{precise}.npz"),
        }
    )


def await_opened(request: ExportRequest, reference: TorchProcess, exporting: TorchProcess | None, work: Path) -> Opened:
    """Return what both children opened; raise SourceError when it isn't the same module, or answers by chance.

    exporting: None where an artifact's hash of the weights shows that the module is the one; ended when it is large.
    """
    described = reference.answer()
    if exporting is not None:
        other = exporting.answer()
        unlike = _unlike(described["checksums"], other["checksums"])
        refuse_another(described["weights_sha256"], other["weights_sha256"], request.origin, unlike)
        if described["weights_bytes"] > MAX_AT_ONCE_BYTES:
            exporting.end()
    reference.ask({"do": "widen", "mapped": described["weights_bytes"] > MAX_AT_ONCE_BYTES})
    reference.answer()
    example = npz.read(work / "example-True.npz")
    inputs = _described(request, ports_of(example, request.dynamic, request.all_ranges))
    reference.ask({"do": "probe"})
    probed = reference.answer()
    own = list(map(str, probed["names"]))
    if own and len(own) < probed["outputs"]:  # the postprocessing made two of one
        own.insert(probed["finished"] + 1, f"{own[probed['finished']]}_indices")
    output_names = check_output_names(request.output_names, probed["outputs"], described["inputs"], own)
    refuse_unknown(request.state, described["inputs"], output_names)
    return Opened(
        example=example,
        inputs=inputs,
        output_names=output_names,
        finished=probed["finished"],
        classes=probed["classes"],
        weights_sha256=described["weights_sha256"],
        weights_bytes=described["weights_bytes"],
        torch_version=described["torch"],
        notes=tuple(map(str, (*described["notes"], *probed["notes"]))),
        dtype_hint=str(described["dtype_hint"]),
    )


def _described(request: ExportRequest, ports: tuple[Port, ...]) -> tuple[Port, ...]:
    meanings = {one.input: one.meaning for one in request.preprocess}
    return tuple(replace(port, meaning=meanings.get(port.name)) for port in ports)


def described_outputs(request: ExportRequest, opened: Opened, outputs: Mapping[str, Port]) -> dict[str, Port]:
    """Return the outputs with what is known of their meaning and range."""
    ports = list(outputs.values())
    if opened.finished is not None and request.postprocess is not None:
        for place, port in enumerate(ports[opened.finished : opened.finished + 2]):
            ports[opened.finished + place] = described(port, request.postprocess, opened.classes, place=place)
    return {port.name: port for port in ports}


def read_by(reference: TorchProcess, work: Path) -> Read:
    """Return what a child has read since it was started."""
    listing = work / "reads.json"
    reference.ask({"do": "reads", "listing": str(listing)})
    reference.answer()
    told = json.loads(listing.read_bytes())
    return Read(tuple(told["files"]), tuple(told["folders"]), told["network"])


def refuse_another(one: str, other: str, where: str, names: Sequence[str] = ()) -> None:
    """Raise SourceError when two processes built modules with different weights. names: of what differs, if known."""
    if names or one != other:
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        which = f": {', '.join(names[:NAMED])}{more}" if names else ""
        raise SourceError(
            f"not deterministic: built twice, the module has different weights{which}",
            where,
            "seed it (torch.manual_seed before it is built), or pass trained weights with --weights FILE",
        )


def _unlike(one: Mapping[str, int], other: Mapping[str, int]) -> list[str]:
    return [name for name in {**one, **other} if one.get(name) != other.get(name)]


@dataclass(frozen=True, slots=True)
class Answered:
    """The cases that PyTorch answers, and its answers.

    left_out: a sentence for each case that there is no answer for, or that takes a path which is not exported.
    frozen: where in the user's code that path leaves the example's.   escapes: where values of the input leave torch.
    nested: forward goes through nested tensors.
    """

    cases: tuple[Case, ...]
    answers: tuple[Answers, ...]
    left_out: tuple[str, ...]
    frozen: tuple[str, ...]
    escapes: tuple[str, ...] = ()
    nested: bool = False


def answer_cases(
    request: ExportRequest,
    opened: Opened,
    reference: TorchProcess,
    work: Path,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> Answered:
    """Return PyTorch's answers to the cases. progress: hears of the cases done, of how many.

    Raises SourceError when the module fails for a size that was said to be valid, for real inputs, or when it
    answers the example otherwise after the other cases; ParityLost when a case takes another path through forward
    than an earlier one of the same sizes, unless frozen branches are allowed.
    """
    data = read_data(request.data) if request.data is not None else ()
    cases, too_large = make_cases(opened.example, opened.inputs, request.dynamic, seed=request.seed, data=data)
    answered: list[tuple[Case, Answers]] = []
    left_out: list[str] = list(too_large)
    frozen: list[str] = []
    escapes: list[str] = []
    untraced, nested = "", False
    for index, case in enumerate(cases):
        progress(index, len(cases))
        try:
            answers, told = answer_case(
                case, opened, reference, work / f"case-{index}", compare=_compared(request, case)
            )
            branch: str | None = told["branch"]
            escapes += [told["escape"]] if told["escape"] else []
            nested |= told["nested"]
            if told["untraced"]:
                untraced = f"branches are found by answers alone, forward can't be watched: {told['untraced']}"
            if branch is None:
                answered.append((case, answers))
            elif request.allow_frozen_branch:
                frozen.append(branch)
                left_out.append(f"the case {case.name} is left out: at {branch} it takes another path than the example")
            else:
                raise depends_on_values(branch, request.origin, case.name, nested=told["nested"])
        except SourceError as problem:
            left_out.append(_refused(case, problem, request))
    watched = "none" if request.allow_frozen_branch else "path"
    for index, case in enumerate(make_sequences([case for case, _ in answered], request.state, seed=request.seed)):
        step = carried_on(case, request.state, answered[-1][1].plain)
        answers, told = answer_case(step, opened, reference, work / f"step-{index}", request.state, compare=watched)
        if told["branch"] is not None:
            raise depends_on_values(told["branch"], request.origin, step.name, nested=told["nested"])
        answered.append((step, answers))
    again, _ = answer_case(cases[0], opened, reference, work / "case-again")
    for name, array in answered[0][1].plain.items():
        if not _same(again.plain[name], array):
            reference.ask({"do": "changed"})
            raise _kept_state(reference.answer()["changed"], name, array, again.plain[name], request.origin)
    precise = all(answers.precise is not None for _, answers in answered)
    return Answered(
        tuple(case for case, _ in answered),
        tuple(replace(answers, precise=answers.precise if precise else None) for _, answers in answered),
        (*left_out, *([untraced] if untraced else ())),
        tuple(dict.fromkeys(frozen)),
        tuple(dict.fromkeys(escapes)),
        nested,
    )


def _kept_state(changed: Sequence[str], name: str, before: Array, after: Array, where: str) -> SourceError:
    shown = ""
    if before.shape == after.shape:
        place = np.unravel_index(
            np.argmax(np.nan_to_num(np.abs(after.astype(float) - before), nan=np.inf)), after.shape
        )
        index = f"[{', '.join(map(str, map(int, place)))}]" if place else ""
        shown = f", {name}{index} = {before[place]:.6g} at first and {after[place]:.6g} after them"
    held = f"; what it holds has changed: {', '.join(map(str, changed[:NAMED]))}" if changed else ""
    return SourceError(
        f"this module keeps state between calls: after other inputs it answers the example differently{shown}{held}",
        where,
        "make the state an input and an output of forward (--state IN:OUT)",
    )


def tie_judge(opened: Opened, reference: TorchProcess, work: Path) -> Tied:
    """Return what asks a module's process whether an index names another of several equal values."""

    def judge(case: Case, output: str, got: Array) -> bool:
        inputs, answer = work / "tied.inputs.npz", work / "tied.got.npz"
        npz.write(inputs, case.inputs)
        npz.write(answer, {"got": got})
        place = opened.output_names.index(output)
        reference.ask({"do": "tied", "inputs": str(inputs), "got": str(answer), "output": place})
        return bool(reference.answer()["tied"])

    return judge


def _refused(case: Case, problem: SourceError, request: ExportRequest) -> str:
    """Return why a case that the module itself refuses is left out; raise when it must not be."""
    if case.sizes:
        ranges = " ".join(f"--dynamic {a.input}:{a.axis}={a.name}:MIN..MAX/STEP" for a in request.dynamic)
        raise SourceError(
            f"the module itself fails at {describe(case.sizes)}: {problem.what}",
            request.origin,
            f"if that size is not meant, say which are: {ranges}{_equal(case.sizes)}",
        ) from problem
    if case.name == REAL or case.name.startswith(DATA) or isinstance(problem, SourceLost):
        raise problem
    return f"the case {case.name} is left out, since the module itself refuses it: {problem.what}"


def _equal(sizes: Mapping[str, int]) -> str:
    return f"; if {' and '.join(sizes)} are always equal, give them one name" if len(set(sizes.values())) > 1 else ""


def _compared(request: ExportRequest, case: Case) -> str:
    """Return which earlier case's path through forward this one's is held against.

    A module may decide by sizes, so only cases of the same sizes must agree, and those that go through the sizes have
    no peer. Where branches are frozen the example's path is the one there is.
    """
    if request.allow_frozen_branch:
        return "first" if case.sizes else "numbers"
    return "none" if case.sizes else "path"


def answer_case(
    case: Case,
    opened: Opened,
    reference: TorchProcess,
    stem: Path,
    state: Sequence[State] = (),
    *,
    compare: str = "none",
    precisely: bool = True,
) -> tuple[Answers, Mapping[str, Any]]:
    """Return PyTorch's answers to one case, and what else its process tells of it.

    stem: how the names of temporary files begin.   state: what goes on where the case follows another.
    compare: the earlier case whose path through forward this one's is held against, as `torch_worker` takes it.
    precisely: in float64 too, where that can be had; it takes ten times as long.
    """
    paths = {part: stem.with_suffix(f".{part}.npz") for part in ("inputs", "outputs", "precise", "shaken")}
    npz.write(paths["inputs"], case.inputs)
    places = {port.name: index for index, port in enumerate(opened.inputs)}
    goes_on = [(places[pair.input], opened.output_names.index(pair.output)) for pair in state if case.follows]
    files = {part: str(path) for part, path in paths.items()}
    reference.ask({"do": "answer", "state": goes_on, "compare": compare, "precisely": precisely, **files})
    told: Mapping[str, Any] = reference.answer()
    plain = _named(paths["outputs"], opened)
    precise, shaken = (_named(paths[part], opened) if told[part] else None for part in ("precise", "shaken"))
    answers = Answers(plain, precise, shaken)
    for path in paths.values():
        path.unlink(missing_ok=True)  # a large model's cases would fill a small /tmp
    return answers, told


def _same(one: Array, other: Array) -> bool:
    if one.shape != other.shape or one.dtype.kind != "f":
        return np.array_equal(one, other)
    scale = float(np.abs(other[np.isfinite(other)]).max(initial=0))
    return np.allclose(one, other, rtol=0, atol=SAME_ANSWER * scale, equal_nan=True)


def _named(path: Path, opened: Opened) -> dict[str, Array]:
    arrays = npz.read(path)
    if len(arrays) != len(opened.output_names):
        raise UsageError("the number of outputs depends on the input", str(path.stem), "return the same number always")
    return {name: arrays[str(index)] for index, name in enumerate(opened.output_names)}
