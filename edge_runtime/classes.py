"""Class scores with their names: which output holds them, and the best of each row."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_runtime.errors import UsageError
from edge_runtime.manifest import Manifest, Port
from edge_runtime.npz import Array


@dataclass(frozen=True, slots=True)
class Ranked:
    """One class of one row. name: None without labels, or beyond them.   score: None where only the class is known."""

    index: int
    name: str | None
    score: float | None


@dataclass(frozen=True, slots=True)
class Ranking:
    """The best classes of each row of an output, best first. meaning: what the scores are, as the manifest says it."""

    output: str
    meaning: str | None
    rows: tuple[tuple[Ranked, ...], ...]

    def to_document(self) -> dict[str, Any]:
        """Return the JSON document; a score that is NaN or infinite is written as its name."""
        rows = [
            [
                {"index": one.index, "name": one.name, "score": one.score if _plain(one.score) else str(one.score)}
                for one in row
            ]
            for row in self.rows
        ]
        return {"output": self.output, "meaning": self.meaning, "rows": rows}


def rank(manifest: Manifest, answers: Mapping[str, Array], count: int, *, where: str) -> Ranking:
    """Return the `count` best classes of each row, fewer where there are fewer.

    An int64 output whose range is that of the labels holds indices, and the output before it, of the same shape, their
    scores (so ``edge export --postprocess`` writes them). Else the floating-point output with one value for each label
    along its last axis holds the scores, without labels the only one with a last axis.
    Raises UsageError when no output or several could be meant.
    """
    labels = manifest.labels
    for place, port in enumerate(manifest.outputs):
        if _holds_indices(port, labels):
            before = manifest.outputs[place - 1] if place else None
            scored = before is not None and before.shape == port.shape and before.dtype.startswith("float")
            scores = answers[before.name] if scored and before is not None else None
            named = before if scored and before is not None else port
            return Ranking(named.name, named.meaning, _paired(answers[port.name], scores, labels, count))
    found = [port for port in manifest.outputs if _holds_scores(port, answers[port.name], labels)]
    if len(found) != 1:
        known = ", ".join(f"{port.name}: {port}" for port in manifest.outputs)
        which = ", ".join(port.name for port in found) or "none"
        raise UsageError(
            f"which output holds the scores of classes? {which} of {known} could",
            where,
            "export it with --labels or --postprocess, which say so",
        )
    (port,) = found
    scores = answers[port.name].reshape(-1, answers[port.name].shape[-1])
    # stable: of equal scores the lower index comes first; NaN stands last
    best = np.argsort(-scores.astype(np.float64), axis=-1, kind="stable")[:, :count]
    return Ranking(port.name, port.meaning, _paired(best, np.take_along_axis(scores, best, axis=-1), labels, count))


def _holds_indices(port: Port, labels: Sequence[str] | None) -> bool:
    if port.dtype != "int64" or port.ranges is None or port.ranges[0] != 0:
        return False
    return labels is None or port.ranges[1] == len(labels) - 1


def _holds_scores(port: Port, answer: Array, labels: Sequence[str] | None) -> bool:
    if not port.dtype.startswith("float") or answer.ndim == 0 or answer.shape[-1] == 0:
        return False
    return answer.shape[-1] == len(labels) if labels is not None else True


def _paired(
    indices: Array, scores: Array | None, labels: Sequence[str] | None, count: int
) -> tuple[tuple[Ranked, ...], ...]:
    # argmax leaves one index a row, and no axis for it
    rows = indices.reshape(-1, 1) if scores is None else indices.reshape(-1, indices.shape[-1])
    values = None if scores is None else scores.reshape(rows.shape)
    return tuple(
        tuple(
            Ranked(
                int(index),
                labels[index] if labels is not None and 0 <= index < len(labels) else None,
                None if values is None else float(values[row, place]),
            )
            for place, index in enumerate(chosen[:count])
        )
        for row, chosen in enumerate(rows)
    )


def _plain(score: float | None) -> bool:
    return score is None or math.isfinite(score)
