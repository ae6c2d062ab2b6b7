"""The fast path: a call of fixed shapes, bound once to buffers of its own.

A plain ``session.run`` checks its feeds, looks names up, allocates outputs and synchronises providers at every call.
None of that can change once shapes and buffers are fixed, so a bound call does it once.
"""

import math
import os
import sys
import weakref
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

from edge_runtime import session as door
from edge_runtime.errors import ConcurrentUse, NonFiniteOutput, UnsupportedModel, UsageError
from edge_runtime.manifest import Port
from edge_runtime.npz import Array

FORKED = (
    "the model was loaded before this process was forked",
    "load it in the child, or fork before loading",
)
_living: "weakref.WeakSet[BoundCall]" = weakref.WeakSet()

CACHE_LINE = 64  # onnxruntime aligns its own allocations to it; unaligned buffers cost vector loads


class BoundCall:
    """Write into `inputs`, call, read the outputs; nothing is copied, checked or allocated in between.

    ``call.inputs["image"][...] = frame; scores = call()["scores"]``. The returned arrays are views of the call's own
    buffers, valid until the next call; an output whose size depends on the data is allocated anew by onnxruntime at
    each call. One thread at a time: a second one is refused with ConcurrentUse, never given mixed answers.
    Both mappings are read-only: a forgotten ``[...]`` is a TypeError, and not a frame that the model never sees.

    >>> import edge_runtime, numpy
    >>> model = edge_runtime.load("tiny.edge", threads=1)
    >>> call = model.bind(input=numpy.zeros((1, 13), "float32"))
    >>> call.inputs["input"][...] = 1
    >>> numpy.array_equal(call()["output"], model(input=numpy.ones((1, 13), "float32"))["output"])
    True
    """

    __slots__ = ("__weakref__", "_answers", "_buffers", "_hint", "_idle", "_outputs", "_run", "_where", "inputs")

    def __init__(
        self,
        session: door.Session,
        ports: tuple[Port, ...],
        inputs: Mapping[str, Array],
        *,
        sizes: Mapping[str, int],
        where: str,
        hint: str = "",
        check_finite: bool = False,
        outputs: Mapping[str, Array] | None = None,
    ) -> None:
        """Bind. outputs: buffers of another call to write into; then `inputs` are such buffers too, not copied."""
        for port in ports:
            if port.dtype == door.STRING:
                raise _unbindable("output", port.name, where)
        self._buffers = (
            dict(inputs) if outputs is not None else {n: _aligned_copy(n, array, where) for n, array in inputs.items()}
        )
        self.inputs: Mapping[str, Array] = MappingProxyType(self._buffers)
        self._where, self._hint = where, hint
        self._idle = [True]  # empty while a thread is in the call
        run, binding = door.bound_run(session)
        found: dict[str, Array] = {}
        self._outputs, self._answers = found, MappingProxyType(found)
        unsized = [port.name for port in ports if any(isinstance(s, str) and s not in sizes for s in port.shape)]
        for name, array in self.inputs.items():
            binding.bind_input(name, door.CPU, array.dtype, array.shape, array.ctypes.data)
        for port in ports:
            if port.name in unsized:
                found[port.name] = np.empty(0, port.dtype)  # keeps its place in the order
                continue  # its size depends on the data: bound after the others, at each call
            shape = tuple(sizes[s] if isinstance(s, str) else s for s in port.shape)
            buffer = _aligned(np.dtype(port.dtype), shape) if outputs is None else outputs[port.name]
            found[port.name] = buffer
            binding.bind_output(port.name, door.CPU, buffer.dtype, buffer.shape, buffer.ctypes.data)
        # one object for all that a call needs: looking its parts up costs a small model's call some per cent
        self._run: Callable[[], None] = partial(run, binding, door.run_options(session))
        if unsized:
            self._run = partial(_run_unsized, self._run, binding, unsized, found)
        if check_finite:
            self._run = partial(_run_checked, self._run, self._answers, where)

        _living.add(self)

    def __call__(self) -> Mapping[str, Array]:
        """Run on what `inputs` hold now; return the outputs by name, valid until the next call.

        Raises ConcurrentUse when another thread is in this very call, UsageError after the model was closed or in a
        process forked since, InvalidModel when onnxruntime fails, UnsupportedSystem when memory is short,
        NonFiniteOutput when the model was loaded with that check.
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
            door.refuse(problem, self._where, self._hint)
        finally:
            idle.append(True)
        return self._answers

    def once(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Copy `inputs` in, run, and return the outputs as new arrays: the call of a pool.

        Nothing is checked: the pool has checked the arrays, and gives this call to one thread at a time. Raises as a
        call does.
        """
        for name, buffer in self._buffers.items():
            buffer[...] = inputs[name]
        try:
            self._run()
        except Exception as problem:  # noqa: BLE001 - as above
            door.refuse(problem, self._where, self._hint)
        answers = {}
        for name, view in self._outputs.items():  # a comprehension is a call of its own before Python 3.12
            answers[name] = view.copy()
        return answers

    def retire(self, reason: str, hint: str) -> None:
        """Refuse every later call with this reason: the session behind it is gone."""
        # in the place of the engine's function, so that a living call pays nothing for the check
        self._run = partial(_refuse, UsageError(reason, self._where, hint))
        self._idle = [True]  # a thread that was in the call when its process forked never comes out in the child


