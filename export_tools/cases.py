"""The inputs that a model is verified with: several kinds, several sizes. Pure numpy.

Tracing freezes what its example decided, so one input proves nothing: a wrong branch shows with other values, a
frozen size with other sizes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_runtime import npz
from edge_runtime.errors import InputError, UsageError
from edge_runtime.manifest import Port
from edge_runtime.npz import Array
from edge_runtime.tolerance import describe
from export_tools.request import DynamicAxis, TensorSpec, describe_limits

REAL = "real"  # the example itself; always the first case
DATA = "data-"  # what the names of the user's own cases begin with
SIZES = (1, 2, 3, 7, 17)  # one, even, odd, prime, and one that is larger than most vectors of a CPU
LARGE, SMALL = 100.0, 1e-3
MAX_DATA_FILES = 64


@dataclass(frozen=True, slots=True)
class Case:
    """One input by name. sizes: of the dynamic dimensions when the case was made for them, else empty."""

    name: str
    inputs: Mapping[str, Array]
    sizes: Mapping[str, int]


def ports_of(example: Mapping[str, Array], dynamic: Sequence[DynamicAxis]) -> tuple[Port, ...]:
    """Return the inputs as ports, with the dynamic dimensions by name.

    Raises UsageError for an axis that isn't there, sizes of one name that differ or lie out of their range, and
    InputError for an example with NaN or infinities, which would prove nothing.
    """
    for name, array in example.items():
        _refuse_odd(array, name, "the example")
    shapes: dict[str, list[int | str]] = {name: list(array.shape) for name, array in example.items()}
    sizes: dict[str, int] = {}
    for axis in dynamic:
        where = f"--dynamic {axis.input}:{axis.axis}={axis.name}"
        if axis.input not in shapes:
            raise UsageError(f"no input {axis.input!r}", where, f"the inputs are {', '.join(shapes)}")
        if axis.axis >= len(shapes[axis.input]):
            raise UsageError(f"{axis.input} has no axis {axis.axis}", where, f"it is {describe(example[axis.input])}")
        size = example[axis.input].shape[axis.axis]
        if sizes.setdefault(axis.name, size) != size:
            raise UsageError(
                f"{axis.name} is {sizes[axis.name]} and {size} in the example", where, "equal names are equal sizes"
            )
        if not axis.allows(size):
            raise UsageError(
                f"the example has {axis.name}={size}, outside of {describe_limits(axis)}", where, "change one of them"
            )
        shapes[axis.input][axis.axis] = axis.name
    return tuple(Port(name=name, dtype=array.dtype.name, shape=tuple(shapes[name])) for name, array in example.items())


def make_cases(
    example: Mapping[str, Array],
    ports: Sequence[Port],
    dynamic: Sequence[DynamicAxis],
    *,
    seed: int,
    data: Sequence[tuple[str, Mapping[str, Array]]] = (),
) -> tuple[Case, ...]:
    """Return the cases: the example, five kinds of its shape, every size of every dynamic dimension, the user's data.

    Integers stay within what the example shows (from 0): they are mostly indices. Booleans are random.
    """
    random = np.random.default_rng(seed)
    found = [Case(REAL, dict(example), {})]
    shapes = {port.name: example[port.name].shape for port in ports}
    found += [
        Case(kind, {name: _made(kind, example[name], shapes[name], random) for name in shapes}, {})
        for kind in ("normal", "uniform", "zeros", "large", "small")
    ]
    for name, sizes in _sizings(example, ports, dynamic):
        kind = "normal" if len(found) % 2 else "uniform"
        inputs = {
            port.name: _made(kind, example[port.name], _sized(port, example[port.name].shape, sizes), random)
            for port in ports
        }
        found.append(Case(name, inputs, sizes))
    found += [Case(name, _fitting(arrays, ports, name), {}) for name, arrays in data]
    return tuple(found)


def read_data(path: Path) -> tuple[tuple[str, Mapping[str, Array]], ...]:
    """Return real inputs: an ``.npz`` is one case, a folder is one for each ``.npz`` in it, by name."""
    if path.is_dir():
        files = sorted(path.glob("*.npz"))[:MAX_DATA_FILES]
        if not files:
            raise InputError("no .npz file in it", str(path), "save inputs by name: numpy.savez(FILE, image=array)")
    else:
        files = [path]
    return tuple((f"{DATA}{file.stem}", npz.read(file)) for file in files)


def made_example(specs: Sequence[TensorSpec], *, seed: int) -> dict[str, Array]:
    """Return arrays for described inputs: normal floats; integers and booleans of 0 and 1, which every index has."""
    random = np.random.default_rng(seed)
    if len({spec.name for spec in specs}) != len(specs):
        raise UsageError("an input is described twice", "--example", "describe each input once")
    return {
        spec.name: random.standard_normal(spec.shape).astype(spec.dtype)
        if np.dtype(spec.dtype).kind == "f"
        else random.integers(0, 2, spec.shape).astype(spec.dtype)
        for spec in specs
    }


def sizes_of(cases: Sequence[Case], port: Port) -> tuple[tuple[str, tuple[int, ...]], ...] | None:
    """Return the sizes that each dynamic dimension of an input had over all cases, or None without one."""
    found = {
        name: tuple(sorted({case.inputs[port.name].shape[axis] for case in cases}))
        for axis, name in enumerate(port.shape)
        if isinstance(name, str)
    }
    return tuple(found.items()) or None


def _sizings(
    example: Mapping[str, Array], ports: Sequence[Port], dynamic: Sequence[DynamicAxis]
) -> Iterator[tuple[str, dict[str, int]]]:
    """Yield a name and the sizes of all dynamic dimensions, for each size of each of them.

    While one goes through its sizes the others turn at another pace, so that no two always agree: a model that mixes
    two dimensions up would otherwise pass.
    """
    axes = {axis.name: axis for axis in dynamic}
    shown = {
        name: size
        for port in ports
        for name, size in zip(port.shape, example[port.name].shape, strict=True)
        if isinstance(name, str)
    }
    choices = {name: _choices(axis, shown[name]) for name, axis in axes.items()}
    for turn, name in enumerate(axes):
        for index, size in enumerate(choices[name]):
            sizes = {
                other: choices[other][(index + 1 + turn + place) % len(choices[other])]
                for place, other in enumerate(axes)
            }
            sizes[name] = size
            yield "-".join((name, str(size))), sizes


def _choices(axis: DynamicAxis, shown: int) -> tuple[int, ...]:
    least = -(-axis.low // axis.step) * axis.step
    sizes = {size for size in SIZES if axis.allows(size)}
    sizes |= {size for size in (least, least + axis.step, least + 2 * axis.step) if axis.allows(size)}
    sizes |= {size for size in (axis.high,) if size is not None}
    if max(sizes) <= shown and axis.allows(shown + axis.step):
        sizes.add(shown + axis.step)  # one that the exporter has not seen
    return tuple(sorted(sizes))


def _sized(port: Port, shape: tuple[int, ...], sizes: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(sizes[name] if isinstance(name, str) else size for name, size in zip(port.shape, shape, strict=True))


def _made(kind: str, like: Array, shape: tuple[int, ...], random: np.random.Generator) -> Array:
    if like.dtype.kind == "b":
        return random.integers(0, 2, shape).astype(np.bool_)
    if like.dtype.kind in "iu":
        low, high = (int(like.min()), int(like.max())) if like.size else (0, 0)
        if kind == "zeros" and low <= 0 <= high:
            return np.zeros(shape, like.dtype)
        return random.integers(min(low, 0), high, shape, dtype=np.int64, endpoint=True).astype(like.dtype)
    if kind == "zeros":
        return np.zeros(shape, like.dtype)
    if kind == "uniform":
        return random.uniform(0, 1, shape).astype(like.dtype)
    scale = {"normal": 1.0, "large": LARGE, "small": SMALL}[kind]
    return np.asarray(random.standard_normal(shape) * scale).astype(like.dtype)


def _fitting(arrays: Mapping[str, Array], ports: Sequence[Port], name: str) -> dict[str, Array]:
    # a golden case serves too: keys input/NAME beside output/NAME; what else a file holds (labels) is left
    named = {key.removeprefix("input/"): array for key, array in arrays.items()}
    if set(arrays) == {""} and len(ports) == 1:
        named = {ports[0].name: arrays[""]}
    sizes: dict[str, int] = {}
    for port in ports:
        array = named.get(port.name)
        if array is None:
            raise InputError(
                f"no array {port.name!r}", f"--data ({name})", f"it holds {', '.join(arrays) or 'nothing'}"
            )
        fits = array.dtype.name == port.dtype and array.ndim == len(port.shape)
        for size, wanted in zip(array.shape, port.shape, strict=False):
            fits &= size == (sizes.setdefault(wanted, size) if isinstance(wanted, str) else wanted)
        if not fits:
            raise InputError(
                f"{port.name} is {describe(array)}, the model takes {port}",
                f"--data ({name})",
                "save it as the model takes it",
            )
        _refuse_odd(array, port.name, f"--data ({name})")
    return {port.name: named[port.name] for port in ports}


def _refuse_odd(array: Array, name: str, where: str) -> None:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InputError(
            f"{name} holds NaN or infinities", where, "nothing can be proven with them: give finite values"
        )
    if array.size == 0:
        raise InputError(
            f"{name} is empty, {describe(array)}", where, "nothing can be proven with it: give one element or more"
        )
