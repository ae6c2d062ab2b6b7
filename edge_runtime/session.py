"""The inference door: an artifact becomes a model that is called by name. The only module that imports onnxruntime.

`load` opens an artifact, `Model` checks every call, `BoundCall` is the fast path with buffers of its own.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

import numpy as np

# onnxruntime's wheels tell their maker of each start, and leave an id in the temporary folder, unless told not to
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime  # reads the variable once, here
from onnxruntime.capi import onnxruntime_pybind11_state as capi

from edge_runtime.artifact import AUTO, Artifact, open_artifact
from edge_runtime.environment import available_cpus
from edge_runtime.errors import (
    EdgeError,
    InvalidModel,
    ManifestError,
    UnsupportedModel,
    UnsupportedSystem,
    UsageError,
    WrongInput,
)
from edge_runtime.manifest import Port, Variant
from edge_runtime.npz import Array
from edge_runtime.tolerance import describe

ENGINE = f"onnxruntime {onnxruntime.__version__}"

# ONNX tensor types that numpy holds natively, as onnxruntime spells them
DTYPES = {
    "tensor(float16)": "float16",
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(int8)": "int8",
    "tensor(int16)": "int16",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(uint8)": "uint8",
    "tensor(uint16)": "uint16",
    "tensor(uint32)": "uint32",
    "tensor(uint64)": "uint64",
    "tensor(bool)": "bool",
}

# The CPU provider runs in the caller's thread of control and has nothing to wait for, yet onnxruntime synchronises
# after each run unless told otherwise. Source: onnxruntime_run_options_config_keys.h
_NO_SYNCHRONISATION = ("disable_synchronize_execution_providers", "1")


def load(path: str | Path, *, variant: str = AUTO, threads: int | None = None) -> "Model":
    """Open an artifact and return it as a callable model.

    path: the folder NAME.edge.   variant: a name from ``edge info``; "auto" takes the reference.
    threads: intra-op threads; None means as many as this process may use CPUs.
    Raises ManifestError, HashMismatch or InvalidModel for a damaged artifact, UnsupportedModel or UnsupportedSystem
    for one that this onnxruntime can't run, UsageError for an unknown variant or a senseless thread count.
    """
    cpus = len(available_cpus())
    if threads is not None and not 1 <= threads <= cpus:
        raise UsageError(f"{threads} threads on {cpus} CPUs", str(path), f"ask for 1 to {cpus}, or None for all")
    artifact = open_artifact(path)
    chosen = artifact.variant(variant)
    _refuse_newer(artifact)
    artifact.verify_variant(chosen)
    count = threads or cpus
    return Model(artifact, chosen, _open_session(artifact, chosen, count), count)


class Model:
    """A loaded variant: call it with one array per input, by name; every call is checked.

    ``model(image=x)["scores"]``: x must have the port's dtype and shape, and the answers are arrays that belong to
    the caller. Names that are no Python words go in as ``model(**{"input.1": x})``.
    """

    def __init__(
        self, artifact: Artifact, variant: Variant, session: onnxruntime.InferenceSession, threads: int
    ) -> None:
        self.artifact, self.variant, self.threads = artifact, variant, threads
        self.inputs: tuple[Port, ...] = artifact.manifest.inputs
        self.outputs: tuple[Port, ...] = artifact.manifest.outputs
        self._where = f"{artifact.path} ({variant.name})"
        _match_ports(session, self.inputs, self.outputs, self._where)
        self._session: onnxruntime.InferenceSession | None = session
        self._run_options = onnxruntime.RunOptions()
        self._run_options.add_run_config_entry(*_NO_SYNCHRONISATION)
        self._output_names = [port.name for port in self.outputs]
        self._plans = tuple((port.name, np.dtype(port.dtype), port.shape) for port in self.inputs)

    def __call__(self, /, **inputs: Array) -> dict[str, Array]:
        """Run one inference and return the outputs by name, as new arrays.

        Raises WrongInput naming the input, what came and what is expected; UsageError after `close`.
        """
        self._check(inputs)
        try:
            answers = self._open_session()._sess.run(self._output_names, inputs, self._run_options)  # noqa: SLF001 - without the wrapper's second check
        except Exception as problem:  # noqa: BLE001 - translated exhaustively, re-raised when unknown
            _translate(problem, self._where)
        return dict(zip(self._output_names, answers, strict=True))

    def bind(self, /, **inputs: Array) -> "BoundCall":
        """Return a call of these shapes with buffers of its own, holding a copy of these inputs.

        Raises as a call does.
        """
        self._check(inputs)
        session, sizes = self._open_session(), self._sizes(inputs)
        return BoundCall(session, self.outputs, inputs, sizes=sizes, run_options=self._run_options, where=self._where)

    def close(self) -> None:
        """Free the session; calls after this raise UsageError. Closing twice does no harm."""
        self._session = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open_session(self) -> onnxruntime.InferenceSession:
        if self._session is None:
            raise UsageError("the model is closed", self._where, "load it again, or call it before close()")
        return self._session

    def _check(self, inputs: Mapping[str, Array]) -> None:
        if len(inputs) != len(self._plans):
            self._refuse_names(inputs)
        sizes: dict[str, int] | None = None
        for name, dtype, shape in self._plans:
            array = inputs.get(name)
            if array is None:
                self._refuse_names(inputs)
            if not isinstance(array, np.ndarray):
                self._refuse(name, f"is a {type(array).__name__}", "pass a numpy array")
            if array.dtype != dtype or array.ndim != len(shape):
                self._refuse(name, f"is {describe(array)}", _conversion(array, dtype, len(shape)))
            for found, wanted in zip(array.shape, shape, strict=True):
                if found == wanted:
                    continue
                if isinstance(wanted, int):
                    self._refuse(name, f"is {describe(array)}", f"give it the size {wanted} where it has {found}")
                sizes = {} if sizes is None else sizes
                if sizes.setdefault(wanted, found) != found:
                    problem = f"has {wanted}={found}, another input has {wanted}={sizes[wanted]}"
                    self._refuse(name, problem, f"give every input the same {wanted}")

    def _sizes(self, inputs: Mapping[str, Array]) -> dict[str, int]:
        return {
            wanted: found
            for name, _, shape in self._plans
            for found, wanted in zip(inputs[name].shape, shape, strict=True)
            if isinstance(wanted, str)
        }

    def _refuse(self, name: str, problem: str, hint: str) -> NoReturn:
        port = next(port for port in self.inputs if port.name == name)
        raise WrongInput(f'input "{name}" {problem}, the model takes {port}', self._where, hint)

    def _refuse_names(self, inputs: Mapping[str, Array]) -> NoReturn:
        names = [port.name for port in self.inputs]
        missing = [name for name in names if inputs.get(name) is None]
        unknown = [str(name)[:80] for name in inputs if name not in names]
        told = [f"no input {', '.join(missing)}"] if missing else []
        told += [f"unknown input {', '.join(unknown)}"] if unknown else []
        takes = ", ".join(f"{port.name}: {port}" for port in self.inputs)
        raise WrongInput(" and ".join(told), self._where, f"the model takes {takes}")


class BoundCall:
    """A call of fixed shapes: write into `inputs`, call, read the outputs; nothing is copied or checked in between.

    ``call.inputs["image"][...] = frame; scores = call()["scores"]``. The returned arrays are views of the call's own
    buffers, valid until the next call.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        ports: tuple[Port, ...],
        inputs: Mapping[str, Array],
        *,
        sizes: Mapping[str, int],
        run_options: onnxruntime.RunOptions,
        where: str,
    ) -> None:
        self.inputs: dict[str, Array] = {name: _aligned_copy(array) for name, array in inputs.items()}
        self._where, self._options = where, run_options
        # the public wrappers check again on every run what can't change here, and cost more than a small model
        self._session = session  # keeps it alive as long as the binding points into it
        self._run = session._sess.run_with_iobinding  # noqa: SLF001 - without the wrapper's second check
        self._binding = session.io_binding()._iobinding  # noqa: SLF001 - without the wrapper's second check
        self._outputs: dict[str, Array] = {}
        self._unsized = [port.name for port in ports if any(isinstance(s, str) and s not in sizes for s in port.shape)]
        self._device = device = onnxruntime.OrtDevice.make("cpu", 0)._get_c_device()  # noqa: SLF001 - without the wrapper's second check
        for name, array in self.inputs.items():
            self._binding.bind_input(name, device, array.dtype, array.shape, array.ctypes.data)
        for port in ports:
            if port.name in self._unsized:
                continue  # its size depends on the data: bound after the others, at each call
            buffer = _aligned(np.dtype(port.dtype), tuple(sizes[s] if isinstance(s, str) else s for s in port.shape))
            self._outputs[port.name] = buffer
            self._binding.bind_output(port.name, device, buffer.dtype, buffer.shape, buffer.ctypes.data)

    def __call__(self) -> dict[str, Array]:
        """Run on what `inputs` hold now; return the outputs by name, valid until the next call."""
        for name in self._unsized:
            self._binding.bind_output(name, self._device)  # what the last run allocated has that run's size
        try:
            self._run(self._binding, self._options)
        except Exception as problem:  # noqa: BLE001 - translated exhaustively, re-raised when unknown
            _translate(problem, self._where)
        if self._unsized:
            values = self._binding.get_outputs()
            for index, name in enumerate(self._unsized, start=len(values) - len(self._unsized)):
                self._outputs[name] = values[index].numpy()
        return self._outputs