def _orphan() -> None:
    """Retire every call in a forked child, those too that outlived their model."""
    for call in list(_living):
        door.keep_for_ever(call._run)  # noqa: SLF001 - this module's own class
        call.retire(*FORKED)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_orphan)


def _refuse(error: UsageError) -> None:
    raise UsageError(*error.args)  # a new one each time: a raised error collects the frames it went through


def _run_unsized(run: Callable[[], None], binding: Any, names: list[str], outputs: dict[str, Array]) -> None:  # noqa: ANN401 - onnxruntime's own, untyped
    for name in names:
        binding.bind_output(name, door.CPU)  # what the last run allocated has that run's size
    run()
    values = binding.get_outputs()
    for index, name in enumerate(names, start=len(values) - len(names)):
        outputs[name] = values[index].numpy()


def _run_checked(run: Callable[[], None], answers: Mapping[str, Array], where: str) -> None:
    run()
    refuse_non_finite(answers, where)


def refuse_non_finite(answers: Mapping[str, Array], where: str) -> None:
    """Raise NonFiniteOutput when an answer holds NaN or infinity."""
    for name, array in answers.items():
        if array.dtype.kind == "f" and not (finite := np.isfinite(array)).all():
            raise NonFiniteOutput(
                f'output "{name}" holds {array.size - int(finite.sum())} values that are NaN or infinite',
                where,
                "look at the inputs of this call: NaN and overflow go through a network without a sound",
            )


def is_masked(array: Array) -> bool:
    """Return whether an array hides some of its values, which a model would see all the same."""
    # numpy imports its masked arrays when they are first named, which would cost a first call 7 ms
    return "numpy.ma" in sys.modules and isinstance(array, np.ma.MaskedArray)


def _unbindable(what: str, name: str, where: str) -> UnsupportedModel:
    return UnsupportedModel(f'{what} "{name}" holds strings', where, "call the model instead of binding it")


def _aligned(dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    """Return an uninitialised array that begins on a cache line, as onnxruntime's own allocations do."""
    count = math.prod(shape) * dtype.itemsize  # numpy's product would wrap
    if count > sys.maxsize - CACHE_LINE:
        raise MemoryError(f"an array of {count} bytes")
    raw = np.empty(count + CACHE_LINE, dtype=np.uint8)
    start = -raw.ctypes.data % CACHE_LINE
    return raw[start : start + count].view(dtype).reshape(shape)


def _aligned_copy(name: str, array: Array, where: str) -> Array:
    if array.dtype.kind not in "biuf":
        raise _unbindable("input", name, where)
    copy = _aligned(array.dtype, array.shape)
    copy[...] = array
    return copy
