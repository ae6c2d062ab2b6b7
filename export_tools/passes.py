"""Graph passes: a short ordered table, and the rule that each is kept only if it is proven by itself.

A pass takes a graph and gives one that computes the same with fewer nodes. Whatever it does wrong (other answers,
other ports, a graph that onnxruntime refuses, more nodes, an exception) drops that pass alone, with a warning.
"""

import contextlib
import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import onnx

from edge_runtime.errors import EdgeError
from export_tools import graph_file
from export_tools.cases import Case
from export_tools.graph_file import size_of
from export_tools.noise import Answers, tolerances
from export_tools.verify import AS_WRITTEN, Runner, Tied, judged

if TYPE_CHECKING:
    from edge_runtime.npz import Array

MAX_CASES = 6  # a pass that breaks another case is found by the proof of the whole, and costs all passes
# A pass that wants the weights in memory copies them several times; above this, exporting would need more than that
MAX_WHOLE_BYTES = 256 * 2**20


@dataclass(frozen=True, slots=True)
class Pass:
    """One way to make a graph smaller. run: takes a copy of the graph, and the folder that its weights lie in.

    whole: it wants all weights in the graph itself, and is left out for large models.   shapes: those of inner values
    are its work; after other passes they are cleared.
    """

    name: str
    does: str
    run: Callable[[onnx.ModelProto, Path], onnx.ModelProto]
    whole: bool = False
    shapes: bool = False


@dataclass(frozen=True, slots=True)
class Passed:
    """What became of a graph. kept: the names of the passes that changed it.   dropped: a warning for each other."""

    graph: onnx.ModelProto
    kept: tuple[str, ...]
    dropped: tuple[str, ...]


