"""The inputs that a model is verified with: several kinds, several sizes. Pure numpy.

Tracing freezes what its example decided, so one input proves nothing: a wrong branch shows with other values, a
frozen size with other sizes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_runtime import npz
from edge_runtime.errors import InputError, UsageError
from edge_runtime.manifest import Port
from edge_runtime.npz import Array
from edge_runtime.tolerance import describe
from export_tools import sizings
from export_tools.request import DynamicAxis, TensorSpec, ValueRange, describe_limits

REAL = "real"  # the example itself; always the first case
DATA = "data-"  # what the names of the user's own cases begin with
# What a shape is filled with; "low" and its two followers only where a range says what lowest and highest are
KINDS, ENDS = ("normal", "uniform", "zeros", "ones", "large", "small"), ("low", "high", "alternating")
WIDE = ("uniform", "large")  # the kinds whose integers go beyond what the example shows, unless a range is declared
FEW_INTEGERS = 9  # an example of zeros, as people write it, shows nothing of the range: try a few more values
LARGE, SMALL = 100.0, 1e-3
MAX_DATA_FILES = 64


@dataclass(frozen=True, slots=True)
class Case:
    """One input by name. sizes: of the dynamic dimensions when the case was made for them, else empty.

    follows: a step of a sequence (`sequences`), whose state is what the case before it left, in each engine its own.
    """

    name: str
    inputs: Mapping[str, Array]
    sizes: Mapping[str, int]
    follows: bool = False


def ports_of(
    example: Mapping[str, Array], dynamic: Sequence[DynamicAxis], ranges: Sequence[ValueRange] = ()
) -> tuple[Port, ...]:
    """Return the inputs as ports, with the dynamic dimensions by name and the declared ranges of their values.

    Raises UsageError for an axis that isn't there, sizes of one name that differ or lie out of their range, a range
    that its input can't have, and InputError for an example with NaN or infinities, which would prove nothing.
    """
    for name, array in example.items():
        _refuse_odd(array, name, "the example")
    shapes: dict[str, list[int | str]] = {name: list(array.shape) for name, array in example.items()}
    sizes: dict[str, tuple[int, str]] = {}
    for axis in dynamic:
        where = f"--dynamic {axis.input}:{axis.axis}={axis.name}"
        if axis.input not in shapes:
            raise UsageError(f"no input {axis.input!r}", where, f"the inputs are {', '.join(shapes)}")
        if axis.axis >= len(shapes[axis.input]):
            raise UsageError(f"{axis.input} has no axis {axis.axis}", where, f"it is {describe(example[axis.input])}")
        size = example[axis.input].shape[axis.axis]
        known, owner = sizes.setdefault(axis.name, (size, f"{axis.input}:{axis.axis}"))
        if known != size:
            raise UsageError(
                f"{axis.name} is {known} in the example at {owner}, and {size} at {axis.input}:{axis.axis}",
                where,
                "equal names are equal sizes: give them two names, or an example that fits",
            )
        if not axis.allows(size):
            raise UsageError(
                f"the example has {axis.name}={size}, outside of {describe_limits(axis)}", where, "change one of them"
            )
        shapes[axis.input][axis.axis] = axis.name
    declared = {given.input: _checked(given, example) for given in ranges}
    return tuple(
        Port(name=name, dtype=array.dtype.name, shape=tuple(shapes[name]), ranges=declared.get(name))
        for name, array in example.items()
    )


def make_cases(
    example: Mapping[str, Array],
    ports: Sequence[Port],
    dynamic: Sequence[DynamicAxis],
    *,
    seed: int,
    data: Sequence[tuple[str, Mapping[str, Array]]] = (),
) -> tuple[tuple[Case, ...], tuple[str, ...]]:
    """Return the cases, and what was too large to become one.

    The example, the user's data, then `KINDS` of the example's shape (and `ENDS` where a range is declared), then
    normal and uniform values at the sizes of `sizings.plan`. Values stay within the declared range of their input.
    Without one, integers stay within what the example shows (from 0), since they are mostly indices, but for the cases
    "uniform" (a few values more) and "large" (a hundred times more), which a module may refuse. Booleans are all
    false in "zeros" and "low", all true in "ones" and "high", else random.
    """
    random = np.random.default_rng(seed)
    found = [Case(REAL, dict(example), {})]
    # right after the example: of the cases that an artifact has room for, a user's own are worth most
    found += [Case(name, _fitting(arrays, ports, name), {}) for name, arrays in data]
    kinds = (*KINDS, *(ENDS if any(port.ranges is not None for port in ports) else ()))
    found += [
        Case(kind, {p.name: _made(kind, p, example[p.name], example[p.name].shape, random) for p in ports}, {})
        for kind in kinds
    ]
    planned = plan_sizes(example, ports, dynamic)
    for sizes in planned.rows:
        kind = "normal" if len(found) % 2 else "uniform"
        inputs = {
            port.name: _made(
                kind, port, example[port.name], sized(port, example[port.name].shape, sizes), random, wide=False
            )
            for port in ports
        }
        found.append(Case(_name_of(sizes), inputs, sizes))
    return tuple(found), planned.told


def plan_sizes(example: Mapping[str, Array], ports: Sequence[Port], dynamic: Sequence[DynamicAxis]) -> sizings.Plan:
    """Return the sizes of all dynamic dimensions to verify at."""
    shown = {
        name: size
        for port in ports
        for name, size in zip(port.shape, example[port.name].shape, strict=True)
        if isinstance(name, str)
    }
    if not dynamic:
        return sizings.Plan((), ())

    def elements(sizes: Mapping[str, int]) -> int:
        return sum(math.prod(sized(port, example[port.name].shape, sizes)) for port in ports)

    return sizings.plan(dynamic, shown, elements)


def sized(port: Port, shape: tuple[int, ...], sizes: Mapping[str, int]) -> tuple[int, ...]:
    """Return the shape of an input with its dynamic dimensions at `sizes`."""
    return tuple(sizes[name] if isinstance(name, str) else size for name, size in zip(port.shape, shape, strict=True))


def read_data(path: Path) -> tuple[tuple[str, Mapping[str, Array]], ...]:
    """Return real inputs: an ``.npz`` is one case, a folder is one for each ``.npz`` in it, by name."""
    if path.is_dir():
        files = sorted(path.glob("*.npz"))
        if not files:
            raise InputError("no .npz file in it", str(path), "save inputs by name: numpy.savez(FILE, image=array)")
        if len(files) > MAX_DATA_FILES:
            raise InputError(
                f"{len(files)} .npz files in it",
                str(path),
                f"give a choice of at most {MAX_DATA_FILES}",
            )
    else:
        files = [path]
    return tuple((f"{DATA}{index}-{_plain(file.stem)}", npz.read(file)) for index, file in enumerate(files))


def _plain(stem: str) -> str:
    """Return a file's name as a part of a golden case's, which must be a plain path on every file system."""
    return "".join(letter if letter.isascii() and (letter.isalnum() or letter in "._-") else "_" for letter in stem)[
        :60
    ]


def made_example(specs: Sequence[TensorSpec], *, seed: int, ranges: Sequence[ValueRange] = ()) -> dict[str, Array]:
    """Return arrays for described inputs, within their declared ranges.

    Without a range: normal floats; integers and booleans of 0 and 1, which every index has.
    """
    random = np.random.default_rng(seed)
    if len({spec.name for spec in specs}) != len(specs):
        raise UsageError("an input is described twice", "--example", "describe each input once")
    declared = {given.input: (given.low, given.high) for given in ranges}
    found: dict[str, Array] = {}
    for spec in specs:
        ends = declared.get(spec.name)
        if np.dtype(spec.dtype).kind == "f":
            made = _floats("normal", ends, spec.shape, random)
        else:
            low, high = (0, 1) if ends is None else (int(ends[0]), int(ends[1]))
            made = random.integers(low, high, spec.shape, dtype=np.int64, endpoint=True)
        found[spec.name] = made.astype(spec.dtype)
    return found


def sizes_of(cases: Sequence[Case], port: Port) -> tuple[tuple[str, tuple[int, ...]], ...] | None:
    """Return the sizes that each dynamic dimension of an input had over all cases, or None without one."""
    found = {
        name: tuple(sorted({case.inputs[port.name].shape[axis] for case in cases}))
        for axis, name in enumerate(port.shape)
        if isinstance(name, str)
    }
    return tuple(found.items()) or None


def _name_of(sizes: Mapping[str, int]) -> str:
    if len(sizes) == 1:
        return "".join(f"size-{name}-{size}" for name, size in sizes.items())
    return "sizes-" + "x".join(map(str, sizes.values()))


def _checked(given: ValueRange, example: Mapping[str, Array]) -> tuple[float, float]:
    """Return the ends of a range that its input can have; raise UsageError."""
    where = f"--range {given.input}={given.low:g}..{given.high:g}"
    if given.input not in example:
        raise UsageError(f"no input {given.input!r}", where, f"the inputs are {', '.join(example)}")
    array = example[given.input]
    if array.dtype.kind == "b":
        raise UsageError(f"{given.input} is boolean, and needs no range", where, "leave it out")
    if array.dtype.kind == "f":
        fits = -float(np.finfo(array.dtype).max) <= given.low and given.high <= float(np.finfo(array.dtype).max)
    else:
        limits = np.iinfo(array.dtype)
        fits = given.low % 1 == 0 and given.high % 1 == 0
        fits = fits and int(limits.min) <= int(given.low) and int(given.high) <= int(limits.max)
    if not fits:
        raise UsageError(f"{given.input} is {array.dtype.name}, which can't be that", where, "give two of its values")
    _refuse_outside(array, given.input, (given.low, given.high), where, "the example")
    return given.low, given.high


def _refuse_outside(array: Array, name: str, ends: tuple[float, float], where: str, what: str) -> None:
    low, high = (array.dtype.type(end) for end in ends)
    if array.size and not (low <= array.min() and array.max() <= high):
        raise UsageError(
            f"{what} has {name} from {array.min():g} to {array.max():g}, outside of {ends[0]:g}..{ends[1]:g}",
            where,
            "change one of them: a range says which values are meant",
        )


def _made(
    kind: str, port: Port, like: Array, shape: tuple[int, ...], random: np.random.Generator, *, wide: bool = True
) -> Array:
    if like.dtype.kind == "b":
        if kind in {"zeros", "low", "ones", "high"}:
            return np.full(shape, kind in {"ones", "high"})
        return random.integers(0, 2, shape).astype(np.bool_)
    if like.dtype.kind in "iu":
        return _integers(kind, _integer_ends(kind, port, like, wide=wide), shape, random).astype(like.dtype)
    return _floats(kind, port.ranges, shape, random).astype(like.dtype)


def _integers(kind: str, ends: tuple[int, int], shape: tuple[int, ...], random: np.random.Generator) -> Array:
    low, high = ends
    if kind in {"zeros", "ones"}:
        return np.full(shape, min(max(int(kind == "ones"), low), high))
    if kind in ENDS:
        return _at_ends(kind, ends, shape)
    values = np.asarray(random.integers(low, high, shape, dtype=np.int64, endpoint=True))
    if kind == "uniform" and values.size:
        values.flat[0], values.flat[-1] = low, high  # both ends: an index beyond a table is off by one
    return values


def _integer_ends(kind: str, port: Port, like: Array, *, wide: bool) -> tuple[int, int]:
    if port.ranges is not None:
        return int(port.ranges[0]), int(port.ranges[1])
    low, high = (int(like.min()), int(like.max())) if like.size else (0, 0)
    if wide and kind in WIDE:
        high = min(max(high * int(LARGE), FEW_INTEGERS) if kind == "large" else max(high, FEW_INTEGERS), _top(like))
    return min(low, 0), high


def _floats(kind: str, ends: tuple[float, float] | None, shape: tuple[int, ...], random: np.random.Generator) -> Array:
    """Return float64 values. With a range: around its middle, a quarter of it wide, and clipped into it."""
    if kind in {"zeros", "ones"}:
        made = np.full(shape, float(kind == "ones"))
    elif kind in ENDS and ends is not None:
        made = _at_ends(kind, ends, shape)
    elif kind == "uniform":
        made = random.uniform(*(ends or (0.0, 1.0)), shape)
    else:
        scale = {"large": LARGE, "small": SMALL}.get(kind, 1.0)
        made = np.asarray(random.standard_normal(shape) * scale)
        if ends is not None:
            centre = 0.0 if kind == "small" else (ends[0] + ends[1]) / 2
            made = centre + made * (ends[1] - ends[0]) / 4
    return np.asarray(made if ends is None else np.clip(made, *ends))


def _at_ends(kind: str, ends: tuple[float, float], shape: tuple[int, ...]) -> Array:
    if kind != "alternating":
        return np.full(shape, ends[ENDS.index(kind)])
    return np.asarray(np.where(np.arange(math.prod(shape)).reshape(shape) % 2, ends[1], ends[0]))


def _top(like: Array) -> int:
    return min(int(np.iinfo(like.dtype).max), 2**62)


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
        if port.ranges is not None:
            _refuse_outside(array, port.name, port.ranges, f"--data ({name})", "the data")
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
