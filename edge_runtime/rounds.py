"""Launches of workers in turning order: one process alive at a time, every contender once a round.

A round is one launch of each contender. The order turns from round to round (AB BA AB …), so that a machine that
drifts treats them alike. Memory is measured first, in launches of its own, which also settle who answers wrongly:
such a contender is recorded as invalid and never timed. Whatever ends a run early (the budget, Ctrl-C, a worker that
is killed), what was measured until then is a record, and another run can go on with it. A contender that can't run here
is skipped, one whose process dies or hangs at once is lost: the record says why, and the others go on.
"""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime import confirmation
from edge_runtime.artifact import Artifact
from edge_runtime.errors import UsageError
from edge_runtime.launch import own_command
from edge_runtime.plan import (
    LAUNCH_TIMEOUT_S,
    MAX_ROUNDS,
    MIN_ROUNDS,
    OWN_CONTENDER,
    Entry,
    Plan,
    Progress,
    turning_order,
)
from edge_runtime.race import Race
from edge_runtime.record import Record
from edge_runtime.scenarios import refuse_fixed_batch

if TYPE_CHECKING:
    from edge_runtime.model import Model
    from edge_runtime.npz import Array

__all__ = [
    "LAUNCH_TIMEOUT_S",
    "MAX_ROUNDS",
    "MIN_ROUNDS",
    "OWN_CONTENDER",
    "Entry",
    "Plan",
    "Progress",
    "conduct",
    "measure",
    "measure_artifact",
    "own_entry",
    "turning_order",
]


def conduct(
    entries: Sequence[Entry],
    plan: Plan,
    *,
    board: str,
    inputs: Path | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
    keep: Callable[[Record], None] = lambda _: None,
    resume: Record | None = None,
    doubtful: Callable[[Record], bool] = confirmation.doubtful,
    root: Path = Path("/"),
    sleep: Callable[[float], object] = time.sleep,
) -> Record:
    """Measure the entries and return the record.

    inputs: an ``.npz`` of the arrays to time, by input name; None times the first golden case. Either way every launch
    checks all golden cases before it times anything.   keep is given the record after each launch, so that a crash
    loses one.   resume: an earlier record of the same entries on this machine, to go on with.   root: where the files
    are that tell of limits, temperature and energy.   doubtful: asked of what was measured when the rounds are over, if
    the plan left them open or a record is gone on with; where it says yes, a second batch follows within the budget.
    sleep: what waits for a machine to cool down.

    A KeyboardInterrupt ends the run, and its record says so, unless nothing was measured yet: then it goes through. A
    worker that is lost is started again once in its round; lost again, its contender leaves the race, and the others
    go on. Raises what the worker of the first entry raises (`launch.run_worker`) while memory is measured, for without
    it there is nothing to hold others against, of another one what says that the run itself is wrong (UsageError,
    InputError), what is raised when nobody has timed anything, and UsageError for a `resume` that doesn't fit.
    """
    names = [entry.name for entry in entries]
    if not names or len(set(names)) != len(names):
        raise UsageError(
            f"contenders named {names}", "rounds.conduct", "give at least one, each with a name of its own"
        )
    if plan.scenario.batches:
        for entry in entries:
            refuse_fixed_batch(entry.artifact.manifest.inputs)
    race = Race(
        entries,
        plan,
        board=board,
        inputs=inputs,
        progress=progress,
        keep=keep,
        root=root,
        doubtful=doubtful,
        sleep=sleep,
    )
    if resume is not None:
        race.take_up(resume)
    try:
        reason = race.go()
    except KeyboardInterrupt:
        if not race.has_measured:
            raise
        reason = "interrupted"
    return race.record(reason)


def measure(
    model: "Model",
    inputs: "Mapping[str, Array] | None" = None,
    *,
    plan: Plan | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Record:
    """Measure a model on this machine, in fresh workers that reopen its path, variant and thread count.

    inputs: arrays by input name; None takes the first golden case. Returns raw samples, memory and environment.
    Raises WrongInput when the inputs don't fit, and what the workers raise.
    """
    if inputs is not None:
        model.bind(**inputs)  # refuses what doesn't fit before any worker starts
    chosen = plan or Plan(threads=model.threads, budget_s=30.0)
    return measure_artifact(model.artifact, model.variant.name, inputs, plan=chosen, progress=progress)


def measure_artifact(
    artifact: Artifact,
    variant: str,
    inputs: "Mapping[str, Array] | None" = None,
    *,
    plan: Plan,
    progress: Callable[[Progress], None] = lambda _: None,
    keep: Callable[[Record], None] = lambda _: None,
    resume: Record | None = None,
) -> Record:
    """Measure a variant without loading it here: pages of onnxruntime that we had too would not count as the worker's.

    inputs: as `measure`; keep, resume: as `conduct`. Raises what the workers raise, WrongInput for inputs that don't
    fit among it.
    """
    with tempfile.TemporaryDirectory(prefix="edge-measure-") as folder:
        path = None
        if inputs is not None:
            from edge_runtime import npz  # noqa: PLC0415 - who has arrays has numpy; nobody else here needs it

            path = Path(folder, "inputs.npz")
            npz.write(path, dict(inputs))
        entries = [own_entry(artifact, variant)]
        return conduct(entries, plan, board="local", inputs=path, progress=progress, keep=keep, resume=resume)


def own_entry(artifact: Artifact, variant: str) -> Entry:
    """Return our own runtime as an entry, run by this interpreter."""
    return Entry(
        name="edge", contender=OWN_CONTENDER, command=own_command(), artifact=artifact, variant=variant, warm=True
    )
