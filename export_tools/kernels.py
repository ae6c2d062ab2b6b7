"""Can a release of onnxruntime run a model: does it read the opset, and has it a CPU kernel for each operator.

The table, `kernels.json`, was asked of the released wheels themselves (`tools/collect_kernels.py` makes it anew). A
kernel counts for an operator as onnxruntime itself matches them: by the version of the operator that the model's opset
means, where a kernel without a last version serves its first one alone.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import PurePath
from typing import Any

import onnx
from onnx import TensorProto, defs

from export_tools import graph_file
from export_tools.errors import KernelMissing, OpsetUnavailable
from export_tools.releases import Release, releases, table

LEAST_OPSET = 7  # torch's exporters write nothing older
# Where torch's dynamo exporter keeps the line that an operator comes from
_TRACE = "pkg.torch.onnx.stack_trace"
_LINE = re.compile(r'File "([^"]+)", line (\d+)')


@dataclass(frozen=True, slots=True)
class _Kernel:
    """One kernel. last: of the operator's versions that it serves, None for its first one alone.

    types: by type variable of the operator, each with the releases (places in `releases`) that have it.
    """

    first: int
    last: int | None
    types: Mapping[str, Mapping[str, frozenset[int]]]

    def serves(self, version: int) -> bool:
        return self.first == version or (self.last is not None and self.first < version <= self.last)


@dataclass(frozen=True, slots=True)
class Missing:
    """An operator that a release has no kernel for. since: the first release that has one, or None.

    types: the element types it was asked with, by the operator's type variable; empty where no type would do.
    place: the line of the user's code that it comes from, or "".
    """

    domain: str
    operator: str
    version: int
    types: Mapping[str, str]
    since: str | None
    place: str = ""

    def __str__(self) -> str:
        name = f"{self.domain}.{self.operator}" if self.domain else self.operator
        typed = f" of {', '.join(sorted(set(self.types.values())))}" if self.types else ""
        at = f" at {self.place}" if self.place else ""
        return f"{name}{typed} (version {self.version}){at}"


def refuse_missing(
    model: onnx.ModelProto, release: Release, *, where: str, places: Mapping[str, str] | None = None
) -> int:
    """Return how many kinds of operators a model has; raise for what a release can't run.

    places: lines of the user's code by type of operator, as `places_of` finds them.
    Raises OpsetUnavailable for an opset or IR version that it doesn't read, KernelMissing naming the operators that it
    has no CPU kernel for, and the first release that has.
    """
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    opset = opsets.get("", opsets.get("ai.onnx", 1))
    for what, found, limit in (("opset", opset, release.opset), ("IR version", model.ir_version, release.ir)):
        if found > limit:
            raise OpsetUnavailable(
                f"the model has {what} {found}, onnxruntime {release.name} reads up to {limit}",
                where,
                f"ask for --opset {release.opset}, or install a newer onnxruntime there",
            )
    kinds, missing = _examined(model, opsets, release)
    if missing:
        later = [one.since for one in missing]
        newest = max((one for one in later if one), key=_order, default=None)
        upgrade = f"install onnxruntime {newest} or later there" if None not in later else "export for another runtime"
        lower = _lower_opset(missing, opset, release)
        another = "try another --exporter" if lower is None else f"ask for --opset {lower}"
        told = [str(replace(one, place=(places or {}).get(one.operator, ""))) for one in missing]
        raise KernelMissing(
            f"onnxruntime {release.name} has no CPU kernel for {', '.join(told)}",
            where,
            f"{upgrade}, {another}, or compute it otherwise in forward",
        )
    return kinds


def places_of(model: onnx.ModelProto) -> dict[str, str]:
    """Return the line of the user's code that the first operator of each type comes from, where an exporter told it."""
    found: dict[str, str] = {}
    for graph in graph_file.graphs_of(model):
        for node in graph.node:
            traces = [entry.value for entry in node.metadata_props if entry.key == _TRACE]
            lines = _LINE.findall(traces[0]) if traces else []
            if lines:
                path, line = lines[-1]
                found.setdefault(node.op_type, f"{PurePath(path).name}:{line}")
    return found


def _lower_opset(missing: Iterable[Missing], opset: int, release: Release) -> int | None:
    """Return the highest lower opset at which a release has kernels for all that are missing at this one."""
    for lower in range(opset - 1, LEAST_OPSET - 1, -1):
        if all(one.domain == "" and _has(one, lower, release) for one in missing):
            return lower
    return None


def _has(one: Missing, opset: int, release: Release) -> bool:
    try:
        schema = defs.get_schema(one.operator, opset, one.domain)
    except defs.SchemaError:
        return False  # it came later, and is written in other operators until then, or not at all
    return _missing(one.domain, one.operator, schema.since_version, one.types, release, schema) is None