def translated(problem: Exception, where: str) -> EdgeError | None:
    """Return our error for an exception of onnxruntime, or None when it is not one of its own."""
    message = " ".join(str(problem).split())[:600]
    if isinstance(problem, capi.NotImplemented):
        return UnsupportedModel(
            f"an operator has no CPU kernel: {message}", where, "export with another --opset or --exporter"
        )
    newer = (
        "Unsupported model IR version",
        "is under development and support for this is limited",
        "is till opset",
    )
    if any(phrase in message for phrase in newer):
        hint = f"install a newer onnxruntime (here: {onnxruntime.__version__}), or export with a lower --opset"
        return UnsupportedModel(f"the model is newer than this onnxruntime: {message}", where, hint)
    if isinstance(problem, capi.InvalidArgument):
        return WrongInput(f"onnxruntime refused the inputs: {message}", where, "compare them with: edge info")
    if isinstance(problem, capi.InvalidProtobuf | capi.InvalidGraph | capi.NoSuchFile | capi.NoModel):
        return InvalidModel(f"not a valid ONNX model: {message}", where, "export the artifact again")
    # a bound run has no exception class of its own, only this beginning
    if isinstance(problem, ONNXRUNTIME_ERRORS) or message.startswith("Error in execution"):
        return InvalidModel(
            f"onnxruntime failed: {message}", where, "run: edge check; if it passes, the input is to blame"
        )
    return None


