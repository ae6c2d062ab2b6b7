"""The proof: onnx's checker, and the same numbers as PyTorch for every case, within a tolerance that is derived.

Each case runs twice in onnxruntime: on the graph as it is, and as onnxruntime's own optimiser leaves it. How far an
answer may be off is derived in `noise`.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Required, TypedDict, Unpack

import numpy as np
import onnx

from edge_runtime import session
from edge_runtime.errors import EdgeError, InvalidModel, UnsupportedModel, WrongInput
from edge_runtime.manifest import Port, Shape, State
from edge_runtime.manifest import Verification as Summary
from edge_runtime.npz import Array
from edge_runtime.tolerance import Difference, Tolerance, compare
from export_tools.cases import Case
from export_tools.errors import ExportFailed, ParityLost
from export_tools.noise import WEAK_TOLERANCE, Answers, Granted, is_precise, stored, tolerances
from export_tools.sequences import carried_on

AS_WRITTEN, OPTIMISED = "as written", "optimised"  # the two graphs that onnxruntime runs
# What gave the answers that a model is held against, and how a warning calls it
TORCH, ITSELF, STORED = "torch float32", "the file as it came, unoptimised", "its golden cases"
WHO = {TORCH: "in PyTorch too", ITSELF: "in the file as it came too", STORED: "in its golden cases too"}
NOT_THE_MODULE = "the exported model is not the module"
CHANGED = (
    "the stored answers are another model's, or another onnxruntime's: hold it against its module (--source), or "
    "export it again"
)


@dataclass(frozen=True, slots=True)
class Failing:
    """A case whose answer departs: the model, the case, its worst output, and the proof that it belongs to."""

    model: Path
    case: Case
    row: "Row"
    proof: "Verification"


# Opens one of a model's two graphs (`AS_WRITTEN`, `OPTIMISED`) in an engine: what then gives a case's outputs by name
Opener = Callable[[Path, str], Callable[[Case], dict[str, Array]]]
# Whether an integer output of a case, answered so, names another of several values that are equal within rounding
Tied = Callable[[Case, str, Array], bool]


@dataclass(frozen=True, slots=True)
class Row:
    """One output of one case, on the graph that came off worse.

    tolerance: what a golden case stores.   relative: the share of its magnitude granted.   graph: `AS_WRITTEN`, or
    `OPTIMISED` where onnxruntime's optimiser made it worse.   tied: it names another of several equal values.
    """

    case: str
    output: str
    tolerance: Tolerance
    difference: Difference
    relative: float
    graph: str = AS_WRITTEN
    tied: bool = False

    @classmethod
    def failed(cls, case: Case, output: str, granted: Mapping[str, Granted], problem: str, graph: str) -> "Row":
        """Return the row of an output that there is no answer for."""
        none = Difference(ok=False, max_abs=np.inf, max_rel=np.inf, ratio=np.inf, index=(), problem=problem)
        return cls(case.name, output, granted[output].tolerance, none, granted[output].relative, graph)


@dataclass(frozen=True, slots=True)
class Verification:
    """Every output of every case against its tolerance. warnings: what the proof can't show."""

    rows: tuple[Row, ...]
    summary: Summary
    warnings: tuple[str, ...]

    @property
    def wrong(self) -> tuple[Row, ...]:
        """The outputs beyond their tolerance: none where the model is proven."""
        return tuple(row for row in self.rows if not row.difference.ok)

    @property
    def tied(self) -> frozenset[str]:
        """The cases in which an index names another of several equal values; another machine may choose otherwise."""
        return frozenset(row.case for row in self.rows if row.tied)

    @property
    def worst(self) -> Row:
        """The output that came closest to its tolerance."""
        return max(self.rows, key=lambda row: row.difference.ratio)


def output_shapes(cases: Sequence[Case], answers: Sequence[Answers], inputs: Sequence[Port]) -> dict[str, Shape]:
    """Return each output's shape over all cases.

    A dimension is a size if it never changed, the name of the dynamic dimension that it always equals, or a name of
    its own such as ``output_dim_1``.

    Raises ExportFailed when an output's rank depends on the input.
    """
    sizes = [_sizes(case, inputs) for case in cases]
    found: dict[str, Shape] = {}
    for name in answers[0].plain:
        shapes = [answer.plain[name].shape for answer in answers]
        if len({len(shape) for shape in shapes}) != 1:
            raise ExportFailed(f"the rank of {name} depends on the input", name, "return a tensor of one rank")
        found[name] = tuple(
            _dimension(f"{name}_dim_{axis}", [shape[axis] for shape in shapes], sizes) for axis in range(len(shapes[0]))
        )
    return found


