"""Where an exported graph leaves the module: the first operator whose result departs, by comparing what flows through.

The module tells the fingerprint of every operator's result, with the line of the user's code (`op_values`). The graph
as written, unoptimised, is asked for every value in it. No exporter has to tell which node came of which operator: a
value of the module that is nowhere in the graph was computed otherwise there, or was merged into a later one.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from edge_runtime import files, npz, session
from edge_runtime.errors import EdgeError
from edge_runtime.npz import Array
from export_tools.errors import SourceError
from export_tools.fingerprint import Fingerprint, fingerprint
from export_tools.torch_process import TorchProcess
from export_tools.verify import Failing

# Values inside a network are held together more loosely than its outputs, whose tolerance was derived: at a quarter
# of what the output is off by, and at a thousandth where it is off by more than that
SHARE, LOOSEST, TIGHTEST = 0.25, 1e-3, 1e-5
AT_ONCE = 32  # values asked of onnxruntime in one run: what bounds the memory
MAX_LISTING_BYTES = 2**24
NOWHERE = "?"  # what `op_trace` calls a place without a line of the user's code
INPUT = -1  # the place of a value that the model was given


@dataclass(frozen=True, slots=True)
class Operator:
    """One result of one operator of the module, as its process told it.

    parents: the results it came of, `INPUT` for the model's own inputs.   low, high: of what it was given.
    """

    kind: str
    place: str
    parents: tuple[int, ...]
    low: float
    high: float
    print: Fingerprint


@dataclass(frozen=True, slots=True)
class Node:
    """The node of the graph where it departs. low, high: of what it was given and depends on the input."""

    kind: str
    name: str
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Departure:
    """The first operator of the module whose result is nowhere in the graph, and the node that stands in its place."""

    operator: Operator
    node: Node | None

    def __str__(self) -> str:
        operator, node = self.operator, self.node
        told = (
            f"the first operator that departs is {operator.kind.removesuffix('.default')} {_at(operator.place)} "
            f"(inputs from {operator.low:.4g} to {operator.high:.4g})"
        )
        if node is None:
            return told
        return f"{told}, in the graph {node.kind} {node.name!r} (inputs from {node.low:.4g} to {node.high:.4g})"


def _at(place: str) -> str:
    # a module that is torch's own throughout (nn.Sequential), or what --preprocess put around it, has no line to name
    return "in torch's own layers or in the steps folded in" if place == NOWHERE else f"at {place}"


def find(failing: Failing, reference: TorchProcess, outputs: Sequence[str], *, work: Path) -> Departure | None:
    """Return where the graph leaves the module for a failing case, or None when it can't be told.

    Raises nothing of its own: a module that can't be watched, or a graph that can't run so, has no departure.
    """
    try:
        operators, made = _watched(failing.case.inputs, reference, work)
        graph = _Graph.of(failing.model, failing.case.inputs)
    except EdgeError:
        return None
    last = made[outputs.index(failing.row.output)]
    if last is None:
        return None
    largest = failing.row.difference.max_rel
    relative = min(LOOSEST, max(SHARE * largest, TIGHTEST)) if np.isfinite(largest) else LOOSEST
    by_size: dict[int, list[Fingerprint]] = {}
    for value in graph.values.values():
        by_size.setdefault(value.size, []).append(value)
    found = [_is_among(operator.print, by_size, relative) for operator in operators]
    # the output differs: that another value of a small input is the same, by chance, says nothing
    found[last] &= failing.row.difference.ok
    first = _frontier(last, found, [operator.parents for operator in operators])
    if first is None:
        return None
    of_module: dict[int, list[Fingerprint]] = {}
    for operator in operators:
        of_module.setdefault(operator.print.size, []).append(operator.print)
    return Departure(
        operators[first], graph.departs(failing.row.output, of_module, relative, differs=not failing.row.difference.ok)
    )


def _watched(
    inputs: Mapping[str, Array], reference: TorchProcess, work: Path
) -> tuple[list[Operator], list[int | None]]:
    given, arrays, listing = (work / f"watched-{part}" for part in ("inputs.npz", "values.npz", "listing.json"))
    npz.write(given, inputs)
    reference.ask({"do": "watch", "inputs": str(given), "arrays": str(arrays), "listing": str(listing)})
    made = [None if place is None else int(place) for place in reference.answer()["outputs"]]
    stacked = npz.read(arrays)
    told = json.loads(files.read_bytes(listing, limit_bytes=MAX_LISTING_BYTES, error=SourceError))
    for path in (given, arrays, listing):
        path.unlink()
    sizes = np.concatenate([[0], np.cumsum(stacked["sizes"])])
    return [
        Operator(
            one["kind"],
            one["place"],
            tuple(one["parents"]),
            one["low"],
            one["high"],
            Fingerprint(tuple(one["shape"]), stacked["samples"][sizes[i] : sizes[i + 1]], stacked["figures"][i]),
        )
        for i, one in enumerate(told)
    ], made


@dataclass(frozen=True, slots=True)
class _Graph:
    """A model's nodes, and the fingerprint of every value in it that depends on the input."""

    nodes: tuple[onnx.NodeProto, ...]
    inputs: frozenset[str]
    values: Mapping[str, Fingerprint]

    @classmethod
    def of(cls, model: Path, inputs: Mapping[str, Array]) -> "_Graph":
        proto = onnx.load(model, load_external_data=False)
        depends = set(inputs)
        names: list[str] = []
        for node in proto.graph.node:
            # what a branch or a loop takes from outside is not among its inputs
            if depends & {*node.input} or any(attribute.HasField("g") for attribute in node.attribute):
                depends |= {*node.output}
                names += [name for name in node.output if name]
        outputs = {value.name for value in proto.graph.output}
        proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in outputs)
        # beside the model: weights in files of their own are looked for there
        opened_up = model.with_name("watched.onnx")
        try:
            onnx.save(proto, opened_up)
            found = _values(opened_up, names, inputs)
        finally:
            opened_up.unlink(missing_ok=True)
        own = {name: fingerprint(array) for name, array in inputs.items()}
        return cls(tuple(proto.graph.node), frozenset(inputs), {**own, **found})

    def departs(
        self, output: str, of_module: Mapping[int, Sequence[Fingerprint]], relative: float, *, differs: bool
    ) -> Node | None:
        """Return the first node before an output that takes values of the module and gives one that is not.

        differs: the output itself is known to be none of the module's.
        """
        made = {name: index for index, node in enumerate(self.nodes) for name in node.output}
        found = [
            all(_is_among(self.values[name], of_module, relative) for name in node.output if name in self.values)
            for node in self.nodes
        ]
        parents = [tuple(made.get(name, INPUT) for name in node.input if name in self.values) for node in self.nodes]
        if output not in made:
            return None
        found[made[output]] &= not differs
        first = _frontier(made[output], found, parents)
        if first is None:
            return None
        node = self.nodes[first]
        given = [self.values[name].figures for name in node.input if name in self.values]
        low, high = (float(end) for end in (min(g[0] for g in given), max(g[1] for g in given))) if given else (0, 0)
        return Node(node.op_type, node.name, low, high)