def _onnxscript(graph: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    import onnx_ir  # noqa: PLC0415 - a second of imports that adopting a small model can do without
    from onnxscript import optimizer  # noqa: PLC0415

    model = onnx_ir.serde.deserialize_model(graph)
    onnx_ir.external_data.set_base_dir(model.graph, folder)
    optimizer.optimize_ir(model)
    written: onnx.ModelProto = onnx_ir.serde.serialize_model(model)
    return written


def _share_weights(graph: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    import onnx_ir  # noqa: PLC0415
    from onnx_ir.passes import common  # noqa: PLC0415

    model = onnx_ir.serde.deserialize_model(graph)
    onnx_ir.external_data.set_base_dir(model.graph, folder)
    common.DeduplicateHashedInitializersPass()(model)
    written: onnx.ModelProto = onnx_ir.serde.serialize_model(model)
    return written


def _onnxslim(graph: onnx.ModelProto, _folder: Path) -> onnx.ModelProto:
    import onnxslim  # noqa: PLC0415 - it brings sympy, a second of imports

    slimmed: onnx.ModelProto | None = onnxslim.slim(graph)
    if slimmed is None:
        raise ValueError("it gave no model")
    return slimmed


FOLD = (
    Pass("onnxscript", "inlines functions, folds constants, fuses batch norms, drops what is unused", _onnxscript),
    Pass("share-weights", "stores equal weights once", _share_weights),
    Pass("onnxslim", "fuses, folds shapes, drops duplicates", _onnxslim, whole=True),
)


def infer_shapes(graph: onnx.ModelProto, _folder: Path) -> onnx.ModelProto:
    """Return the graph with the shapes of its inner values, as far as they follow from the ports'."""
    names = {dim.dim_param for value in graph.graph.input for dim in value.type.tensor_type.shape.dim}
    inferred = onnx.shape_inference.infer_shapes(graph, data_prop=True)
    for one in graph_file.graphs_of(inferred):
        for value in one.value_info:
            for dim in value.type.tensor_type.shape.dim:
                # a made-up name says nothing, and two equal ones might be taken for equal sizes
                if dim.dim_param not in names:
                    dim.ClearField("dim_param")
    return inferred


SHAPES = Pass("shapes", "infers those of inner values from the ports'", infer_shapes, shapes=True)


def apply(
    graph: onnx.ModelProto,
    folder: Path,
    passes: Sequence[Pass],
    *,
    cases: Sequence[Case],
    answers: Sequence[Answers],
    tied: Tied,
    threads: int,
    where: str,
) -> Passed:
    """Run the passes, each on what the one before left; keep those that are right.

    folder: where the graph's weights lie, and where new ones go.   cases, answers: what each pass is held against; a
    pass may move an answer by what rounding may, from what it was before any pass.
    """
    prover = _Prover(cases, answers, tied=tied, threads=threads, where=where)
    kept, dropped = [], []
    try:
        prover.begin(graph, folder)
    except EdgeError:
        return Passed(graph, (), ())  # it doesn't even run: the check and the proof will say why
    for index, one in enumerate(passes):
        if one.whole and size_of(graph).bytes > MAX_WHOLE_BYTES:
            continue
        try:
            changed = _changed(graph, folder, one, f"{index}-{one.name}")
            if not _gains(changed, graph, one):
                continue
            prover.prove(graph, changed, folder)
        except _Wrong as problem:
            dropped.append(f"the graph pass {one.name} is dropped: {problem}")
            continue
        except Exception as problem:  # noqa: BLE001 - passes of others raise whatever they stumble over
            said = " ".join(f"{type(problem).__name__}: {problem}".split())[:200]
            dropped.append(f"the graph pass {one.name} is dropped: it fails with {said}")
            continue
        graph = changed
        kept.append(one.name)
    return Passed(graph, tuple(kept), tuple(dropped))


class _Wrong(Exception):
    """Why a pass is dropped, as the end of a sentence."""


class _Prover:
    """Holds what a pass made against the graph as it was before all passes."""

    def __init__(
        self, cases: Sequence[Case], answers: Sequence[Answers], *, tied: Tied, threads: int, where: str
    ) -> None:
        # a step of a sequence needs the one before; spread over the rest, so that all kinds and sizes have a chance
        alone = [index for index, case in enumerate(cases) if not case.follows]
        chosen = alone[:: -(-len(alone) // MAX_CASES)]
        limits = tolerances(answers)
        self._cases = [(cases[index], limits[index]) for index in chosen]
        self._tied, self._threads, self._where = tied, threads, where
        self._before: list[Mapping[str, Array]] = []

    def begin(self, graph: onnx.ModelProto, folder: Path) -> None:
        """Answer the cases with the graph as it is; raise what onnxruntime makes of it."""
        run = self._opened(graph, folder)
        self._before = [run(case) for case, _ in self._cases]

    def prove(self, before: onnx.ModelProto, after: onnx.ModelProto, folder: Path) -> None:
        """Raise _Wrong unless the changed graph has no more nodes and the same answers."""
        sizes = size_of(before).nodes, size_of(after).nodes
        if sizes[1] > sizes[0]:
            raise _Wrong(f"it makes {sizes[1]} nodes of {sizes[0]}")
        try:
            run = self._opened(after, folder)
            for (case, limits), wanted in zip(self._cases, self._before, strict=True):
                got = run(case)
                for name in wanted:
                    row = judged(case, name, got[name], wanted[name], limits[name], AS_WRITTEN, self._tied)
                    if not row.difference.ok:
                        times = f"{row.difference.ratio:.3g} times its tolerance"
                        said = row.difference.problem or f"is off by {row.difference.max_abs:.3g}, {times}"
                        raise _Wrong(f"it changes the answers: {name} of the case {case.name} {said}")
        except EdgeError as problem:
            raise _Wrong(f"onnxruntime refuses what it makes: {problem.what}") from problem

    def _opened(self, graph: onnx.ModelProto, folder: Path) -> Runner:
        path = folder / "pass.onnx"
        path.write_bytes(graph.SerializeToString())
        return Runner(path, AS_WRITTEN, threads=self._threads, where=self._where)


def _changed(graph: onnx.ModelProto, folder: Path, one: Pass, name: str) -> onnx.ModelProto:
    given = onnx.ModelProto()
    given.CopyFrom(graph)
    if one.whole:
        graph_file.bring_in(given, folder)
    # what a pass prints or warns of is for its authors; what it did is judged here
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        changed = one.run(given, folder)
    graph_file.move_out(changed, folder, f"{name}.data")
    if not one.shapes:
        for part in (*graph_file.graphs_of(changed), *changed.functions):
            part.ClearField("value_info")
    if _ports(changed) != _ports(graph):
        raise _Wrong("it changes the inputs or outputs")
    for field in ("input", "output"):  # their shapes are the manifest's, whatever it thinks of them
        changed.graph.ClearField(field)
        getattr(changed.graph, field).extend(getattr(graph.graph, field))
    return changed


def _gains(after: onnx.ModelProto, before: onnx.ModelProto, one: Pass) -> bool:
    if one.shapes:
        return any(graph.value_info for graph in graph_file.graphs_of(after))
    sizes = size_of(after), size_of(before)
    return sizes[0].nodes != sizes[1].nodes or sizes[0].bytes < sizes[1].bytes or _kinds(after) != _kinds(before)


def _kinds(model: onnx.ModelProto) -> list[str]:
    return sorted(node.op_type for graph in graph_file.graphs_of(model) for node in graph.node)


def _ports(model: onnx.ModelProto) -> list[tuple[str, int]]:
    weights = {tensor.name for tensor in model.graph.initializer}
    values = [value for value in model.graph.input if value.name not in weights]
    return [(value.name, value.type.tensor_type.elem_type) for value in (*values, *model.graph.output)]