class Terms(TypedDict, total=False):
    """How the cases are run and judged.

    where: for errors.   state: what a case that follows another goes on with.   tied: judges indices that differ
    (argmax, topk); without it they may differ where all values of the case are equal.   reference: what gave the
    answers.   opener: the engine, this process's own unless given.   progress: hears of the runs done, of how many.
    """

    threads: Required[int]
    where: Required[str]
    state: Sequence[State]
    tied: Tied | None
    reference: str
    opener: Opener | None
    progress: Callable[[int, int], None]


def refuse_invalid(model: Path, *, where: str) -> None:
    """Run onnx's checker with full shape inference; raise ExportFailed when it refuses the file."""
    try:
        # as a path: models above 2 GiB keep their weights beside them
        onnx.checker.check_model(str(model), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as problem:
        said = " ".join(str(problem).split())[:300]
        raise ExportFailed(f"onnx's checker refuses the file: {said}", where, "try the other exporter") from problem


def verify(
    model: Path,
    cases: Sequence[Case],
    answers: Sequence[Answers],
    **terms: Unpack[Terms],
) -> Verification:
    """Return the proof that a model answers like PyTorch.

    Raises ExportFailed as `compared` does, ParityLost naming the worst output, its case, error and tolerance when an
    answer differs; `failing` of the error holds all of them.
    """
    found = compared(model, cases, answers, **terms)
    if found.wrong:
        raise departed(found, cases, model, terms["where"])
    return found


def compared(
    model: Path,
    cases: Sequence[Case],
    answers: Sequence[Answers],
    **terms: Unpack[Terms],
) -> Verification:
    """Run every case in onnxruntime, and hold it against PyTorch.

    Raises ExportFailed when the file can't be loaded, ParityLost when there is nothing to compare.
    """
    _refuse_nothing_to_compare(answers, terms["where"])
    return held(model, cases, answers, tolerances(answers), **terms)


def held(
    model: Path,
    cases: Sequence[Case],
    answers: Sequence[Answers],
    granted: Sequence[Mapping[str, Granted]],
    *,
    threads: int,
    where: str,
    state: Sequence[State] = (),
    tied: Tied | None = None,
    reference: str = TORCH,
    opener: Opener | None = None,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> Verification:
    """Run every case in onnxruntime, and hold it against answers within what each output is granted; as `compared`.

    opener: the engine, this process's own unless given.
    """
    judge = tied or _all_equal
    engine = opener or partial(Runner, threads=threads, where=where)
    # one after the other: two sessions would hold the weights twice
    written, optimised = (
        _run_all(
            model,
            cases,
            answers,
            granted,
            graph=graph,
            opener=engine,
            state=state,
            tied=judge,
            progress=lambda index: progress(before + index, 2 * len(cases)),  # noqa: B023 - called within its round
        )
        for before, graph in ((0, AS_WRITTEN), (len(cases), OPTIMISED))
    )
    rows = tuple(_worse(one, other) for one, other in zip(written.rows, optimised.rows, strict=True))
    proven = [row for row in rows if row.difference.ok and not row.tied]
    ratios = [ratio for ratio in (*written.snr_db, *optimised.snr_db) if ratio is not None]
    summary = Summary(
        cases=len({row.case for row in rows if row.difference.ok}),
        worst_abs=max((row.difference.max_abs for row in proven), default=0.0),
        # an all-zero answer has no magnitude to be relative to
        worst_rel=max((row.difference.max_rel for row in proven if np.isfinite(row.difference.max_rel)), default=0.0),
        snr_db=min(ratios, default=None),
        tolerance=max(row.relative for row in rows),
        reference=f"{reference}, tolerance by float64" if is_precise(answers) else reference,
    )
    found = Verification(rows, summary, tuple(_doubts(answers, granted, WHO[reference])))
    if not found.tied:
        return found
    named = ", ".join(case.name for case in cases if case.name in found.tied)
    told = f"indices name other ones of several equal values, as they may, so these are no golden cases: {named}"
    return replace(found, warnings=(told, *found.warnings))


@dataclass(frozen=True, slots=True)
class _Run:
    """All cases on one of the two graphs. snr_db: the signal to the noise of each output, None without either."""

    rows: tuple[Row, ...]
    snr_db: tuple[float | None, ...]


def _run_all(
    model: Path,
    cases: Sequence[Case],
    answers: Sequence[Answers],
    granted: Sequence[Mapping[str, Granted]],
    *,
    graph: str,
    opener: Opener,
    state: Sequence[State],
    tied: Tied,
    progress: Callable[[int], None],
) -> _Run:
    run = opener(model, graph)
    names = list(answers[0].plain)
    rows: list[Row] = []
    signal, error = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    got: dict[str, Array] = {}
    for index, (case, answer, limits) in enumerate(zip(cases, answers, granted, strict=True)):
        progress(index)
        fed = carried_on(case, state, got)
        try:
            got = run(fed)
        except (InvalidModel, UnsupportedModel, WrongInput) as problem:
            rows += [Row.failed(case, name, limits, f"onnxruntime fails: {problem.what}", graph) for name in names]
            continue
        for name in names:
            rows.append(judged(fed, name, got[name], answer.plain[name], limits[name], graph, tied))
            signal[name] += _power(answer.plain[name])
            error[name] += _power(got[name], answer.plain[name])
    snr = tuple(
        float(10 * np.log10(signal[name] / error[name])) if error[name] > 0 and signal[name] > 0 else None
        for name in names
    )
    return _Run(tuple(rows), snr)


class Runner:
    """One of a model's two graphs in onnxruntime: takes a case, gives its outputs by name."""

    def __init__(self, model: Path, graph: str, *, threads: int, where: str) -> None:
        """Raise ExportFailed when onnxruntime refuses the file."""
        try:
            self._session = session.open_model(model, threads=threads, where=where, optimised=graph == AS_WRITTEN)
        except EdgeError as problem:
            raise ExportFailed(f"onnxruntime refuses the file: {problem.what}", where, problem.hint) from problem
        self.names = [output.name for output in self._session.get_outputs()]
        self._where = where

    def __call__(self, case: Case) -> dict[str, Array]:
        """Raise what `session` makes of onnxruntime's own errors."""
        try:
            return dict(zip(self.names, self._session.run(self.names, dict(case.inputs)), strict=True))
        except Exception as problem:
            known = session.translated(problem, self._where)
            if known is None:
                raise
            raise known from problem


def judged(  # noqa: PLR0917 - a row's own fields, in their order
    case: Case, name: str, got: Array, wanted: Array, limits: Granted, graph: str, tied: Tied
) -> Row:
    """Return one output of one case, held against what PyTorch answered."""
    difference = compare(got, wanted, limits.tolerance)
    if difference.ok:
        return Row(case.name, name, stored(limits, got, wanted), difference, limits.relative, graph)
    comparable = got.dtype == wanted.dtype and got.shape == wanted.shape and wanted.dtype.kind in "iu"
    if comparable and tied(case, name, got):
        agreed = replace(difference, ok=True, ratio=0.0, problem="")
        return Row(case.name, name, limits.tolerance, agreed, limits.relative, graph, tied=True)
    return Row(case.name, name, limits.tolerance, difference, limits.relative, graph)


def departed(found: Verification, cases: Sequence[Case], model: Path, where: str) -> ParityLost:
    """Return the error for a proof that failed, naming the worst output, its case, error and tolerance."""
    worst = max(found.wrong, key=lambda row: row.difference.ratio)
    problem = worst.difference.problem or (
        f"is off by {worst.difference.max_abs:.3g} at {list(worst.difference.index)}, "
        f"{worst.difference.ratio:.3g} times its tolerance (relative {worst.relative:.2g})"
    )
    case = next(case for case in cases if case.name == worst.case)
    hint = CHANGED if found.summary.reference == STORED else _frozen(case)
    optimiser = all(row.graph == OPTIMISED for row in found.wrong)
    if worst.difference.problem.startswith("onnxruntime fails"):
        error = ParityLost(f"PyTorch answers the case {worst.case}, {worst.difference.problem}", where, hint)
        error.failing = Failing(model, case, worst, found)
        return error
    error = ParityLost(
        f"{NOT_THE_MODULE}: {len(found.wrong)} of {len(found.rows)} outputs differ; the worst is "
        f"{worst.output} of the case {worst.case}: it {problem}"
        + (", and only as onnxruntime optimises the graph" if optimiser else ""),
        where,
        hint,
    )
    error.failing = Failing(model, case, worst, found)
    return error


def threads() -> int:
    """Return how many threads a session of this host gets."""
    return len(os.sched_getaffinity(0))


def _worse(one: Row, other: Row) -> Row:
    """Return the row that came off worse; what a golden case stores holds for both graphs."""
    if one.difference.ok and other.difference.ok:
        both = Tolerance(abs=max(one.tolerance.abs, other.tolerance.abs), rel=one.tolerance.rel)
        worse = other if other.difference.ratio > one.difference.ratio else one
        return replace(worse, tolerance=both, tied=one.tied or other.tied)
    return one if not one.difference.ok else other


def _refuse_nothing_to_compare(answers: Sequence[Answers], where: str) -> None:
    for name, shown in answers[0].plain.items():
        if not any(np.isfinite(answer.plain[name]).any() for answer in answers if shown.dtype.kind in "biufc"):
            raise ParityLost(
                f"{name} is empty, NaN or infinite in every case: there is nothing to compare",
                where,
                "give real inputs with --data, or an --example that the module answers with numbers",
            )


def _all_equal(case: Case, _output: str, _got: Array) -> bool:
    """Return whether an index may be any, since all that it could have been chosen by is equal."""
    return all((one == one.flat[:1]).all() for one in case.inputs.values())


def _frozen(case: Case) -> str:
    if case.sizes:
        sizes = ", ".join(f"{name}={size}" for name, size in case.sizes.items())
        return f"tracing froze a size of the example, and this case has {sizes}: compute sizes from x.shape in forward"
    return (
        "tracing froze what the example decided: look for Python's if, int(), .item() or .numpy() on tensors in "
        "forward, or for what it keeps from its first call"
    )


def _doubts(answers: Sequence[Answers], granted: Sequence[Mapping[str, Granted]], who: str) -> list[str]:
    found: list[str] = []
    for name, shown in answers[0].plain.items():
        values = [answer.plain[name] for answer in answers]
        odd = sum(value.dtype.kind == "f" and not np.isfinite(value).all() for value in values)
        if odd:
            found.append(f"{name} holds NaN or infinity in {odd} of {len(values)} cases, {who}")
        if shown.size and all(value.size == 0 or (value == shown.flat[0]).all() for value in values):
            found.append(f"{name} is {shown.flat[0]} in every case: its proof is weak; give real inputs with --data")
        weak = sum(limits[name].relative > WEAK_TOLERANCE for limits in granted)
        if weak:
            found.append(
                f"{name} rounds by more than 1 part in 1000 in {weak} of {len(answers)} cases, {who}: "
                "these prove little; give real inputs with --data"
            )
    return found


def _power(array: Array, other: Array | None = None) -> float:
    if array.dtype.kind != "f" or (other is not None and other.shape != array.shape):
        return 0.0
    wide, base = array.astype(np.float64), 0.0 if other is None else other.astype(np.float64)
    finite = np.isfinite(wide) & np.isfinite(base)
    return float(np.square(np.subtract(wide, base, out=np.zeros_like(wide), where=finite)).sum())


def _sizes(case: Case, inputs: Sequence[Port]) -> dict[str, int]:
    return {
        name: size
        for port in inputs
        for name, size in zip(port.shape, case.inputs[port.name].shape, strict=True)
        if isinstance(name, str)
    }


def _dimension(own: str, found: Sequence[int], sizes: Sequence[Mapping[str, int]]) -> int | str:
    if len(set(found)) == 1:
        return found[0]
    for name in sizes[0]:
        if all(size == one[name] for size, one in zip(found, sizes, strict=True)):
            return name
    return own