def _values(model: Path, names: Sequence[str], inputs: Mapping[str, Array]) -> dict[str, Fingerprint]:
    opened = session.open_model(model, threads=1, where=model.name, optimised=True)
    found: dict[str, Fingerprint] = {}
    for start in range(0, len(names), AT_ONCE):
        asked = list(names[start : start + AT_ONCE])
        try:
            answers = session.run(opened, asked, inputs)
        except Exception as problem:  # noqa: BLE001 - sorted out by the door
            session.refuse(problem, model.name)
        # a sequence, or text, has no fingerprint
        plain = [
            (n, a) for n, a in zip(asked, answers, strict=True) if isinstance(a, np.ndarray) and a.dtype.kind in "biuf"
        ]
        found |= {name: fingerprint(array) for name, array in plain}
    return found


def _is_among(value: Fingerprint, others: Mapping[int, Sequence[Fingerprint]], relative: float) -> bool:
    return any(value.is_close(other, relative) for other in others.get(value.size, ()))


def _frontier(last: int, found: Sequence[bool], parents: Sequence[Sequence[int]]) -> int | None:
    """Return the earliest place, on the way back from `last` over what is not found, before which all is found."""
    waiting, seen, ends = [last], {last}, set[int]()
    while waiting:
        place = waiting.pop()
        if found[place]:
            continue
        missing = [parent for parent in parents[place] if parent != INPUT and not found[parent]]
        if not missing:
            ends.add(place)
        waiting += [parent for parent in missing if parent not in seen]
        seen |= {*missing}
    return min(ends, default=None)