# every exception class of onnxruntime's binding; a test fails when a release brings one that is not here
ONNXRUNTIME_ERRORS: tuple[type[Exception], ...] = (
    capi.EPFail,
    capi.EngineError,
    capi.Fail,
    capi.InvalidArgument,
    capi.InvalidGraph,
    capi.InvalidProtobuf,
    capi.ModelLoaded,
    capi.NoModel,
    capi.NoSuchFile,
    capi.NotImplemented,
    capi.RuntimeException,
    *(
        getattr(capi, name)  # younger than the oldest onnxruntime we take
        for name in ("DeviceReset", "ModelLoadCanceled", "ModelRequiresCompilation", "NotFound")
        if hasattr(capi, name)
    ),
)


def _translate(problem: Exception, where: str) -> NoReturn:
    known = translated(problem, where)
    if known is None:
        raise problem
    raise known from problem


def _open_session(artifact: Artifact, variant: Variant, threads: int) -> onnxruntime.InferenceSession:
    where = f"{artifact.path} ({variant.name})"
    return open_model(artifact.model_path(variant), threads=threads, where=where)


def open_model(path: Path, *, threads: int, where: str) -> onnxruntime.InferenceSession:
    """Open one ONNX file on the CPU provider, sequentially, with `threads` intra-op threads.

    where: what errors call it. Raises InvalidModel or UnsupportedModel.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # fatal only: everything else reaches the user as one of our errors
    try:
        return onnxruntime.InferenceSession(os.fspath(path), options, providers=["CPUExecutionProvider"])
    except Exception as problem:
        known = translated(problem, where)
        if known is None:
            raise
        if isinstance(known, WrongInput):
            # at load time there are no inputs yet: what onnxruntime calls an argument is the file
            known = InvalidModel(known.what, where, "export the artifact again")
        raise known from problem


def _refuse_newer(artifact: Artifact) -> None:
    wanted, here = artifact.manifest.requires_onnxruntime, onnxruntime.__version__
    if _release(wanted) > _release(here):
        raise UnsupportedSystem(
            f"the artifact needs onnxruntime {wanted} or newer, this machine has {here}",
            str(artifact.path),
            f"install onnxruntime>={wanted}, or export again with a lower --opset",
        )


def _release(version: str) -> tuple[int, ...]:
    # a development build ("1.33.0.dev2026") counts as its release: it can run at least what the one before could
    return tuple(int(part) for part in version.split(".")[:3] if part.isdigit())


def _match_ports(
    session: onnxruntime.InferenceSession, inputs: tuple[Port, ...], outputs: tuple[Port, ...], where: str
) -> None:
    """Refuse a manifest that describes another model than the file holds: bound buffers rely on it."""
    for what, ports, nodes in (
        ("input", inputs, session.get_inputs()),
        ("output", outputs, session.get_outputs()),
    ):
        found = {node.name: node for node in nodes}
        if set(found) != {port.name for port in ports}:
            names = f"{sorted(found)}, the manifest says {sorted(port.name for port in ports)}"
            raise ManifestError(f"the model's {what}s are {names}", where, "export the artifact again")
        for port in ports:
            node = found[port.name]
            dtype = DTYPES.get(node.type)
            if dtype is None:
                raise UnsupportedModel(
                    f'{what} "{port.name}" is a {node.type}, which is not supported yet',
                    where,
                    "cast it inside the model",
                )
            fixed = [
                (mine, theirs) for mine, theirs in zip(port.shape, node.shape, strict=False) if isinstance(theirs, int)
            ]
            if (
                dtype != port.dtype
                or len(node.shape) != len(port.shape)
                or any(mine != theirs for mine, theirs in fixed)
            ):
                told = f"{dtype}[{', '.join(map(str, node.shape))}], the manifest says {port}"
                raise ManifestError(f'{what} "{port.name}" is {told}', where, "export the artifact again")


def _conversion(array: Array, dtype: np.dtype[Any], rank: int) -> str:
    if array.ndim != rank:
        return f"give it {rank} dimensions, not {array.ndim}"
    return f"convert it: x.astype(numpy.{dtype.name})"


def _aligned(dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    """Return an uninitialised array that begins on a cache line, as onnxruntime's own allocations do."""
    cache_line = 64
    count = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    raw = np.empty(count + cache_line, dtype=np.uint8)
    start = -raw.ctypes.data % cache_line
    return raw[start : start + count].view(dtype).reshape(shape)


def _aligned_copy(array: Array) -> Array:
    copy = _aligned(array.dtype, array.shape)
    copy[...] = array
    return copy
