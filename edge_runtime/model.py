"""An artifact becomes a model that is called by name: `load`, `Model`.

Every call is checked. Calls of small shapes are kept bound and reused, so that checking costs less than what a plain
``session.run`` spends on its own.
"""

import logging
import math
import os
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

import numpy as np

from edge_runtime import capacity
from edge_runtime import session as door
from edge_runtime.artifact import AUTO, Artifact, open_artifact
from edge_runtime.bound_call import FORKED, BoundCall, is_masked, refuse_non_finite
from edge_runtime.environment import available_cpus
from edge_runtime.errors import UsageError, WrongInput, out_of_memory
from edge_runtime.manifest import Port, Variant
from edge_runtime.npz import Array
from edge_runtime.stateful import StatefulCall
from edge_runtime.stream import in_order
from edge_runtime.tolerance import describe

POOL_SHAPES = 8  # a service that batches sees a few sizes; each kept call owns its buffers
# Above this a kept call is not worth its copies: onnxruntime reads a caller's array in place, and a copy of 64 KiB
# costs about as much as binding saves.
POOL_BYTES = 1 << 16

_log = logging.getLogger("edge_runtime")
_alive: "weakref.WeakSet[Model]" = weakref.WeakSet()


def load(
    path: str | Path,
    *,
    variant: str = AUTO,
    threads: int | None = None,
    preset: str = "balanced",
    memory_limit: int | None = None,
    cache: bool = True,
    check_finite: bool = False,
) -> "Model":
    """Open an artifact and return it as a callable model.

    path: the folder NAME.edge.   variant: a name from ``edge info``; "auto" takes the reference.
    threads: intra-op threads; None means as many as this process may use CPUs.
    preset: "latency" (threads spin while they wait), "balanced", or "memory" (buffers between layers are given back
    after each call, which costs it some 0.6 us).   memory_limit: bytes that the model may add to the process; one
    that is estimated to need more is refused before it is read.
    cache: keep the optimised graph on disk and map it from there at the next start.   check_finite: raise
    NonFiniteOutput when an answer holds NaN or infinity.

    Raises ManifestError, HashMismatch or InvalidModel for a damaged artifact, UnsupportedModel or UnsupportedSystem
    for one that this onnxruntime or machine can't run, UsageError for an unknown variant or preset, or a senseless
    thread count.

    >>> import edge_runtime, numpy
    >>> with edge_runtime.load("tiny.edge", threads=1) as model:
    ...     answers = model(input=numpy.zeros((2, 13), "float32"))
    >>> answers["output"].shape
    (2, 1)
    """
    _refuse_types(path, variant=variant, threads=threads, preset=preset, memory_limit=memory_limit)
    cpus = len(available_cpus())
    if threads is not None and not 1 <= threads <= cpus:
        raise UsageError(f"{threads} threads on {cpus} CPUs", str(path), f"ask for 1 to {cpus}, or None for all")
    if preset not in door.PRESETS:
        raise UsageError(f"preset={preset!r}", str(path), f"one of {', '.join(door.PRESETS)}")
    artifact = open_artifact(path)
    chosen = artifact.variant(variant)
    door.refuse_newer(artifact.manifest.requires_onnxruntime, str(artifact.path))
    capacity.refuse_too_large(artifact, chosen, cache=cache, limit_bytes=memory_limit)
    count = threads or cpus
    try:
        session = door.open_variant(artifact, chosen, threads=count, preset=preset, cache=cache, warn=_log.warning)
    except MemoryError as problem:
        raise out_of_memory(problem, str(artifact.path)) from problem
    return Model(artifact, chosen, session, threads=count, check_finite=check_finite)


def _refuse_types(path: object, **given: object) -> None:
    """Refuse arguments of a wrong type by name, before something deeper fails on them in words of its own."""
    if not isinstance(path, str | Path):
        raise UsageError(f"the path is a {type(path).__name__}", "edge_runtime.load", "give a str or a pathlib.Path")
    for name, value in given.items():
        text = name in {"variant", "preset"}
        fits = isinstance(value, str) if text else value is None or type(value) is int
        if not fits:
            raise UsageError(f"{name}={value!r:.80}", str(path), "give a str" if text else "give an int, or None")


@dataclass(frozen=True, slots=True)
class PoolState:
    """The kept calls of a model: how many shapes, how often a call found one, and how often not."""

    shapes: int
    hits: int
    misses: int


class _Kept:
    """The calls kept for one combination of shapes. direct: too large to keep, or strings: no call is kept."""

    __slots__ = ("direct", "free", "hits", "recent")

    def __init__(self, *, direct: bool) -> None:
        self.free: list[BoundCall] = []
        self.direct, self.hits, self.recent = direct, 0, True


