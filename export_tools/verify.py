"""The proof: onnx's checker, and the same numbers as PyTorch for every case, within a tolerance that is derived.

Float32 arithmetic has no one right answer: another order of additions rounds differently. How much that may be is
measured on the module itself, as the distance between its answers in float32 and in float64.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from edge_runtime import session
from edge_runtime.errors import EdgeError
from edge_runtime.manifest import Port, Shape, State
from edge_runtime.manifest import Verification as Summary
from edge_runtime.npz import Array
from edge_runtime.tolerance import Difference, Tolerance, compare
from export_tools.cases import Case
from export_tools.errors import ExportFailed, ParityLost
from export_tools.sequences import carried_on

EPS = float(np.finfo(np.float32).eps)
# Even a module that happens to round like float64 is not expected to be matched better than a few roundings
LEAST_NOISE = 8 * EPS
# onnxruntime's kernels sum in another order than PyTorch's, and fuse; their distance from the truth is like
# PyTorch's own, their distance from PyTorch at most the sum of both, and the noise that a few cases show is a sample
# of its distribution, not its end: 16 leaves room for all three, and a wrong result is off by thousands
FACTOR = 16.0
# Where rounding alone moves this much of the answer (all of it cancelled, say), a case says nothing of the others
ILL_CONDITIONED = 1e-2
# For modules that can't run in float64: the relative tolerance that torch.onnx's own verification uses by default
FALLBACK_NOISE = 1e-3 / FACTOR
WEAK_TOLERANCE = 1e-2  # beyond it, a subtle fault could pass, and people are told
TINY = float(np.finfo(np.float32).tiny)  # what an all-zero output may be off by: rounding to a denormal


@dataclass(frozen=True, slots=True)
class Answers:
    """PyTorch's outputs for one case, by name: float32 as the module is, and of its float64 copy if that can run."""

    plain: Mapping[str, Array]
    precise: Mapping[str, Array] | None


@dataclass(frozen=True, slots=True)
class Row:
    """One output of one case. tolerance: what a golden case stores.   relative: the share of its magnitude granted."""

    case: str
    output: str
    tolerance: Tolerance
    difference: Difference
    relative: float


@dataclass(frozen=True, slots=True)
class Verification:
    """Every output of every case within its tolerance. warnings: what the proof can't show."""

    rows: tuple[Row, ...]
    summary: Summary
    warnings: tuple[str, ...]

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


@dataclass(frozen=True, slots=True)
class Granted:
    """What one output of one case may be off by. relative: the same as a share of its largest magnitude, for people."""

    tolerance: Tolerance
    relative: float


def tolerances(answers: Sequence[Answers]) -> tuple[dict[str, Granted], ...]:
    """Return what each output of each case may be off by, element by element.

    An element of magnitude m is granted ``FACTOR * LEAST_NOISE * m``, its own rounding, and beyond it `FACTOR` times
    the noise of its place: the largest ``|y32 - y64|`` that its own rounding doesn't explain, as a share of the
    case's largest magnitude, over all well-conditioned cases. A place is an index along an axis that has one size in
    every case (a class, a channel), so that large values beside small ones excuse nothing there. Outputs near 1e-9
    are judged by 1e-9. Integers and booleans must be equal.
    """
    found: list[dict[str, Granted]] = [{} for _ in answers]
    for name, shown in answers[0].plain.items():
        if shown.dtype.kind != "f":
            for granted in found:
                granted[name] = Granted(Tolerance(abs=0.0, rel=0.0), 0.0)
            continue
        plain = [answer.plain[name] for answer in answers]
        scales = [_magnitude(array) for array in plain]
        extra = [_unexplained(answer, name) for answer in answers]
        worst = [float(one.max(initial=0)) / scale if scale else 0.0 for one, scale in zip(extra, scales, strict=True)]
        steady = [index for index, share in enumerate(worst) if share <= ILL_CONDITIONED]
        places = _noise_of_places([plain[i] for i in steady], [extra[i] for i in steady], [scales[i] for i in steady])
        rounding = FACTOR * max(LEAST_NOISE, 0.0 if _precise(answers) else FALLBACK_NOISE)
        for granted, array, scale, share in zip(found, plain, scales, worst, strict=True):
            noise = _spread(places, array.shape) * scale
            if share > ILL_CONDITIONED:
                noise = np.maximum(noise, share * scale)
            # an all-zero answer has no magnitude to be judged by: it may be off by a denormal
            limit = FACTOR * noise if scale else np.full(array.shape, TINY)
            relative = max(rounding, float(limit.max(initial=0)) / scale if scale else 0.0)
            granted[name] = Granted(Tolerance(abs=limit, rel=rounding), relative)
    return tuple(found)


