"""The fast path: a call of fixed shapes, bound once to buffers of its own.

A plain ``session.run`` checks its feeds, looks names up, allocates outputs and synchronises providers at every call.
None of that can change once shapes and buffers are fixed, so a bound call does it once.
"""

import threading
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np

from edge_runtime import session as door
from edge_runtime.errors import ConcurrentUse, UnsupportedModel, UsageError
from edge_runtime.manifest import Port
from edge_runtime.npz import Array

CACHE_LINE = 64  # onnxruntime aligns its own allocations to it; unaligned buffers cost vector loads


class BoundCall:
    """Write into `inputs`, call, read the outputs; nothing is copied, checked or allocated in between.

    ``call.inputs["image"][...] = frame; scores = call()["scores"]``. The returned arrays are views of the call's own
    buffers, valid until the next call; an output whose size depends on the data is allocated anew by onnxruntime at
    each call. One thread at a time: a second one is refused with ConcurrentUse, never given mixed answers.
    """

    __slots__ = ("__weakref__", "_acquire", "_binding", "_outputs", "_release", "_run", "_unsized", "_where", "inputs")

    def __init__(
        self,
        session: door.Session,
        ports: tuple[Port, ...],
        inputs: Mapping[str, Array],
        *,
        sizes: Mapping[str, int],
        where: str,
    ) -> None:
        for port in ports:
            if port.dtype == door.STRING:
                raise _unbindable("output", port.name, where)
        self.inputs: dict[str, Array] = {name: _aligned_copy(name, array, where) for name, array in inputs.items()}
        self._where = where
        lock = threading.Lock()
        # bound once: looking these methods up costs a tenth of a small model's call
        self._acquire, self._release = lock.acquire, lock.release
        self._run, self._binding = door.bound_run(session)
        self._outputs: dict[str, Array] = {}
        self._unsized = [port.name for port in ports if any(isinstance(s, str) and s not in sizes for s in port.shape)]
        for name, array in self.inputs.items():
            self._binding.bind_input(name, door.CPU, array.dtype, array.shape, array.ctypes.data)
        for port in ports:
            if port.name in self._unsized:
                continue  # its size depends on the data: bound after the others, at each call
            buffer = _aligned(np.dtype(port.dtype), tuple(sizes[s] if isinstance(s, str) else s for s in port.shape))
            self._outputs[port.name] = buffer
            self._binding.bind_output(port.name, door.CPU, buffer.dtype, buffer.shape, buffer.ctypes.data)

    def __call__(self) -> dict[str, Array]:
        """Run on what `inputs` hold now; return the outputs by name, valid until the next call.

        Raises ConcurrentUse when another thread is in this very call, UsageError after the model was closed or in a
        process forked since, InvalidModel when onnxruntime fails.
        """
        if not self._acquire(False):  # noqa: FBT003 - threading.Lock.acquire(blocking)
            raise ConcurrentUse(
                "two threads use one bound call at once",
                self._where,
                "bind one for each thread, or call the model itself",
            )
        try:
            if self._unsized:
                return self._run_unsized()
            self._run(self._binding, door.RUN_OPTIONS)
        except Exception as problem:  # noqa: BLE001 - translated exhaustively, re-raised when unknown
            door.refuse(problem, self._where)
        finally:
            self._release()
        return self._outputs

    def retire(self, reason: str, hint: str) -> None:
        """Refuse every later call with this reason: the session behind it is gone."""

        def refuse(*_: object) -> NoReturn:
            raise UsageError(reason, self._where, hint)

        # in the place of the engine's function, so that a living call pays nothing for the check
        self._run, self._binding = refuse, None

    def _run_unsized(self) -> dict[str, Array]:
        if self._binding is not None:
            for name in self._unsized:
                self._binding.bind_output(name, door.CPU)  # what the last run allocated has that run's size
        self._run(self._binding, door.RUN_OPTIONS)
        values = self._binding.get_outputs()
        for index, name in enumerate(self._unsized, start=len(values) - len(self._unsized)):
            self._outputs[name] = values[index].numpy()
        return self._outputs


def _unbindable(what: str, name: str, where: str) -> UnsupportedModel:
    return UnsupportedModel(f'{what} "{name}" holds strings', where, "call the model instead of binding it")


def _aligned(dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    """Return an uninitialised array that begins on a cache line, as onnxruntime's own allocations do."""
    count = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    raw = np.empty(count + CACHE_LINE, dtype=np.uint8)
    start = -raw.ctypes.data % CACHE_LINE
    return raw[start : start + count].view(dtype).reshape(shape)


def _aligned_copy(name: str, array: Array, where: str) -> Array:
    if array.dtype.kind not in "biuf":
        raise _unbindable("input", name, where)
    copy = _aligned(array.dtype, array.shape)
    copy[...] = array
    return copy