class Model:
    """A loaded variant: call it with one array per input, by name; every call is checked.

    ``model(image=x)["scores"]``: x must have the port's dtype and shape, and the answers are arrays that belong to
    the caller. Names that are no Python words go in as ``model(**{"input.1": x})``. Several threads may call at once;
    each is given buffers of its own.

    >>> import edge_runtime, numpy
    >>> model = edge_runtime.load("tiny.edge", threads=1)
    >>> [f"{port.name}: {port}" for port in model.inputs]
    ['input: float32[batch, 13]']
    >>> model(input=numpy.zeros((2, 12), "float32"))  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    WrongInput: input "input" is float32[2, 12], the model takes float32[batch, 13] – tiny.edge (fp32) – give it ...
    >>> frames = (numpy.full((1, 13), value, "float32") for value in range(3))
    >>> [answers["output"].shape for answers in model.stream(frames)]
    [(1, 1), (1, 1), (1, 1)]
    >>> model.pool
    PoolState(shapes=1, hits=2, misses=1)
    """

    def __init__(
        self,
        artifact: Artifact,
        variant: Variant,
        session: door.Session,
        *,
        threads: int,
        check_finite: bool = False,
    ) -> None:
        self.artifact, self.variant, self.threads = artifact, variant, threads
        self.inputs: tuple[Port, ...] = artifact.manifest.inputs
        self.outputs: tuple[Port, ...] = artifact.manifest.outputs
        self._where = f"{artifact.path} ({variant.name})"
        door.match_ports(session, self.inputs, self.outputs, self._where)
        self._session: door.Session | None = session
        self._check_finite = check_finite
        self._output_names = [port.name for port in self.outputs]
        self._plans = tuple((port.name, door.numpy_dtype(port.dtype), port.shape) for port in self.inputs)
        self._fast = tuple((name, dtype) for name, dtype, _ in self._plans)
        self._names = tuple(port.name for port in self.inputs)
        self._pool: dict[tuple[tuple[int, ...], ...], _Kept] = {}
        self._lock = threading.Lock()
        self._misses = self._past_hits = 0
        self._bound: weakref.WeakSet[BoundCall] = weakref.WeakSet()
        self._gone: tuple[str, str] | None = None
        _alive.add(self)

    def __call__(self, /, **inputs: Array) -> dict[str, Array]:
        """Run one inference and return the outputs by name, as new arrays.

        Raises WrongInput naming the input, what came and what is expected; UsageError after `close` or in a process
        forked since `load`; NonFiniteOutput when that check was asked for; InvalidModel when onnxruntime fails, and
        UnsupportedSystem when memory is short.
        """
        kept, shapes = None, []
        for name, dtype in self._fast:
            array = inputs.get(name)
            # identity settles most calls; arrays that came through a pickle or a file have an equal dtype of their own
            if type(array) is not np.ndarray or (array.dtype is not dtype and array.dtype != dtype):
                break
            shapes.append(array.shape)
        else:
            kept = self._pool.get(tuple(shapes))
        if kept is None or len(inputs) != len(shapes):
            inputs = self._check(inputs)
            kept = self._keep(tuple([inputs[name].shape for name in self._names]), inputs)
        else:
            kept.hits += 1
            kept.recent = True
        if kept.direct:
            return self._run_direct(inputs)
        try:
            call = kept.free.pop()  # atomic: two threads never get the same one
        except IndexError:
            call = self._new_call(inputs)
        try:
            answers = call.once(inputs)
        except MemoryError as problem:
            raise out_of_memory(problem, self._where) from problem
        kept.free.append(call)
        return answers

    def bind(self, /, **inputs: Array) -> BoundCall:
        """Return a call of these shapes with buffers of its own, holding a copy of these inputs.

        Raises as a call does, and UnsupportedModel for strings.
        """
        return self._new_call(self._check(inputs))

    def with_state(self, /, **inputs: Array) -> StatefulCall:
        """Return a call of fixed shapes that carries the model's recurrent state from each step to the next.

        inputs: arrays that show the sizes, as for `bind`, among them the initial state where it is not zeros. What is
        left out begins as zeros, if its sizes are fixed or shown by another input.

        Raises UsageError for a model without declared state or a size that nothing shows, else as `bind` does.
        """
        state = self.artifact.manifest.state
        if not state:
            hint = "declare it at export, --state h_in:h_out, or feed it back by hand: model(...) or model.bind(...)"
            raise UsageError("the model has no recurrent state", self._where, hint)
        checked = self._check({**inputs, **self._zeros(inputs)})
        return StatefulCall(self._new_call, checked, state, initial=inputs, where=self._where)

    def stream(
        self, items: "Iterable[Mapping[str, Array] | Array]", *, prefetch: int = 2
    ) -> Iterator[dict[str, Array]]:
        """Yield the answers to a stream of inputs, in order.

        items: arrays by name, or the bare array of a model with one input; taken in a thread of its own, up to
        `prefetch` ahead, so that preparing the next input overlaps with inference. What the iterable raises is raised
        here, in its place in the order. Raises as a call does.
        """
        if type(prefetch) is not int or prefetch < 1:
            raise UsageError(f"prefetch={prefetch!r:.80}", self._where, "ask for 1 or more")
        return in_order(self._call_on, items, prefetch=prefetch)

    def _call_on(self, item: "Mapping[str, Array] | Array") -> dict[str, Array]:
        if not isinstance(item, Mapping):
            return self(**{next(iter(self._names), ""): item})
        odd = [name for name in item if not isinstance(name, str)]
        if odd:
            raise WrongInput(f"an input is named {odd[0]!r:.80}", self._where, "names are str")
        return self(**item)

    @property
    def pool(self) -> PoolState:
        """The state of the kept calls. Counts from several threads may miss a few hits."""
        kept = list(self._pool.values())
        return PoolState(len(kept), self._past_hits + sum(one.hits for one in kept), self._misses)

    def close(self) -> None:
        """Free the session; calls after this raise UsageError. Closing twice does no harm."""
        self._retire("the model is closed", "load it again, or call it before close()")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _keep(self, shapes: tuple[tuple[int, ...], ...], inputs: Mapping[str, Array]) -> _Kept:
        """Return the place of these shapes in the pool, making room by the clock rule (second chance)."""
        with self._lock:
            kept = self._pool.get(shapes)
            if kept is not None:
                return kept
            self._misses += 1
            while len(self._pool) >= POOL_SHAPES:
                oldest = next(iter(self._pool))
                candidate = self._pool.pop(oldest)
                if candidate.recent:
                    candidate.recent = False
                    self._pool[oldest] = candidate  # to the end: used since it last stood in front
                else:
                    self._past_hits += candidate.hits
            strings = any(port.dtype == door.STRING for port in (*self.inputs, *self.outputs))
            kept = self._pool[shapes] = _Kept(direct=strings or self._buffer_bytes(inputs) > POOL_BYTES)
            return kept

    def _buffer_bytes(self, inputs: Mapping[str, Array]) -> int:
        """Return what a kept call of these inputs would hold, outputs of a size that the data decide left out."""
        sizes = self._sizes(inputs)
        total = sum(array.nbytes for array in inputs.values())
        for port in self.outputs:
            shape = [sizes.get(size, 0) if isinstance(size, str) else size for size in port.shape]
            total += math.prod(shape) * door.numpy_dtype(port.dtype).itemsize
        return total

    def _zeros(self, given: Mapping[str, Array]) -> dict[str, Array]:
        """Return zeros for each input that isn't given, of the sizes that the given ones show."""
        sizes: dict[str, int] = {}
        for name, _, shape in self._plans:
            shown = getattr(given.get(name), "shape", ())
            # what doesn't fit is refused later, by name
            sizes |= {size: found for size, found in zip(shape, shown, strict=False) if isinstance(size, str)}
        zeros = {}
        for name, dtype, shape in self._plans:
            if name in given or dtype.kind == "O":
                continue
            unknown = [size for size in shape if isinstance(size, str) and size not in sizes]
            if unknown:
                hint = f"give an array that shows it: with_state({name}=...)"
                raise UsageError(f'nothing shows the size {", ".join(unknown)} of "{name}"', self._where, hint)
            try:
                zeros[name] = np.zeros([sizes[size] if isinstance(size, str) else size for size in shape], dtype)
            except (MemoryError, ValueError) as problem:  # numpy's words for a size that no memory has
                raise out_of_memory(MemoryError(str(problem)), self._where) from problem
        return zeros

    def _new_call(self, inputs: Mapping[str, Array], outputs: Mapping[str, Array] | None = None) -> BoundCall:
        sizes = self._sizes(inputs)
        try:
            call = BoundCall(
                self._living(),
                self.outputs,
                inputs,
                sizes=sizes,
                where=self._where,
                hint=self._untested(sizes),
                check_finite=self._check_finite,
                outputs=outputs,
            )
        except MemoryError as problem:
            raise out_of_memory(problem, self._where) from problem
        self._bound.add(call)
        if self._gone:  # closed meanwhile, by a thread that could not know of this call
            call.retire(*self._gone)
        return call

    def _run_direct(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        inputs = {name: self._native(name, inputs[name], dtype) for name, dtype in self._fast}
        try:
            found = door.run(self._living(), self._output_names, inputs)
        except Exception as problem:  # noqa: BLE001 - translated exhaustively, re-raised when unknown
            door.refuse(problem, self._where, self._untested(self._sizes(inputs)))
        answers = dict(zip(self._output_names, found, strict=True))
        if self._check_finite:
            refuse_non_finite(answers, self._where)
        return answers

    def _untested(self, sizes: Mapping[str, int]) -> str:
        """Return advice on sizes that the export did not verify, the first suspects when a call fails; often empty."""
        tested = {name: known for port in self.inputs for name, known in port.tested or ()}
        odd = [name for name, size in sizes.items() if name in tested and size not in tested[name]]
        told = [f"{name}={sizes[name]} was not among the tested {', '.join(map(str, tested[name]))}" for name in odd]
        return f"{'; '.join(told)}: use one of these, or export again with this size" if told else ""

    def _living(self) -> door.Session:
        if self._session is None:
            reason, hint = self._gone or ("the model is closed", "load it again")
            raise UsageError(reason, self._where, hint)
        return self._session

    def _retire(self, reason: str, hint: str) -> None:
        self._session, self._gone = None, (reason, hint)
        self._pool = {}
        for call in list(self._bound):
            call.retire(reason, hint)

    def _check(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return the inputs as onnxruntime takes them; raise WrongInput for what doesn't fit."""
        self._living()
        if len(inputs) != len(self._plans):
            self._refuse_names(inputs)
        sizes: dict[str, int] = {}
        for name, dtype, shape in self._plans:
            array = inputs.get(name)
            if array is None:
                self._refuse_names(inputs)
            if not isinstance(array, np.ndarray) or is_masked(array):
                self._refuse(name, f"is a {type(array).__name__}", "pass a numpy array")
            given = array.dtype.newbyteorder("=")
            text = dtype.kind == "O" and given.kind == "U"
            if (given != dtype and not text) or array.ndim != len(shape):
                self._refuse(name, f"is {describe(array)}", _conversion(array, dtype, len(shape)))
            for found, wanted in zip(array.shape, shape, strict=True):
                if found == wanted:
                    continue
                if isinstance(wanted, int):
                    self._refuse(name, f"is {describe(array)}", f"give it the size {wanted} where it has {found}")
                if sizes.setdefault(wanted, found) != found:
                    problem = f"has {wanted}={found}, another input has {wanted}={sizes[wanted]}"
                    self._refuse(name, problem, f"give every input the same {wanted}")
        # copies are made only when everything fits
        return {name: self._native(name, np.asarray(inputs[name]), dtype) for name, dtype in self._fast}

    def _native(self, name: str, array: Array, dtype: np.dtype[Any]) -> Array:
        """Return the array as onnxruntime reads it: in this machine's byte order, aligned, in C order, strings as str.

        Where that needs a copy, the logger is told.
        """
        if dtype.kind == "O":
            return self._strings(name, array)
        if array.dtype != dtype:
            odd = "its bytes are in the other order"
        elif not array.flags.c_contiguous:
            odd = "it is not contiguous"
        elif not array.flags.aligned:
            odd = "it is not aligned"
        else:
            return array
        _log.info('input "%s" is copied: %s', name, odd)
        try:
            return array.astype(dtype, order="C")
        except MemoryError as problem:
            raise out_of_memory(problem, self._where) from problem

    def _strings(self, name: str, array: Array) -> Array:
        texts = array.astype(object, order="C")
        for value in texts.ravel():
            # onnxruntime would take str(value): "None" for a missing text, "b'x'" for bytes
            if not isinstance(value, str):
                self._refuse(name, f"holds a {type(value).__name__}", "hold str alone; decode bytes first")
            try:
                value.encode()
            except UnicodeEncodeError:
                self._refuse(name, f"holds {value[:40]!a}, which no UTF-8 can hold", "remove lone surrogates")
        return texts

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


def _conversion(array: Array, dtype: np.dtype[Any], rank: int) -> str:
    if array.ndim != rank:
        return f"give it {rank} dimensions, not {array.ndim}"
    if dtype.kind == "O":
        return 'pass str: numpy.char.decode(x, "utf-8") for bytes'
    return f"convert it: x.astype(numpy.{dtype.name})"


def _orphan() -> None:
    """Retire every model in a forked child: a call could wait for threads that did not come along."""
    for model in list(_alive):
        door.keep_for_ever(model._session)  # noqa: SLF001 - this module's own class
        model._retire(*FORKED)  # noqa: SLF001 - as above


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_orphan)