def _unexplained(answer: Answers, name: str) -> Array:
    """Return ``|y32 - y64|`` less what the rounding of each element itself explains; zeros without a float64 answer."""
    plain = answer.plain[name]
    if answer.precise is None:
        return np.zeros(plain.shape)
    precise = answer.precise[name]
    both = np.isfinite(plain) & np.isfinite(precise)
    wide, exact = np.where(both, plain, 0).astype(np.float64), np.where(both, precise, 0)
    return np.maximum(np.abs(wide - exact) - LEAST_NOISE * np.abs(wide), 0.0)


def _noise_of_places(plain: Sequence[Array], extra: Sequence[Array], scales: Sequence[float]) -> dict[int, Array]:
    """Return, for each axis of one size over all cases, the noise of each index, as a share of a case's magnitude.

    At least one rounding of what is found at the index: a few cases may be exact by luck. Axis -1 stands for an
    output that has no such axis: one noise for all of it.
    """
    rank = plain[0].ndim if plain else 0
    sizes = [{array.shape[axis] for array in plain} for axis in range(rank)]
    fixed = [axis for axis, seen in enumerate(sizes) if len(seen) == 1 and seen != {1}]
    found: dict[int, Array] = {}
    for axis in fixed or [-1]:
        rest = None if axis < 0 else tuple(other for other in range(rank) if other != axis)
        shares = [
            np.maximum(noise.max(axis=rest, initial=0), EPS * np.abs(_finite(array)).max(axis=rest, initial=0)) / scale
            for array, noise, scale in zip(plain, extra, scales, strict=True)
            if scale
        ]
        if shares:
            found[axis] = np.max(np.stack([np.asarray(share) for share in shares]), axis=0)
    return found


def _spread(places: Mapping[int, Array], shape: tuple[int, ...]) -> Array:
    """Return the noise of every element: the least that any of its indices is known for."""
    noise = np.full(shape, float(places[-1]) if -1 in places else np.inf)
    for axis, shares in places.items():
        # a case that was left out of the profile, for being ill-conditioned, may have another size there
        if axis >= 0 and shape[axis] == shares.shape[0]:
            noise = np.minimum(noise, shares.reshape([-1 if other == axis else 1 for other in range(len(shape))]))
    return np.where(np.isfinite(noise), noise, LEAST_NOISE)


def _finite(array: Array) -> Array:
    return np.where(np.isfinite(array), array, 0).astype(np.float64)


def _stored(granted: Granted, got: Array, wanted: Array) -> Tolerance:
    """Return the one absolute limit that a golden case stores for all elements of an output.

    The least that any element is granted, or eight times what onnxruntime needs here if that is more: strict enough
    that a small element is not hidden by a large one, and no false alarm on a CPU that sums in another order.
    """
    limit, rel = np.asarray(granted.tolerance.abs), granted.tolerance.rel
    if wanted.dtype.kind != "f" or wanted.size == 0:
        return Tolerance(abs=0.0, rel=0.0)
    gap = np.abs(_finite(got) - _finite(wanted)) - rel * np.abs(_finite(wanted))
    return Tolerance(abs=float(max(limit.min(), 8 * gap.max(initial=0), TINY)), rel=rel)


