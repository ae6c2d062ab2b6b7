"""Replay the golden cases on this machine and hold the answers against the stored ones."""

from dataclasses import dataclass
from pathlib import Path

from edge_runtime.artifact import AUTO, OpenedCase
from edge_runtime.model import Model, load
from edge_runtime.tolerance import Difference, compare


@dataclass(frozen=True, slots=True)
class CheckedOutput:
    """One output of one golden case on this machine."""

    case: str
    variant: str
    output: str
    difference: Difference


@dataclass(frozen=True, slots=True)
class SelfCheck:
    """What a check found: files hashed, outputs compared."""

    files: int
    outputs: tuple[CheckedOutput, ...]

    @property
    def ok(self) -> bool:
        """Return whether there was something to compare and all of it was within tolerance."""
        return bool(self.outputs) and all(output.difference.ok for output in self.outputs)

    @property
    def worst(self) -> CheckedOutput | None:
        """Return the output that came closest to its tolerance, or passed it furthest."""
        return max(self.outputs, key=lambda output: output.difference.ratio, default=None)


def check(path: str | Path, *, variant: str = AUTO, threads: int | None = None) -> SelfCheck:
    """Hash every file of an artifact, then run its golden cases through the variant's session.

    Cases stored for the variant are used, or the reference's when it has none of its own.
    Raises as `load` does; a wrong answer is a result, not an error.

    >>> import edge_runtime
    >>> edge_runtime.check("tiny.edge", threads=1).ok
    True
    """
    with load(path, variant=variant, threads=threads) as model:
        files = model.artifact.verify()
        outputs = [checked for case in model.artifact.golden(model.variant) for checked in _replay(model, case)]
        return SelfCheck(files, tuple(outputs))


def _replay(model: Model, case: OpenedCase) -> list[CheckedOutput]:
    answers = model(**case.inputs)
    return [
        CheckedOutput(case.name, model.variant.name, name, compare(answers[name], wanted, case.tolerance[name]))
        for name, wanted in case.outputs.items()
    ]
