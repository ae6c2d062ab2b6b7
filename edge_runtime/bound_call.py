"""The fast path: a call of fixed shapes, bound once to buffers of its own.

A plain ``session.run`` checks its feeds, looks names up, allocates outputs and synchronises providers at every call.
None of that can change once shapes and buffers are fixed, so a bound call does it once.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

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

    __slots__ = ("__weakref__", "_idle", "_outputs", "_run", "_where", "inputs")

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
        self._idle = [True]  # empty while a thread is in the call
        run, binding = door.bound_run(session)
        self._outputs: dict[str, Array] = {}
        unsized = [port.name for port in ports if any(isinstance(s, str) and s not in sizes for s in port.shape)]
        for name, array in self.inputs.items():
            binding.bind_input(name, door.CPU, array.dtype, array.shape, array.ctypes.data)
        for port in ports:
            if port.name in unsized:
                continue  # its size depends on the data: bound after the others, at each call
            buffer = _aligned(np.dtype(port.dtype), tuple(sizes[s] if isinstance(s, str) else s for s in port.shape))
            self._outputs[port.name] = buffer
            binding.bind_output(port.name, door.CPU, buffer.dtype, buffer.shape, buffer.ctypes.data)
        # one object for all that a call needs: looking its parts up costs a small model's call some per cent
        self._run: Callable[[], None] = partial(run, binding, door.run_options(session))
        if unsized:
            self._run = partial(_run_unsized, self._run, binding, unsized, self._outputs)

    def __call__(self) -> dict[str, Array]:
        """Run on what `inputs` hold now; return the outputs by name, valid until the next call.

        Raises ConcurrentUse when another thread is in this very call, UsageError after the model was closed or in a
        process forked since, InvalidModel when onnxruntime fails.
        """
        idle = self._idle
        # Taking the one item is atomic, with and without the GIL, and costs a fifth of a lock. Unlike pop() and
        # acquire(), it is no call, after which Ctrl-C could strike before `try` and leave this busy for ever.
        try:
            del idle[0]
        except IndexError:
            raise ConcurrentUse(
                "two threads use one bound call at once",
                self._where,
                "bind one for each thread, or call the model itself",
            ) from None
        try:
            self._run()
        except Exception as problem:  # noqa: BLE001 - translated exhaustively, re-raised when unknown
            door.refuse(problem, self._where)
        finally:
            idle.append(True)
        return self._outputs

    def retire(self, reason: str, hint: str) -> None:
        """Refuse every later call with this reason: the session behind it is gone."""
        # in the place of the engine's function, so that a living call pays nothing for the check
        self._run = partial(_refuse, UsageError(reason, self._where, hint))
        self._idle = [True]  # a thread that was in the call when its process forked never comes out in the child


def _refuse(error: UsageError) -> None:
    raise UsageError(*error.args)  # a new one each time: a raised error collects the frames it went through


def _run_unsized(run: Callable[[], None], binding: Any, names: list[str], outputs: dict[str, Array]) -> None:  # noqa: ANN401 - onnxruntime's own, untyped
    for name in names:
        binding.bind_output(name, door.CPU)  # what the last run allocated has that run's size
    run()
    values = binding.get_outputs()
    for index, name in enumerate(names, start=len(values) - len(names)):
        outputs[name] = values[index].numpy()


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
