"""The exporters' attempts at one module: their processes, the better of what is proven, or one error for all."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from edge_runtime.errors import EdgeError
from export_tools.candidate import Candidate, Proof, converted
from export_tools.choice import best
from export_tools.convert import ask_for_export
from export_tools.errors import ExportFailed, OperatorUnknown, OpsetUnavailable, OutOfMemory, ParityLost, SourceLost
from export_tools.reference import Opened, ask_to_open, refuse_another, start
from export_tools.request import ExportRequest
from export_tools.stages import stage
from export_tools.torch_process import TorchProcess

NOT_TRIED = "of a model this large the other exporter is not tried, for its memory"
Failure = tuple[str, EdgeError]  # an exporter and why it was not the one


class Attempts:
    """The exporters' processes: each works in one of its own, while the reference answers.

    A module that caches something at its first forward exports rightly once, and frozen the second time. Exporters of a
    large module, which would be in memory that many times, work one after the other.
    exporting: a process in which the module is open, and not the reference's.   children: ends what is started.
    """

    def __init__(
        self,
        request: ExportRequest,
        opened: Opened,
        exporters: Sequence[str],
        exporting: TorchProcess,
        *,
        work: Path,
        children: ExitStack,
    ) -> None:
        self._request, self.opened, self._work, self._children = request, opened, work, children
        self.exporters = tuple(exporters)
        self._waiting: dict[str, TorchProcess] = {}
        self._compared = {exporting}  # to be the reference's module
        if opened.is_large:
            return
        self._ask(exporting, exporters[0])
        for exporter in exporters[1:]:
            self._begin(exporter)

    def child_of(self, exporter: str) -> TorchProcess:
        """Return the process that exports; raise SourceError when it holds another module."""
        if exporter not in self._waiting:
            self._begin(exporter)
        child = self._waiting[exporter]
        if child not in self._compared:
            refuse_another(self.opened.weights_sha256, child.answer()["weights_sha256"], self._request.origin)
        return child

    def _begin(self, exporter: str) -> None:
        child = self._children.enter_context(start(self._request))
        ask_to_open(self._request, child, self._work, precise=False)
        self._ask(child, exporter)

    def _ask(self, child: TorchProcess, exporter: str) -> None:
        path = self._work / f"{exporter}-raw" / "model.onnx"
        path.parent.mkdir()
        self._waiting[exporter] = child
        ask_for_export(
            child,
            exporter,
            opset=self._request.opset,
            dynamic=self._request.dynamic,
            output_names=self.opened.output_names,
            allow_frozen=self._request.allow_frozen_branch,
            path=path,
        )


def proven_best(proof: Proof, attempts: Attempts) -> Candidate:
    """Return the best model that is proven, of a large one the first; raise one error for all when none is."""
    request, opened = proof.request, attempts.opened
    found: list[Candidate] = []
    failures: list[Failure] = []
    for exporter in attempts.exporters:
        try:
            found.append(converted(proof, attempts.child_of(exporter), exporter, "asked for"))
        except (ExportFailed, OpsetUnavailable, ParityLost, SourceLost) as problem:
            failures.append((exporter, problem))
        if found and opened.is_large:
            break  # the other exporter may need several times the model's memory, and what is there is proven
    if not found:
        # once: the others' failures have the same input, which one file can hold
        first_wrong = next(
            (problem for _, problem in failures if isinstance(problem, ParityLost) and problem.failing), None
        )
        explained = proof.doubts.explained
        reasons = [(name, explained(problem) if problem is first_wrong else problem) for name, problem in failures]
        raise combined(request, reasons, opened.dtype_hint)
    if failures:
        why = "; ".join(f"{exporter} failed: {problem.what}" for exporter, problem in failures)
        return replace(found[0], conversion=replace(found[0].conversion, why=why))
    if len(found) == 1 and len(attempts.exporters) > 1:
        why = f"it verifies; {NOT_TRIED}"
        return replace(found[0], conversion=replace(found[0].conversion, why=why))
    if len(found) == 1:
        return found[0]
    with stage(proof.progress, "choose", "both models on one thread, in turns") as told:
        choice = best(found[0], found[1], proof.answered.cases[0], where=request.origin)
        told.says(str(choice))
    return choice.candidate


def combined(request: ExportRequest, failures: Sequence[Failure], first_hint: str = "") -> EdgeError:
    """Return one error for all exporters: a wrong answer weighs most, then a wrong opset.

    first_hint: goes before their own, if there is one.
    """
    unknown = [(exporter, problem) for exporter, problem in failures if isinstance(problem, OperatorUnknown)]
    # the TorchScript exporter names what was called, the other one what that is made of
    unknown.sort(key=lambda pair: pair[0] != "torchscript")
    if len(unknown) == len(failures):
        return _operator_unknown(request, unknown)
    same = {problem.what for _, problem in failures}
    told = [f"{exporter}: {problem.what}" for exporter, problem in failures] if len(same) > 1 else [*same]
    reasons = "; ".join(told)
    for kind in (ParityLost, OpsetUnavailable):
        if any(isinstance(problem, kind) for _, problem in failures):
            telling = [p for _, p in failures if isinstance(p, ParityLost | OpsetUnavailable)]
            error = kind(reasons, request.origin, _joined(first_hint, *(problem.hint for problem in telling)))
            if isinstance(error, ParityLost):
                lost = next((p for p in telling if isinstance(p, ParityLost) and p.failing), None)
                error.failing, error.replay = (lost.failing, lost.replay) if lost else (None, "")
            return error
    if all(isinstance(problem, SourceLost) for _, problem in failures):
        short = any(isinstance(problem, OutOfMemory) for _, problem in failures)
        return (OutOfMemory if short else SourceLost)(reasons, request.origin, failures[0][1].hint)
    hints = {problem.hint for _, problem in failures}
    hint = hints.pop() if len(hints) == 1 else "rewrite what they stumble over, or try another --opset"
    hint = next((problem.hint for _, problem in unknown), hint)
    return ExportFailed(f"no exporter could convert it: {reasons}", request.origin, _joined(first_hint, hint))


def _joined(*hints: str) -> str:
    return "; or ".join(dict.fromkeys(hint for hint in hints if hint))


def _operator_unknown(request: ExportRequest, failures: Sequence[tuple[str, OperatorUnknown]]) -> OperatorUnknown:
    """Return one error for an operator that no exporter knows; each may name another of its parts."""
    first = next((problem for _, problem in failures if problem.place), failures[0][1])
    names = dict.fromkeys(problem.operator for _, problem in failures)
    own = "" if len(names) == 1 else f" ({'; '.join(f'{exporter}: {one.operator}' for exporter, one in failures)})"
    at = f" at {first.place}" if first.place else ""
    who = "no exporter has" if len(failures) > 1 else f"{failures[0][0]} has no"
    conversion = "a conversion" if len(failures) > 1 else "conversion"
    error = OperatorUnknown(
        f"{who} {conversion} for the operator {first.operator}{at}{own}", request.origin, first.hint
    )
    error.operator, error.place = first.operator, first.place
    return error
