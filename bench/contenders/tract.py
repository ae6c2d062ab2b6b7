"""tract, Sonos's engine in Rust: the ONNX file, its symbols made numbers, optimised by tract.

Inside the timing: `run` on tensors that are made already, and copying the answers into arrays, for which tract has no
other way. Outside: loading and optimising, which belong to the phase "first": they need the sizes, and static sizes are
what tract optimises best for ("tract: intermediate representations" in its documentation). One state serves all calls,
unless the model carries something over in it: a loop begins where the last call left it, and then each call, as
`runnable.run` does, makes a state of its own. tract's CPU runtime computes
on one thread; where others are given more it is skipped, for it would not be the same race.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bench.contenders.peer import absent, unable
from edge_runtime.artifact import open_artifact
from edge_runtime.errors import UnsupportedSystem

if TYPE_CHECKING:
    from edge_runtime.contender import Contender, Job, Step
    from edge_runtime.npz import Array


class Tract:
    """One runnable for each set of sizes."""

    def __init__(self, job: "Job") -> None:
        artifact = open_artifact(job.artifact)
        self._path = str(artifact.model_path(artifact.variant(job.variant)))
        self._inputs, self._outputs = artifact.manifest.inputs, artifact.manifest.outputs
        self._threads = job.threads
        self._runner: Any = None
        self._sizes: dict[str, tuple[str, tuple[int, ...]]] = {}
        self._order: list[str] = []

    def import_engine(self) -> str:
        """Import tract; raise UnsupportedSystem where more than one thread is asked for."""
        if self._threads != 1:
            raise UnsupportedSystem("tract computes on one thread only", "this run", "measure it with --threads 1")
        try:
            import tract  # noqa: PLC0415 - the import is a measured phase
        except ImportError as problem:
            raise absent("tract", "tract", problem) from problem
        return f"tract {tract.version()}"

    def load(self) -> None:
        """Parse the model, which shows whether its operators are known."""
        self._parsed()

    def prepare(self, inputs: "Mapping[str, Array]") -> "Step":
        """Make a runnable for these sizes, unless that was done, and the tensors."""
        import tract  # noqa: PLC0415 - as above

        sizes = {name: (array.dtype.name, array.shape) for name, array in inputs.items()}
        try:
            if sizes != self._sizes:
                self._runner, self._sizes = self._fresh(self._runnable(inputs), inputs), sizes
            tensors = [tract.Tensor.from_numpy(inputs[name]) for name in self._order]
            runner = self._runner
            runner.run(tensors)
        except tract.TractError as problem:
            raise unable("tract", "run", problem) from problem
        return lambda: [tensor.to_numpy() for tensor in runner.run(tensors)]

    def _fresh(self, runnable: Any, inputs: "Mapping[str, Array]") -> Any:  # noqa: ANN401 - tract has no types of its own
        """Return what answers the same to the same: one state for all calls, or the runnable, which makes them anew."""
        import tract  # noqa: PLC0415 - as above

        tensors = [tract.Tensor.from_numpy(inputs[name]) for name in self._order]
        state = runnable.spawn_state()
        first, second = ([tensor.to_numpy().tobytes() for tensor in state.run(tensors)] for _ in range(2))
        return state if first == second else runnable

    def _runnable(self, inputs: "Mapping[str, Array]") -> Any:  # noqa: ANN401 - tract has no types of its own
        import tract  # noqa: PLC0415 - as above

        symbols = {
            size: inputs[port.name].shape[axis]
            for port in self._inputs
            for axis, size in enumerate(port.shape)
            if isinstance(size, str)
        }
        model = self._parsed()
        self._order = [model.input_name(index) for index in range(model.input_count())]
        typed = model.into_model()
        if symbols:
            typed.transform(tract.SetSymbols(symbols))
        return typed.into_runnable()

    def answers(self, returned: Any) -> "Mapping[str, Array]":  # noqa: ANN401 - tract has no types of its own
        """Name the outputs, which come in the order of the model's."""
        return {port.name: array for port, array in zip(self._outputs, returned, strict=True)}

    def configuration(self) -> Mapping[str, str]:
        """Return what tract ran with: it has nothing to choose."""
        return {"threads": "1", "runtime": "default (CPU)", "sizes": "concrete"}

    def _parsed(self) -> Any:  # noqa: ANN401 - as above
        import tract  # noqa: PLC0415 - as above

        try:
            return tract.onnx().load(self._path)
        except tract.TractError as problem:
            raise unable("tract", "read", problem) from problem


def open_contender(job: "Job") -> "Contender":
    """Return tract as a contender."""
    return Tract(job)