def _examined(model: onnx.ModelProto, opsets: Mapping[str, int], release: Release) -> tuple[int, list[Missing]]:
    own = {(function.domain, function.name) for function in model.functions}
    seen: dict[tuple[Any, ...], Missing | None] = {}
    for node, elements in _typed_nodes(model):
        domain = "" if node.domain == "ai.onnx" else node.domain
        if (domain, node.op_type) in own:
            continue  # its nodes are among those of the functions
        if (domain, node.op_type) == ("", "Constant"):
            continue  # onnxruntime makes a weight of it when it reads the graph: onnxruntime/core/graph/graph.cc
        try:
            schema = defs.get_schema(node.op_type, opsets.get(domain, 1), domain)
        except defs.SchemaError:
            schema = None  # one of onnxruntime's own, all of which are of version 1
        version = 1 if schema is None else schema.since_version
        types = {} if schema is None else _types(node, schema, elements)
        key = (domain, node.op_type, version, *sorted(types.items()))
        if key not in seen:
            seen[key] = _missing(domain, node.op_type, version, types, release, schema)
    return len({key[:2] for key in seen}), [one for one in seen.values() if one is not None]


def _missing(  # noqa: PLR0917 - what identifies one operator
    domain: str,
    operator: str,
    version: int,
    types: Mapping[str, str],
    release: Release,
    schema: defs.OpSchema | None,
) -> Missing | None:
    names = [one.name for one in releases()]
    kernels = [one for one in _kernels().get((domain, operator), ()) if one.serves(version)]
    having = set[int]()
    for kernel in kernels:
        served = set(range(len(names)))
        for variable, by_type in kernel.types.items():
            asked = types.get(variable)
            # float16 nodes without a kernel are computed in float32 between two casts that onnxruntime puts in
            like = ("float16", "float") if asked == "float16" else (asked or "",)
            places = list(by_type.values()) if asked is None else [by_type.get(one, frozenset()) for one in like]
            served &= frozenset[int]().union(*places)
        having |= served
    if names.index(release.name) in having:
        return None
    if schema is not None and (schema.has_function or schema.has_context_dependent_function):
        return None  # without a kernel, onnxruntime computes it by the operators that it is defined by
    typed = types if any(kernel.types for kernel in kernels) else {}
    later = [place for place in sorted(having) if place > names.index(release.name)]
    return Missing(domain, operator, version, typed, names[later[0]] if later else None)


def _types(node: onnx.NodeProto, schema: defs.OpSchema, elements: Mapping[str, int]) -> dict[str, str]:
    """Return the element type that stands for each type variable, where inference knows it."""
    found: dict[str, str] = {}
    for names, formals in ((node.input, schema.inputs), (node.output, schema.outputs)):
        for place, name in enumerate(names):
            formal = formals[min(place, len(formals) - 1)] if formals else None
            if formal is None or not elements.get(name):
                continue
            found.setdefault(formal.type_str, _spelled(elements[name]))
    return {variable: text for variable, text in found.items() if not variable.startswith("tensor(")}


def _spelled(element: int) -> str:
    """Return an element type as onnxruntime's kernels spell it: ``float``, ``double``, ``int64``."""
    return str(TensorProto.DataType.Name(element)).lower()


def _typed_nodes(model: onnx.ModelProto) -> Iterator[tuple[onnx.NodeProto, dict[str, int]]]:
    """Yield the nodes of all graphs and functions, with the element types of the values that they can name."""
    light = onnx.ModelProto()
    light.CopyFrom(model)
    try:
        inferred = onnx.shape_inference.infer_shapes(light, data_prop=False)
    except onnx.shape_inference.InferenceError:
        inferred = light  # then types are known where the model names them
    elements: dict[str, int] = {}
    for graph in graph_file.graphs_of(inferred):
        for value in (*graph.input, *graph.output, *graph.value_info):
            elements[value.name] = value.type.tensor_type.elem_type
        elements |= {tensor.name: tensor.data_type for tensor in graph.initializer}
        for node in graph.node:
            elements |= {name: _constant(node) for name in node.output if node.op_type == "Constant"}
    for graph in graph_file.graphs_of(inferred):
        for node in graph.node:
            yield node, elements
    for function in model.functions:
        for node in function.node:
            yield node, {}


def _constant(node: onnx.NodeProto) -> int:
    kinds = {"value_float": TensorProto.FLOAT, "value_int": TensorProto.INT64, "value_string": TensorProto.STRING}
    for attribute in node.attribute:
        if attribute.name == "value":
            return int(attribute.t.data_type)
        if attribute.name.removesuffix("s") in kinds:
            return int(kinds[attribute.name.removesuffix("s")])
    return 0


def _order(release: str) -> tuple[int, ...]:
    return tuple(map(int, release.split(".")))


@cache
def _kernels() -> dict[tuple[str, str], tuple[_Kernel, ...]]:
    found: dict[tuple[str, str], list[_Kernel]] = {}
    for domain, operator, first, last, types in table()["kernels"]:
        by_variable: dict[str, dict[str, frozenset[int]]] = {}
        for variable, spans in types.items():
            places: dict[str, set[int]] = {}
            for span, names in spans.items():
                for name in names:
                    places.setdefault(name, set()).update(_span(span))
            by_variable[variable] = {name: frozenset(one) for name, one in places.items()}
        found.setdefault((domain, operator), []).append(_Kernel(first, last, by_variable))
    return {key: tuple(kernels) for key, kernels in found.items()}


def _span(text: str) -> Iterator[int]:
    for part in text.split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last) + 1)