def verify(
    model: Path,
    cases: Sequence[Case],
    answers: Sequence[Answers],
    *,
    threads: int,
    where: str,
    state: Sequence[State] = (),
) -> Verification:
    """Run onnx's checker with full shape inference, then every case in onnxruntime, and hold it against PyTorch.

    state: what a case that follows another goes on with.
    Raises ExportFailed when the file is no valid model or can't be loaded, ParityLost naming the worst output, its
    case, error and tolerance when an answer differs.
    """
    try:
        # as a path: models above 2 GiB keep their weights beside them
        onnx.checker.check_model(str(model), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as problem:
        said = " ".join(str(problem).split())[:300]
        raise ExportFailed(f"onnx's checker refuses the file: {said}", where, "try the other exporter") from problem
    try:
        opened = session.open_model(model, threads=threads, where=where)
    except EdgeError as problem:
        raise ExportFailed(f"onnxruntime refuses the file: {problem.what}", where, problem.hint) from problem
    names = [output.name for output in opened.get_outputs()]
    _refuse_nothing_to_compare(answers, where)
    granted = tolerances(answers)
    rows: list[Row] = []
    signal, error = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    got: dict[str, Array] = {}
    for case, answer, limits in zip(cases, answers, granted, strict=True):
        try:
            fed = carried_on(case, state, got).inputs
            got = dict(zip(names, opened.run(names, dict(fed)), strict=True))
        except Exception as problem:
            known = session.translated(problem, where)
            if known is None:
                raise
            raise ParityLost(
                f"PyTorch answers the case {case.name}, onnxruntime fails: {known.what}", where, _frozen(case)
            ) from problem
        for name in names:
            difference = compare(got[name], answer.plain[name], limits[name].tolerance)
            stored = _stored(limits[name], got[name], answer.plain[name]) if difference.ok else limits[name].tolerance
            rows.append(Row(case.name, name, stored, difference, limits[name].relative))
            signal[name] += _power(answer.plain[name])
            error[name] += _power(got[name], answer.plain[name])
    tied = _tied(rows, cases)
    rows = [row for row in rows if row.case not in tied]
    _refuse_difference(rows, cases, where)
    ratios = [10 * np.log10(signal[name] / error[name]) for name in names if error[name] > 0 and signal[name] > 0]
    summary = Summary(
        cases=len({row.case for row in rows}),
        worst_abs=max(row.difference.max_abs for row in rows),
        # an all-zero answer has no magnitude to be relative to
        worst_rel=max((row.difference.max_rel for row in rows if np.isfinite(row.difference.max_rel)), default=0.0),
        snr_db=float(min(ratios)) if ratios else None,
        tolerance=max(row.relative for row in rows),
        reference="torch float32, tolerance by float64" if _precise(answers) else "torch float32",
    )
    ties = [f"the case {name} is left out: all its values are equal, and their order is anybody's" for name in tied]
    return Verification(tuple(rows), summary, (*ties, *_doubts(answers, granted)))


def _refuse_nothing_to_compare(answers: Sequence[Answers], where: str) -> None:
    for name, shown in answers[0].plain.items():
        if not any(np.isfinite(answer.plain[name]).any() for answer in answers if shown.dtype.kind in "biufc"):
            raise ParityLost(
                f"{name} is empty, NaN or infinite in every case: there is nothing to compare",
                where,
                "give real inputs with --data, or an --example that the module answers with numbers",
            )


def _tied(rows: Sequence[Row], cases: Sequence[Case]) -> list[str]:
    """Return the cases that differ in nothing but indices and whose inputs are constant.

    topk, argsort and argmax may name any of several equal values; the other cases show whether they are right.
    """
    constant = {case.name for case in cases if all((one == one.flat[:1]).all() for one in case.inputs.values())}
    wrong = [row for row in rows if not row.difference.ok and row.case in constant]
    names = {row.case for row in wrong}
    others = {row.case for row in wrong if row.relative > 0 or row.difference.problem}
    return sorted(names - others)


def _refuse_difference(rows: Sequence[Row], cases: Sequence[Case], where: str) -> None:
    wrong = [row for row in rows if not row.difference.ok]
    if not wrong:
        return
    worst = max(wrong, key=lambda row: row.difference.ratio)
    problem = worst.difference.problem or (
        f"is off by {worst.difference.max_abs:.3g} at {list(worst.difference.index)}, "
        f"{worst.difference.ratio:.3g} times its tolerance (relative {worst.relative:.2g})"
    )
    case = next(case for case in cases if case.name == worst.case)
    raise ParityLost(
        f"the exported model is not the module: {len(wrong)} of {len(rows)} outputs differ; the worst is "
        f"{worst.output} of the case {worst.case}: it {problem}",
        where,
        _frozen(case),
    )


def _frozen(case: Case) -> str:
    if case.sizes:
        sizes = ", ".join(f"{name}={size}" for name, size in case.sizes.items())
        return f"tracing froze a size of the example, and this case has {sizes}: compute sizes from x.shape in forward"
    return "tracing froze what the example decided: look for Python's if, int() or .item() on tensors in forward"


def _doubts(answers: Sequence[Answers], granted: Sequence[Mapping[str, Granted]]) -> list[str]:
    found: list[str] = []
    for name, shown in answers[0].plain.items():
        values = [answer.plain[name] for answer in answers]
        odd = sum(value.dtype.kind == "f" and not np.isfinite(value).all() for value in values)
        if odd:
            found.append(f"{name} holds NaN or infinity in {odd} of {len(values)} cases, in PyTorch too")
        if shown.size and all(value.size == 0 or (value == shown.flat[0]).all() for value in values):
            found.append(f"{name} is {shown.flat[0]} in every case: its proof is weak; give real inputs with --data")
        weak = sum(limits[name].relative > WEAK_TOLERANCE for limits in granted)
        if weak:
            found.append(
                f"{name} rounds by more than 1 part in 1000 in {weak} of {len(answers)} cases, in PyTorch too: "
                "these prove little; give real inputs with --data"
            )
    return found


def _precise(answers: Sequence[Answers]) -> bool:
    return all(answer.precise is not None for answer in answers)


def _magnitude(array: Array) -> float:
    finite = array[np.isfinite(array)]
    return float(np.abs(finite.astype(np.float64)).max()) if finite.size else 0.0


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
