"""MNN on its session interface: the ONNX file converted once, a session resized to the inputs' sizes.

Inside the timing: copying the inputs into the session's tensors (whose layout is MNN's own: every program must),
running it, and copying the answers out into arrays. Outside: conversion, loading, resizing. The converted model is
kept, as a program would ship it.

Precision high: "low" and "normal" compute in 16 bits where the CPU can. Backend CPU with everyone's thread count;
memory and power modes as they come, which are those of speed. Source: MNN's documentation, "Session API usage" and
"Python API". The converter is MNN's native one, called directly: importing the package ``MNN.tools`` would run
``pip install`` for its telemetry, in whichever Python is first on PATH.
"""

import os
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.contenders.peer import absent, kept_folder, unable
from edge_runtime.artifact import open_artifact
from edge_runtime.errors import UnsupportedModel

if TYPE_CHECKING:
    from edge_runtime.contender import Contender, Job, Step
    from edge_runtime.npz import Array

# MNN keeps integers in 32 bits and halves in floats: what a tensor of its own is, it says itself
DTYPES = {
    "Halide_Type_Float": "float32",
    "Halide_Type_Double": "float64",
    "Halide_Type_Int": "int32",
    "Halide_Type_Int64": "int64",
    "Halide_Type_Uint8": "uint8",
}


class Mnn:
    """One session for each set of sizes."""

    def __init__(self, job: "Job") -> None:
        artifact = open_artifact(job.artifact)
        self._source = artifact.model_path(artifact.variant(job.variant))
        self._dtypes = {port.name: port.dtype for port in artifact.manifest.outputs}
        self._job = job
        self._model = Path()
        self._interpreter: Any = None
        self._session: Any = None
        self._sizes: dict[str, tuple[int, ...]] = {}
        self._into: dict[str, Any] = {}
        self._taken: list[tuple[str, Any, Any, Array]] = []

    def import_engine(self) -> str:
        """Import MNN."""
        try:
            import MNN  # noqa: F401, PLC0415 - the import is a measured phase
        except ImportError as problem:
            raise absent("MNN", "mnn", problem) from problem
        return f"MNN {version('MNN')}"

    def load(self) -> None:
        """Load the converted model, which the first start converts."""
        import MNN  # noqa: PLC0415 - as above

        self._model = kept_folder(self._job) / f"{version('MNN')}.mnn"
        if not self._model.is_file():
            self._convert()
        self._interpreter = MNN.Interpreter(str(self._model))

    def prepare(self, inputs: "Mapping[str, Array]") -> "Step":
        """Make a session for these sizes, unless that was done, and a host tensor for each input."""
        import MNN  # noqa: PLC0415 - as above

        interpreter = self._interpreter
        try:
            if (sizes := {name: array.shape for name, array in inputs.items()}) != self._sizes:
                self._open_session(inputs)
                self._sizes = sizes
            given = [(self._into[name], *_host_tensor(MNN, self._into[name], array)) for name, array in inputs.items()]
        except (RuntimeError, ValueError, TypeError, AttributeError) as problem:  # what its bindings raise
            raise unable("MNN", "run", problem) from problem
        session, taken = self._session, self._taken

        def step() -> object:
            for tensor, host, _ in given:
                tensor.copyFrom(host)
            interpreter.runSession(session)
            for _, tensor, host, _ in taken:
                tensor.copyToHostTensor(host)
            return taken

        return step

    def _open_session(self, inputs: "Mapping[str, Array]") -> None:
        import MNN  # noqa: PLC0415 - as above
        import numpy as np  # noqa: PLC0415 - as above

        interpreter = self._interpreter
        options = {"backend": "CPU", "numThread": self._job.threads, "precision": "high"}
        session = interpreter.createSession(options)
        self._session, self._into = session, {name: interpreter.getSessionInput(session, name) for name in inputs}
        for name, array in inputs.items():
            interpreter.resizeTensor(self._into[name], array.shape)
        interpreter.resizeSession(session)
        self._taken = []
        for name in self._dtypes:
            tensor = interpreter.getSessionOutput(session, name)
            self._taken.append((name, tensor, *_host_tensor(MNN, tensor, np.zeros(tensor.getShape()))))

    def answers(self, returned: Any) -> "Mapping[str, Array]":  # noqa: ANN401 - MNN has no types of its own
        """Return the host tensors' contents by name: copies, for what they give is gone with them."""
        return {
            name: host.getNumpyData().reshape(array.shape).astype(self._dtypes[name])
            for name, _, host, array in returned
        }

    def configuration(self) -> Mapping[str, str]:
        """Return what the session was made with; MNN doesn't tell it back."""
        return {
            "backend": "CPU",
            "numThread": str(self._job.threads),
            "precision": "high",
            "model": str(self._model),
        }

    def _convert(self) -> None:
        import _tools  # type: ignore[import-not-found]  # noqa: PLC0415 - MNN's native converter, at the top level

        part = self._model.with_suffix(f".{os.getpid()}.part")
        words = ("-f", "ONNX", "--modelFile", str(self._source), "--MNNModel", str(part), "--bizCode", "edge")
        _tools.mnnconvert(["mnnconvert", *words])
        if not part.is_file() or part.stat().st_size == 0:
            part.unlink(missing_ok=True)
            raise unable("MNN", "convert", ValueError("its converter wrote no model"))
        part.replace(self._model)


def _host_tensor(mnn: Any, tensor: Any, array: "Array") -> "tuple[Any, Array]":  # noqa: ANN401 - as above
    """Return a tensor on the host of the same type as one of the session's, and the array it was made from."""
    kind = next((name for name in DTYPES if getattr(mnn, name, None) == tensor.getDataType()), None)
    if kind is None:
        raise UnsupportedModel("MNN has a tensor of a type that its Python doesn't know", "this model", "leave it out")
    plain = array.astype(DTYPES[kind])
    return mnn.Tensor(plain.shape, getattr(mnn, kind), plain, mnn.Tensor_DimensionType_Caffe), plain


def open_contender(job: "Job") -> "Contender":
    """Return MNN as a contender."""
    return Mnn(job)
