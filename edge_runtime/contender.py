"""What one launch runs: the protocol that every engine is measured through, and our own runtime behind it.

A contender lives in one small file with a factory ``open_contender(job)``. Engines are imported inside
`import_engine` and nowhere else, so that the import is timed as a phase of its own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    from edge_runtime.bound_call import BoundCall
    from edge_runtime.model import Model
    from edge_runtime.npz import Array

Step = Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a contender is given: the artifact, one of its variants, a thread count, and options of its own."""

    artifact: Path
    variant: str
    threads: int
    options: Mapping[str, str]


class Contender(Protocol):
    """One engine, through the phases that a launch times one by one.

    One that makes a program for the sizes it is first given has a true attribute `fixed_sizes`: only the golden cases
    of those sizes are asked of it, and at least one there must be. One that computes in few bits has `least_snr_db`:
    its floats are held against that signal-to-noise ratio instead of the tolerances, and its configuration says so.
    """

    def import_engine(self) -> str:
        """Import the engine; return its name and version, such as "onnxruntime 1.32.0"."""
        ...

    def load(self) -> None:
        """Load the model, ready for its first call."""
        ...

    def prepare(self, inputs: "Mapping[str, Array]") -> Step:
        """Return the step to be timed: one call on these inputs, as a program that uses this engine would make it.

        Several inputs of the same sizes are prepared one after the other, and their steps then take turns: what is made
        for the sizes (a program, a request, buffers) is made once and shared, and whatever brings the step's own inputs
        into it, as a program would its next frame, belongs to the step and is timed.
        """
        ...

    def answers(self, returned: object) -> "Mapping[str, Array]":
        """Return what a step returned as arrays by the artifact's output names; never timed.

        Apart from the step, so that no engine pays for being compared. Valid until the step's next call.
        """
        ...


@runtime_checkable
class Configured(Protocol):
    """A contender that also says what it ran with; a record without it can't be judged, but it may be left out."""

    def configuration(self) -> Mapping[str, str]:
        """Return its options by name as the engine itself reports them, asked after the first call; never timed."""
        ...


class EdgeContender:
    """Our runtime's bound call, and the copying of inputs into its buffers."""

    CALL: ClassVar[str] = "bound"
    PRESET: ClassVar[str] = "balanced"  # what `load` does by itself

    def __init__(self, job: Job) -> None:
        self._job = job
        self._model: Model | None = None
        self._bound: BoundCall | None = None

    def import_engine(self) -> str:
        """Import numpy, onnxruntime and our session module."""
        from edge_runtime.session import ENGINE  # noqa: PLC0415 - the import is a measured phase

        return ENGINE

    def load(self) -> None:
        """Load the artifact as a user's program does, hash check included."""
        from edge_runtime.model import load  # noqa: PLC0415 - the import is a measured phase

        self._model = load(self._job.artifact, variant=self._job.variant, threads=self._job.threads, preset=self.PRESET)

    def prepare(self, inputs: "Mapping[str, Array]") -> Step:
        """Return a call that copies the inputs into buffers bound once, as a program does with each frame."""
        assert self._model is not None, "load() comes first"  # noqa: S101 - the worker's order, not a user's
        call = self._bound
        if call is None or _sizes(call.inputs) != _sizes(inputs):
            call = self._bound = self._model.bind(**inputs)
        return partial(_fed, call, tuple((call.inputs[name], array) for name, array in inputs.items()))

    def answers(self, returned: object) -> "Mapping[str, Array]":
        """Return the call's outputs, which are by name already."""
        assert isinstance(returned, Mapping)  # noqa: S101 - what our calls return
        return returned

    def configuration(self) -> Mapping[str, str]:
        """Return how the model was opened."""
        assert self._model is not None, "load() comes first"  # noqa: S101 - as above
        from edge_runtime.session import PRESETS  # noqa: PLC0415 - as above

        _, spinning = PRESETS[self.PRESET]
        return {
            "call": self.CALL,
            "threads": str(self._model.threads),
            "variant": self._model.variant.name,
            "preset": self.PRESET,
            "spinning": "on" if spinning else "off",
        }


class CheckedCallContender(EdgeContender):
    """Our runtime's checked call: names, dtypes and shapes are looked at, the answers belong to the caller."""

    CALL = "checked"

    def prepare(self, inputs: "Mapping[str, Array]") -> Step:
        """Return the call with the arrays as they are."""
        assert self._model is not None, "load() comes first"  # noqa: S101 - as above
        return partial(self._model, **inputs)


def _fed(call: "BoundCall", pairs: "tuple[tuple[Array, Array], ...]") -> object:
    for buffer, array in pairs:
        buffer[...] = array
    return call()


def _sizes(inputs: "Mapping[str, Array]") -> dict[str, tuple[object, tuple[int, ...]]]:
    return {name: (array.dtype, array.shape) for name, array in inputs.items()}


def open_contender(job: Job) -> Contender:
    """Return our own runtime as a contender."""
    return EdgeContender(job)


def open_checked_call(job: Job) -> Contender:
    """Return our own runtime as a contender, called the checked way."""
    return CheckedCallContender(job)
