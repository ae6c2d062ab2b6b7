"""Whether an index may be another one: argmax, topk and sort choose freely among values that rounding can't tell apart.

In the child that holds the module, where the values are that were chosen among. A torch door.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from export_tools.noise import FACTOR, FALLBACK_NOISE, LEAST_NOISE
from export_tools.op_trace import Call, OpTrace

# Operators that choose by value: the place of the indices among their results
CHOOSERS = {
    "aten.argmax.default": 0,
    "aten.argmin.default": 0,
    "aten.topk.default": 1,
    "aten.sort.default": 1,
    "aten.sort.stable": 1,
    "aten.max.dim": 1,
    "aten.min.dim": 1,
    "aten.kthvalue.default": 1,
    "aten.median.dim": 1,
    "aten.mode.default": 1,
}


@dataclass(frozen=True, slots=True)
class Choice:
    """One choice that a forward made: by which scores, and what it chose. axis: None where all scores were one row."""

    scores: torch.Tensor
    chosen: torch.Tensor
    axis: int | None


def choices(run: Callable[[], Sequence[torch.Tensor]]) -> tuple[Sequence[torch.Tensor], list[Choice]]:
    """Run a forward; return its outputs and the choices it made on the way, in their order."""
    found: list[Choice] = []

    def seen(call: Call) -> None:
        place = CHOOSERS.get(call.operation.kind)
        if place is not None:
            scores = call.arguments["self"].detach().clone()
            found.append(Choice(scores, call.results[place].detach().clone(), _axis(scores, call.arguments["dim"])))

    with OpTrace(seen):
        outputs = run()
    return outputs, found


def tied(output: torch.Tensor, got: torch.Tensor, plain: Sequence[Choice], precise: Sequence[Choice] | None) -> bool:
    """Return whether `got` is as right as the indices that PyTorch gave as `output`.

    The output must be what one of the forward's choices gave, reshaped or cast at most. Then each index that differs
    must name a score that lies no further from the one PyTorch named than rounding can move the two of them: `FACTOR`
    times the distance between the float32 and the float64 scores of that choice, and the scores' own rounding. Scores
    are compared in float64 where the module can run so. No row may name an index twice that PyTorch names once, and
    none that isn't there.
    """
    place = next(
        (
            index
            for index, choice in reversed(list(enumerate(plain)))
            if choice.chosen.numel() == output.numel() and torch.equal(choice.chosen.flatten(), output.long().flatten())
        ),
        None,
    )
    if place is None:
        return False
    choice = plain[place]
    scores = choice.scores.double()
    exact = scores
    if precise is not None and len(precise) == len(plain) and precise[place].scores.shape == scores.shape:
        exact = precise[place].scores.double()
    noise = (scores - exact).abs().nan_to_num().max() + LEAST_NOISE * exact.abs().nan_to_num(0, 0, 0).max()
    if precise is None:
        noise = noise + FALLBACK_NOISE * exact.abs().nan_to_num(0, 0, 0).max()
    axis = choice.axis
    rows, chosen = exact, choice.chosen
    other = got.long().reshape(chosen.shape)
    if axis is None:
        rows, chosen, other, axis = exact.flatten(), chosen.flatten(), other.flatten(), 0
    elif chosen.ndim < rows.ndim:
        chosen, other = chosen.unsqueeze(axis), other.unsqueeze(axis)
    if other.numel() and (int(other.min()) < 0 or int(other.max()) >= rows.shape[axis]):
        return False
    if not torch.equal(_names_twice(chosen, axis), _names_twice(other, axis)):
        return False
    gap = (rows.gather(axis, chosen) - rows.gather(axis, other)).abs()
    return bool((gap <= 2 * FACTOR * noise).all())


def _names_twice(indices: torch.Tensor, axis: int) -> torch.Tensor:
    ordered = indices.sort(axis).values
    return (ordered.diff(dim=axis) == 0).any(axis)


def _axis(scores: torch.Tensor, axis: int | None) -> int | None:
    return None if axis is None or not scores.ndim else axis % scores.ndim
