"""Which sizes the dynamic dimensions are tried at: each over its range, every two of them in all their pairs.

The full product of the sizes grows with the power of the number of dimensions; that every pair of sizes of any two
dimensions appears somewhere finds what mixes two of them up, at a few dozen cases. Pure Python.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from export_tools.request import DynamicAxis

SIZES = (1, 2, 3, 7, 17)  # one, even, odd, prime, and one that is larger than most vectors of a CPU
# A dimension without a stated end is said to take any size, so larger ones are tried too, as far as they are cheap
LARGER_SIZES, CHEAP_ELEMENTS = (33, 130), 1 << 20
MAX_PAIRED = 5  # sizes of one dimension among several: 25 pairs of any two, in 25 to 40 cases
# 64 MiB of float32 in one case and 128 MiB in all of them, which PyTorch runs in float32 and float64
MAX_CASE_ELEMENTS, MAX_ELEMENTS = 1 << 24, 1 << 25

Sizes = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Plan:
    """The sizes to try, and how many combinations were too large to be tried, each with an example in `told`."""

    rows: tuple[Sizes, ...]
    told: tuple[str, ...]


def plan(axes: Sequence[DynamicAxis], shown: Sizes, elements: Callable[[Sizes], int]) -> Plan:
    """Return the combinations of sizes to verify at.

    shown: each dimension's size in the example.   elements: how many elements all inputs have at some sizes.
    One dimension goes through up to eight sizes of its range, its least and its declared maximum included; several go
    through up to five each, and every two sizes of any two of them appear together. A combination beyond
    `MAX_CASE_ELEMENTS`, and what exceeds `MAX_ELEMENTS` in all, is left out and told.
    """
    named = {axis.name: axis for axis in axes}
    choices = {name: _choices(axis, shown[name], elements(shown) // shown[name]) for name, axis in named.items()}
    if len(choices) > 1:
        choices = {name: _thinned(sizes) for name, sizes in choices.items()}
    rows, too_large = _covering(choices, elements)
    kept = _affordable(rows, choices, elements)
    left = [*too_large, *(row for row in rows if row not in kept)]
    if not left:
        return Plan(tuple(rows), ())
    largest = max(left, key=elements)
    told = (
        f"{len(left)} combinations of sizes are left out for being too large, up to {describe(largest)} "
        f"({elements(largest):,} elements): prove them with --data"
    )
    return Plan(tuple(kept), (told,))


def describe(sizes: Sizes) -> str:
    """Return sizes as people read them: ``batch=3, height=224``."""
    return ", ".join(f"{name}={size}" for name, size in sizes.items())


def _choices(axis: DynamicAxis, shown: int, elements: int) -> tuple[int, ...]:
    least = -(-axis.low // axis.step) * axis.step
    sizes = {size for size in SIZES if axis.allows(size)}
    sizes |= {size for size in (least, least + axis.step, least + 2 * axis.step) if axis.allows(size)}
    sizes |= {size for size in (axis.high,) if size is not None}
    if axis.high is None:
        sizes |= {size for size in LARGER_SIZES if axis.allows(size) and size * elements <= CHEAP_ELEMENTS}
    if max(sizes) <= shown and axis.allows(shown + axis.step):
        sizes.add(shown + axis.step)  # one that the exporter has not seen
    return tuple(sorted(sizes))


def _thinned(sizes: tuple[int, ...]) -> tuple[int, ...]:
    if len(sizes) <= MAX_PAIRED:
        return sizes
    return (*sizes[:2], sizes[len(sizes) // 2], *sizes[-2:])


def _covering(
    choices: Mapping[str, Sequence[int]], elements: Callable[[Sizes], int]
) -> tuple[list[Sizes], list[Sizes]]:
    """Return rows in which every pair of sizes of two dimensions appears, and the pairs that no row can afford."""
    rows: list[Sizes] = []
    too_large: list[Sizes] = []
    missing = dict.fromkeys(_pairs(choices))  # a dict keeps the order, so that the same request gives the same rows
    least = {name: sizes[0] for name, sizes in choices.items()}
    while missing:
        wanted = dict(next(iter(missing)))
        cheapest = {name: wanted.get(name, size) for name, size in least.items()}
        if elements(cheapest) > MAX_CASE_ELEMENTS:
            too_large.append(cheapest)
            del missing[tuple(wanted.items())]
            continue
        row = dict(cheapest)
        for name in [name for name in choices if name not in wanted]:
            # by what it covers, then by size: a pair that nothing else needs goes into a small case
            row[name] = max(
                (size for size in choices[name] if elements({**row, name: size}) <= MAX_CASE_ELEMENTS),
                key=lambda size: (len(missing.keys() & _pairs_of({**row, name: size})), -size),
            )
        rows.append(row)
        for pair in _pairs_of(row):
            missing.pop(pair, None)
    return rows, too_large


def _pairs(choices: Mapping[str, Sequence[int]]) -> Iterator[tuple[tuple[str, int], ...]]:
    if len(choices) == 1:
        yield from (((name, size),) for name, sizes in choices.items() for size in sizes)
    for one, other in combinations(choices, 2):
        yield from (((one, size), (other, second)) for size in choices[one] for second in choices[other])


def _pairs_of(row: Sizes) -> set[tuple[tuple[str, int], ...]]:
    return set(combinations(row.items(), min(2, len(row))))


def _affordable(
    rows: Sequence[Sizes], choices: Mapping[str, Sequence[int]], elements: Callable[[Sizes], int]
) -> list[Sizes]:
    """Return the rows within `MAX_ELEMENTS`: the cheapest that shows each dimension's largest size, then by cost."""
    by_cost = sorted(rows, key=elements)
    ends = [
        next(row for row in by_cost if row[name] == sizes[-1])
        for name, sizes in choices.items()
        if any(row[name] == sizes[-1] for row in rows)
    ]
    spent = 0
    kept: list[Sizes] = []
    for row in (*ends, *by_cost):
        if row not in kept and spent + elements(row) <= MAX_ELEMENTS:
            kept.append(row)
            spent += elements(row)
    return [row for row in rows if row in kept]
