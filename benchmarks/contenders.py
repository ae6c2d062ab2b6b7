"""Every way of calling a model that the benchmark compares, each run in worker processes of its own.

A step that a program would write as an expression is a lambda here, ours and theirs alike; a raw binding is a
`partial`, which is the cheapest way there is to call it.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_runtime.artifact import open_artifact
from edge_runtime.contender import Contender, EdgeContender, Job, Step

if TYPE_CHECKING:
    import onnxruntime
    import torch

    from edge_runtime.npz import Array

FRAMES = 8  # of the stream: a step takes under a second with a ResNet on a slow core
PHOTOGRAPH = (360, 640, 3)  # what the frames of the stream are made from


class Session:
    """A plain onnxruntime session with the common thread count, called in one of several ways."""

    def __init__(self, job: Job, way: "Callable[[Session, dict[str, Array]], Step]") -> None:
        self._artifact, self._way = open_artifact(job.artifact), way
        self._threads = int(job.options.get("threads", job.threads))
        self._variant = job.variant
        self.output = self._artifact.manifest.outputs[0].name
        self.bound: Array | None = None
        self.opened: onnxruntime.InferenceSession

    def import_engine(self) -> str:
        """Import onnxruntime."""
        import onnxruntime  # noqa: PLC0415 - the import is a measured phase

        return f"onnxruntime {onnxruntime.__version__}"

    def load(self) -> None:
        """Open the session."""
        import onnxruntime  # noqa: PLC0415 - as above

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        path = str(self._artifact.model_path(self._artifact.variant(self._variant)))
        self.opened = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def prepare(self, inputs: "Mapping[str, Array]") -> Step:
        """Return the call in its way."""
        return self._way(self, dict(inputs))

    def answers(self, returned: object) -> "Mapping[str, Array]":
        """Name the output, or read the bound one."""
        answer = self.bound if self.bound is not None else returned[0]  # type: ignore[index]
        return {self.output: answer}

    def bind(self, inputs: "dict[str, Array]") -> "onnxruntime.IOBinding":
        """Bind the inputs in place, and the output of the size that they give."""
        import numpy as np  # noqa: PLC0415 - its import belongs to the phase "import"

        shape = self.opened.run(None, inputs)[0].shape
        self.bound, self._held = np.empty(shape, "f4"), inputs
        binding = self.opened.io_binding()
        for name, array in inputs.items():
            binding.bind_input(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        binding.bind_output(self.output, "cpu", 0, self.bound.dtype, shape, self.bound.ctypes.data)
        return binding


def _run(one: Session, feeds: "dict[str, Array]") -> Step:
    session = one.opened
    return lambda: session.run(None, feeds)


def _inner_run(one: Session, feeds: "dict[str, Array]") -> Step:
    session, names = one.opened._sess, [one.output]  # noqa: SLF001 - the step is to leave the wrapper out
    return lambda: session.run(names, feeds, None)


def _inner_run_unsynchronised(one: Session, feeds: "dict[str, Array]") -> Step:
    session, names, options = one.opened._sess, [one.output], _unsynchronised()  # noqa: SLF001 - as above
    return lambda: session.run(names, feeds, options)


def _run_with_iobinding(one: Session, feeds: "dict[str, Array]") -> Step:
    session, binding = one.opened, one.bind(feeds)
    return lambda: session.run_with_iobinding(binding)


def _raw_binding(one: Session, feeds: "dict[str, Array]") -> Step:
    return partial(one.opened._sess.run_with_iobinding, one.bind(feeds)._iobinding, None)  # noqa: SLF001 - as above


def _raw_binding_unsynchronised(one: Session, feeds: "dict[str, Array]") -> Step:
    binding = one.bind(feeds)._iobinding  # noqa: SLF001 - as above
    return partial(one.opened._sess.run_with_iobinding, binding, _unsynchronised())  # noqa: SLF001 - as above


def _cycle(one: Session, feeds: "dict[str, Array]") -> Step:
    session, sizes = one.opened, [{"input": array} for array in _sizes(feeds["input"])]

    def step() -> object:
        *_, last = [session.run(None, size) for size in sizes]
        return last

    return step


def _in_turn(one: Session, feeds: "dict[str, Array]") -> Step:
    session = one.opened
    prepared = _camera(feeds["image"], lambda image: session.run(None, {"image": image}))

    def step() -> object:
        *_, last = [session.run(None, {"image": image}) for image in prepared()]
        return last

    return step


def _unsynchronised() -> "onnxruntime.RunOptions":
    import onnxruntime  # noqa: PLC0415 - imported by now

    options = onnxruntime.RunOptions()
    options.add_run_config_entry("disable_synchronize_execution_providers", "1")
    return options


class Edge(EdgeContender):
    """Our runtime with options of its own (preset, threads), called by `way`."""

    def __init__(self, job: Job, way: Callable[[Any, "Mapping[str, Array]"], Step]) -> None:
        super().__init__(job)
        self._way = way

    def load(self) -> None:
        """Load as `EdgeContender` does, with the options."""
        from edge_runtime.model import load  # noqa: PLC0415 - the import is a measured phase

        job = self._job
        threads = int(job.options.get("threads", job.threads))
        self._model = load(
            job.artifact, variant=job.variant, threads=threads, preset=job.options.get("preset", "balanced")
        )

    def prepare(self, inputs: "Mapping[str, Array]") -> Step:
        """Return the call in its way."""
        return self._way(self._model, inputs)


def _checked(model: Any, inputs: "Mapping[str, Array]") -> Step:  # noqa: ANN401 - Model, imported later
    (array,) = inputs.values()
    if "image" in inputs:
        return lambda: model(image=array)
    return lambda: model(input=array)


def _bound(model: Any, inputs: "Mapping[str, Array]") -> Step:  # noqa: ANN401 - as above
    call: Step = model.bind(**inputs)
    return call


def _checked_cycle(model: Any, inputs: "Mapping[str, Array]") -> Step:  # noqa: ANN401 - as above
    sizes = _sizes(inputs["input"])

    def step() -> object:
        *_, last = [model(input=array) for array in sizes]
        return last

    return step


def _streamed(model: Any, inputs: "Mapping[str, Array]") -> Step:  # noqa: ANN401 - as above
    prepared = _camera(inputs["image"], lambda image: model(image=image))

    def step() -> object:
        *_, last = model.stream(prepared())
        return last

    return step


class Torch:
    """The linear model in PyTorch, eager, in inference mode, with the very weights."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._modes: list[torch.inference_mode] = []
        self._module: torch.nn.Module

    def import_engine(self) -> str:
        """Import torch and set its thread counts."""
        import torch  # noqa: PLC0415 - the import is a measured phase

        torch.set_num_threads(self._job.threads)
        torch.set_num_interop_threads(1)
        return f"torch {torch.__version__}"

    def load(self) -> None:
        """Build the module, as the article does: parameters, ``x @ weights + bias``, ReLU."""
        import torch  # noqa: PLC0415 - as above

        from edge_runtime import npz  # noqa: PLC0415 - as above

        class LinearModel(torch.nn.Module):
            def __init__(self, weights: "Array", bias: "Array") -> None:
                super().__init__()
                self.weights = torch.nn.Parameter(torch.from_numpy(weights))
                self.bias = torch.nn.Parameter(torch.from_numpy(bias))
                self.relu = torch.nn.ReLU()

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                answers: torch.Tensor = self.relu(x @ self.weights + self.bias)
                return answers

        self._module = LinearModel(**npz.read(Path(self._job.options["weights"]))).eval()

    def prepare(self, inputs: "Mapping[str, Array]") -> Step:
        """Return the module's call on a tensor that is there already."""
        import torch  # noqa: PLC0415 - as above

        if not self._modes:
            # once for the thread, and never left: entering it at each call costs a tenth of a small model's time
            self._modes.append(torch.inference_mode())
            self._modes[0].__enter__()
        tensor, module = torch.from_numpy(inputs["input"]), self._module
        return lambda: module(tensor)

    def answers(self, returned: object) -> "Mapping[str, Array]":
        """View the tensor as an array."""
        import torch  # noqa: PLC0415 - as above

        assert isinstance(returned, torch.Tensor)  # noqa: S101 - what the module returns
        return {"output": returned.numpy()}


