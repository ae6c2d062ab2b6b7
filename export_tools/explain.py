"""A failed proof, as people need it: a small input that shows it, where the graph leaves the module, and a replay."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from edge_runtime import npz
from edge_runtime.errors import EdgeError
from export_tools import departure
from export_tools.cases import Case
from export_tools.errors import LEAVE_SHORT_CUT, ParityLost
from export_tools.noise import Profile, is_precise, profile
from export_tools.reference import Answered, Opened, tie_judge
from export_tools.request import ExportRequest
from export_tools.torch_process import TorchProcess
from export_tools.trials import Inputs, Known, Trial, at_sizes, searched, shrink
from export_tools.verify import AS_WRITTEN, OPTIMISED, Runner, Tied, Verification, departed, threads


@dataclass(frozen=True, slots=True, kw_only=True)
class Investigation:
    """What it takes to try one more input: the module's process, and what its answers to the cases showed."""

    request: ExportRequest
    opened: Opened
    reference: TorchProcess
    profile: Profile
    precise: bool
    work: Path
    threads: int
    nested: bool = False  # forward goes through nested tensors
    replay: Callable[[Path], str]  # the command that shows a failure again, by the file of its input
    searched: Known = field(default_factory=dict)  # answers to the inputs that every candidate is tried with

    @classmethod
    def of(
        cls,
        request: ExportRequest,
        opened: Opened,
        reference: TorchProcess,
        answered: Answered,
        *,
        work: Path,
        replay: Callable[[Path], str],
    ) -> Self:
        """Return what the answers to all cases show, and the process that gave them."""
        return cls(
            request=request,
            opened=opened,
            reference=reference,
            profile=profile(answered.answers),
            precise=is_precise(answered.answers),
            nested=answered.nested,
            work=work,
            threads=threads(),
            replay=replay,
        )

    @property
    def tied(self) -> Tied:
        """What judges an index that differs."""
        return tie_judge(self.opened, self.reference, self.work)

    def search(self, model: Path, found: Verification, *, decisive: Sequence[int] = ()) -> int:
        """Try more inputs after all cases have passed; return how many. Raises ParityLost for the first that fails.

        decisive: sizes that forward is known to decide by.
        """
        trial = replace(self._trial(model, OPTIMISED), known=self.searched)
        example, ports, seed = self.opened.example, self.opened.inputs, self.request.seed
        count = 0
        for case in (
            *at_sizes(example, ports, self.request.dynamic, decisive, seed=seed),
            *searched(example, ports, self.request.dynamic, seed=seed),
        ):
            row = trial(case.inputs, name=case.name)
            count += 1
            if row is not None:
                row = self._trial(model, AS_WRITTEN)(case.inputs, name=case.name) or row
                wrong = replace(found, rows=(*found.rows, row))
                raise departed(wrong, [case], model, self.request.origin)
        return count

    def explained(self, problem: ParityLost) -> ParityLost:
        """Return the error with the first operator that departs, and a small failing input with its replay.

        The input is written beside the output as NAME-failing.npz. A step of a sequence is left as it is: it fails by
        what came before it.
        """
        failing = problem.failing
        if failing is None or failing.case.follows:
            return problem
        small: Inputs = failing.case.inputs
        row = failing.row
        try:
            trial = self._trial(failing.model, failing.row.graph)
            small = shrink(small, self.opened.inputs, self.request.dynamic, lambda inputs: trial(inputs) is not None)
            row = trial(small) or row
        except EdgeError:  # the module's process died on the way, say: what was found until then still tells
            row = failing.row
        path = self.request.output.absolute().with_name(f"{self.request.name}-failing.npz")
        npz.write(path, small)
        smaller = replace(failing, case=Case(failing.case.name, small, failing.case.sizes), row=row)
        found = None
        if failing.row.graph == AS_WRITTEN:
            found = departure.find(smaller, self.reference, self.opened.output_names, work=self.work)
        remedy = LEAVE_SHORT_CUT if self.nested else problem.hint
        replay = self.replay(path)
        told = ParityLost(
            f"{problem.what}; {found}" if found else problem.what,
            problem.where,
            f"{remedy}; a small input that shows it is in {path}, replay it: {replay}",
        )
        told.failing, told.replay = failing, replay
        return told

    def _trial(self, model: Path, graph: str) -> Trial:
        return Trial(
            self.opened,
            self.reference,
            self.work,
            Runner(model, graph, threads=self.threads, where=self.request.origin),
            graph,
            self.profile,
            self.precise,
            self.tied,
            self.request.origin,
            self.request.allow_frozen_branch,
        )
