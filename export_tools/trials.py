"""More inputs, one at a time: a search for one that fails when all cases have passed, and a small one of one that does.

Both are deterministic and bounded by counts, not by time: the same export tries the same inputs on every machine.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_runtime.errors import EdgeError
from edge_runtime.manifest import Port
from edge_runtime.npz import Array
from export_tools.cases import Case, sized
from export_tools.errors import SourceError, SourceLost, depends_on_values
from export_tools.noise import Answers, Granted, Profile
from export_tools.reference import Opened, answer_case
from export_tools.request import DynamicAxis
from export_tools.sizings import CHEAP_ELEMENTS
from export_tools.torch_process import TorchProcess
from export_tools.verify import Row, Runner, Tied, judged

SEARCHED, MAX_SEARCHED_ELEMENTS = 24, 1 << 23
MAX_KNOWN_BYTES = 2**21  # of an answer that is kept for the next graph: all of them together stay below 50 MiB
SHRINKING = 80  # trials that a failing input is worth: seconds, even for a large network
FEW_SIZES = 64
OFTEN = 0.6  # how often a searched input has the sizes of the example, the rest have other ones

Inputs = Mapping[str, Array]
Known = dict[str, Answers | None]


@dataclass(frozen=True, slots=True)
class Trial:
    """Judges any input: what the module's process answers against what one graph does.

    precise: there are float64 answers to what float32 alone does not excuse.   known: answers by the names of inputs,
    which another graph is held against too.
    """

    opened: Opened
    reference: TorchProcess
    work: Path
    run: Runner
    graph: str
    profile: Profile
    precise: bool
    tied: Tied
    where: str
    allow_frozen: bool = False
    known: "Known | None" = None

    def __call__(self, inputs: Inputs, *, name: str = "trial") -> Row | None:
        """Return the worst output that is wrong, or None: all are right, or the module itself refuses the input.

        Raises ParityLost when the input takes another path through forward than another of its sizes.
        """
        case = Case(name, inputs, {})
        answers = self._answered(case)
        if answers is None:
            return None
        try:
            got: Mapping[str, Array] | EdgeError = self.run(case)
        except EdgeError as problem:
            got = problem
        # what float64 shows can only grant more: where float32 alone grants enough, it need not be asked
        row = self._worst(case, answers, got, self.profile.grants(answers))
        if row is None or not self.precise:
            return row
        answers, _ = answer_case(case, self.opened, self.reference, self.work / "trial")
        return self._worst(case, answers, got, self.profile.including(answers).grants(answers))

    def _answered(self, case: Case) -> Answers | None:
        """Return the module's float32 answers; None where it refuses the input or takes a path that isn't exported."""
        if self.known is not None and case.name in self.known:
            return self.known[case.name]
        watched = "numbers" if self.allow_frozen else "path"
        stem = self.work / "trial"
        found: Answers | None = None
        try:
            found, told = answer_case(case, self.opened, self.reference, stem, compare=watched, precisely=False)
        except SourceLost:
            raise
        except SourceError:
            told = {"branch": None}
        if told["branch"] is not None:
            if not self.allow_frozen:
                raise depends_on_values(told["branch"], self.where, case.name, nested=told["nested"])
            found = None
        small = found is None or sum(array.nbytes for array in found.plain.values()) <= MAX_KNOWN_BYTES
        if self.known is not None and small:
            self.known[case.name] = found
        return found

    def _worst(
        self, case: Case, answers: Answers, got: Mapping[str, Array] | EdgeError, granted: Mapping[str, Granted]
    ) -> Row | None:
        if isinstance(got, EdgeError):
            return Row.failed(case, next(iter(granted)), granted, f"onnxruntime fails: {got.what}", self.graph)
        rows = [
            judged(case, output, got[output], answers.plain[output], granted[output], self.graph, self.tied)
            for output in granted
        ]
        return max((row for row in rows if not row.difference.ok), key=lambda row: row.difference.ratio, default=None)


def at_sizes(
    example: Inputs, ports: Sequence[Port], dynamic: Sequence[DynamicAxis], decisive: Sequence[int], *, seed: int
) -> Iterator[Case]:
    """Yield inputs at the sizes that a forward decides by, and beside them: each dimension by itself, as allowed.

    Of a dimension that may have few sizes (`FEW_SIZES`), and small inputs at all of them, every one.
    """
    shown = {
        name: size
        for port in ports
        for name, size in zip(port.shape, example[port.name].shape, strict=True)
        if isinstance(name, str)
    }
    for name, axis in {axis.name: axis for axis in dynamic}.items():
        near = {size + step for size in decisive for step in (-axis.step, 0, axis.step)}
        for size in sorted(one for one in near | _every(axis, shown, example, ports) if axis.allows(one)):
            sizes = {**shown, name: size}
            shapes = {port.name: sized(port, example[port.name].shape, sizes) for port in ports}
            random = np.random.default_rng(
                [seed, size]
            )  # of its own: the same name is the same input, whatever else is tried
            if sum(map(math.prod, shapes.values())) <= MAX_SEARCHED_ELEMENTS:
                made = {port.name: _values(port, example[port.name], shapes[port.name], random) for port in ports}
                yield Case(f"decisive-{name}-{size}", made, {name: size})


def _every(axis: DynamicAxis, shown: Mapping[str, int], example: Inputs, ports: Sequence[Port]) -> set[int]:
    """Return all sizes of a dimension, where they are few and cheap: a table of sizes in forward hides nowhere."""
    if axis.high is None or (axis.high - axis.low) // axis.step >= FEW_SIZES:
        return set()
    every = range(axis.low, axis.high + 1, axis.step)
    elements = sum(
        math.prod(sized(port, example[port.name].shape, {**shown, axis.name: size})) for size in every for port in ports
    )
    return set(every) if elements <= MAX_SEARCHED_ELEMENTS else set()


def searched(example: Inputs, ports: Sequence[Port], dynamic: Sequence[DynamicAxis], *, seed: int) -> Iterator[Case]:
    """Yield inputs of other styles than the cases': sparse, constant, heavy-tailed, of mixed magnitudes.

    `SEARCHED` of them at most, `MAX_SEARCHED_ELEMENTS` elements in all; sizes and values within what was declared.
    """
    random = np.random.default_rng([seed, SEARCHED])
    spent = 0
    for index in range(SEARCHED):
        sizes = None if random.random() < OFTEN else _sizes(dynamic, random)
        shapes = {
            port.name: example[port.name].shape if sizes is None else sized(port, example[port.name].shape, sizes)
            for port in ports
        }
        elements = sum(map(math.prod, shapes.values()))
        if elements > CHEAP_ELEMENTS and sizes is not None:
            continue
        spent += elements
        if spent > MAX_SEARCHED_ELEMENTS:
            return
        made = {port.name: _values(port, example[port.name], shapes[port.name], random) for port in ports}
        yield Case(f"search-{index}", made, {})


def shrink(
    inputs: Inputs,
    ports: Sequence[Port],
    dynamic: Sequence[DynamicAxis],
    fails: Callable[[Inputs], bool],
    *,
    budget: int = SHRINKING,
) -> dict[str, Array]:
    """Return the smallest input found that still fails: smaller sizes, then fewer values, then simpler ones.

    At most `budget` inputs are tried. What is left out of an input becomes 0, or the end of its range next to it.
    """
    found = dict(inputs)
    for step in (_smaller, _emptier, _simpler):
        for change in step(ports, dynamic):
            candidate = change(found)
            if candidate is None or all(np.array_equal(candidate[name], found[name]) for name in found):
                continue
            if not budget:
                return found
            budget -= 1
            if fails(candidate):
                found = candidate
    return found


Change = Callable[[dict[str, Array]], dict[str, Array] | None]


def _smaller(ports: Sequence[Port], dynamic: Sequence[DynamicAxis]) -> Iterator[Change]:
    for name, axis in {axis.name: axis for axis in dynamic}.items():
        for part in (0.0, 0.25, 0.5, 0.75):
            yield lambda found, name=name, axis=axis, part=part: _cut(found, ports, name, axis, part)  # type: ignore[misc]


def _cut(found: Inputs, ports: Sequence[Port], name: str, axis: DynamicAxis, part: float) -> dict[str, Array] | None:
    now = next(found[p.name].shape[p.shape.index(name)] for p in ports if name in p.shape)
    least = -(-axis.low // axis.step) * axis.step
    size = least + math.floor((now - least) * part / axis.step) * axis.step
    if not least <= size < now:
        return None
    cut = dict(found)
    for port in ports:
        where = tuple(slice(size) if dimension == name else slice(None) for dimension in port.shape)
        cut[port.name] = found[port.name][where]
    return cut


def _emptier(ports: Sequence[Port], _dynamic: Sequence[DynamicAxis]) -> Iterator[Change]:
    for parts in (1, 2, 4, 8):
        for port in ports:
            for part in range(parts):
                yield lambda found, port=port, part=part, parts=parts: _emptied(found, port, part, parts)  # type: ignore[misc]


def _emptied(found: Inputs, port: Port, part: int, parts: int) -> dict[str, Array]:
    array = found[port.name].copy()
    flat = array.reshape(-1)
    live = np.flatnonzero(flat != _quiet(port, array))
    # of what is still there, not of all: eighths of a single row would otherwise miss it
    chosen = np.array_split(live, parts)[part]
    flat[chosen] = _quiet(port, array)
    return {**found, port.name: array}


def _simpler(ports: Sequence[Port], _dynamic: Sequence[DynamicAxis]) -> Iterator[Change]:
    for simple in (np.sign, np.round, lambda array: np.round(array, 1)):
        for port in ports:
            yield lambda found, port=port, simple=simple: _rounded(found, port, simple)  # type: ignore[misc]


def _rounded(found: Inputs, port: Port, simple: Callable[[Array], Array]) -> dict[str, Array] | None:
    array = found[port.name]
    if array.dtype.kind != "f":
        return None
    rounded = simple(array)
    if port.ranges is not None:
        rounded = np.clip(rounded, *port.ranges)
    return {**found, port.name: np.asarray(rounded, array.dtype)}


def _quiet(port: Port, array: Array) -> Array:
    low, high = port.ranges or (0.0, 0.0)
    return np.asarray(min(max(0.0, low), high)).astype(array.dtype)


def _sizes(dynamic: Sequence[DynamicAxis], random: np.random.Generator) -> dict[str, int]:
    found: dict[str, int] = {}
    for axis in dynamic:
        least = -(-axis.low // axis.step)
        most = (axis.high or axis.step * max(least, 64)) // axis.step
        # evenly over the magnitudes: most faults of sizes show at small ones
        found[axis.name] = axis.step * int(least * (most / least) ** random.random())
    return found


def _values(port: Port, like: Array, shape: tuple[int, ...], random: np.random.Generator) -> Array:
    if like.dtype.kind == "b":
        return np.asarray(random.random(shape) < random.random())
    if like.dtype.kind in "iu":
        low, high = (0, int(like.max())) if port.ranges is None else (int(port.ranges[0]), int(port.ranges[1]))
        low = min(low, int(like.min())) if port.ranges is None else low
        top = random.integers(low, high, dtype=np.int64, endpoint=True)
        return np.asarray(random.integers(low, top, shape, dtype=np.int64, endpoint=True)).astype(like.dtype)
    style = random.integers(4)
    if style == 0:
        made = random.standard_normal(shape) * (random.random(shape) < 0.1)  # noqa: PLR2004 - sparse
    elif style == 1:
        made = np.full(shape, random.standard_normal())
    elif style == 2:  # noqa: PLR2004 - as the others, a style
        made = np.clip(random.standard_cauchy(shape), -1e3, 1e3)
    else:
        made = np.sort(random.standard_normal(math.prod(shape))).reshape(shape)
    if port.ranges is None:
        return np.asarray(made * 10.0 ** random.uniform(-3, 2)).astype(like.dtype)
    least, most = port.ranges
    return np.clip(least + (most - least) * (random.random() + made / 4), least, most).astype(like.dtype)