def _sizes(full: "Array") -> "list[Array]":
    """Return batches of several sizes, the full one last, whose answer is the one that is checked."""
    return [full[: max(1, len(full) * share // 8)] for share in (1, 3, 5, 8)]


def _camera(image: "Array", infer: "Callable[[Array], object]") -> "Callable[[], Iterator[Array]]":
    """Return a source of `FRAMES` frames, each of which takes as long to prepare as to infer.

    The work is what a camera's frame needs, scaling and normalising in numpy, repeated until it takes that long. The
    frame that is handed on is `image`, so that the answer can be checked.
    """
    import time  # noqa: PLC0415 - the other contenders need no clock

    import numpy as np  # noqa: PLC0415 - its import belongs to the phase "import"

    photograph = np.full(PHOTOGRAPH, 128, np.uint8)

    def normalise() -> None:
        scaled = photograph.astype("f4") / 255
        np.ascontiguousarray(((scaled - 0.45) / 0.225).transpose(2, 0, 1))

    def least_ns(work: Callable[[], object]) -> int:
        times = []
        for _ in range(5):
            begin = time.perf_counter_ns()
            work()
            times.append(time.perf_counter_ns() - begin)
        return min(times)

    repeats = max(1, round(least_ns(lambda: infer(image)) / least_ns(normalise)))

    def frames() -> "Iterator[Array]":
        for _ in itertools.repeat(None, FRAMES):
            for _ in range(repeats):
                normalise()
            yield image.copy()

    return frames


def session_run(job: Job) -> Contender:
    """Call ``session.run(None, feeds)``: what one writes first."""
    return Session(job, _run)


def inner_run(job: Job) -> Contender:
    """Leave the public wrapper out."""
    return Session(job, _inner_run)


def inner_run_unsynchronised(job: Job) -> Contender:
    """Leave the wrapper out, and the synchronising of providers."""
    return Session(job, _inner_run_unsynchronised)


def run_with_iobinding(job: Job) -> Contender:
    """Use the public bound run."""
    return Session(job, _run_with_iobinding)


def raw_binding(job: Job) -> Contender:
    """Use the engine's own bound run, with default run options."""
    return Session(job, _raw_binding)


def raw_binding_unsynchronised(job: Job) -> Contender:
    """Leave its synchronising out: the floor from Python."""
    return Session(job, _raw_binding_unsynchronised)


def session_cycle(job: Job) -> Contender:
    """Call ``session.run`` on batches of four sizes in turn."""
    return Session(job, _cycle)


def session_in_turn(job: Job) -> Contender:
    """Prepare a frame, ``session.run``, and so on."""
    return Session(job, _in_turn)


def edge_model(job: Job) -> Contender:
    """Call ``model(input=x)``: every check on."""
    return Edge(job, _checked)


def edge_bound(job: Job) -> Contender:
    """Call a bound call."""
    return Edge(job, _bound)


def edge_cycle(job: Job) -> Contender:
    """Call ``model(input=x)`` on batches of four sizes in turn."""
    return Edge(job, _checked_cycle)


def edge_stream(job: Job) -> Contender:
    """Iterate over ``model.stream(frames)``."""
    return Edge(job, _streamed)


def torch_eager(job: Job) -> Contender:
    """Call PyTorch's module."""
    return Torch(job)
