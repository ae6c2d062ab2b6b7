"""Artifacts on one board: open the board, line the contenders up, conduct the rounds, return the record."""

import importlib.util
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench import comparison, contenders, host_sensors, line_up
from bench.boards import local
from bench.contenders import OWN
from bench.errors import SourceUnknown, UnknownBoard
from edge_runtime import confirmation, graph_cache, noise_floor, summary, validity
from edge_runtime.artifact import Artifact, open_artifact
from edge_runtime.environment import machine
from edge_runtime.errors import TimedOut
from edge_runtime.noise_floor import NoiseFloor
from edge_runtime.record import Record
from edge_runtime.rounds import Entry, Plan, Progress, conduct
from edge_runtime.scenarios import SINGLE, Scenario

if TYPE_CHECKING:
    from edge_runtime.npz import Array
    from export_tools.request import SourceSpec

TWIN = "edge-again"  # our runtime once more, in a calibration
FOREIGN = "onnx"  # what the manifest of an adopted file says of its source


def bench(
    artifact: Artifact | str | Path | Sequence[Artifact | str | Path],
    *,
    on: str = local.NAME,
    against: Iterable[str] = ("torch",),
    threads: int = 1,
    rounds: int | None = None,
    budget_s: float = 300.0,
    precision: float = 0.01,
    margin: float = 0.02,
    scenario: Scenario = SINGLE,
    fit: bool = False,
    fit_bytes: int | None = None,
    starts: int = 0,
    operators: bool | None = None,
    sustained_s: float | None = None,
    source: "SourceSpec | None" = None,
    inputs: "Mapping[str, Array] | None" = None,
    plan: Plan | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
    keep: Callable[[Record], None] = lambda _: None,
    resume: Record | None = None,
    before: Record | None = None,
    confirm: bool = False,
) -> Record:
    """Measure our runtime and its rivals on an artifact, in fresh processes, round by round; return the record.

    artifact: one, or several that take the same inputs: our runtime is measured on each, under the name ``edge@NAME``,
    and the rivals on the first, whose golden cases are timed on all.
    on: the board; "local" is this machine.   against: names of `contenders.KINDS`, or ``FILE.py:factory``.
    rounds: how many, or None to go on until every p50 is known within `precision` (a share) or `budget_s` is spent.
    margin: differences up to this share count as none, or up to what the machine's calibration says.
    scenario: what is asked of the contenders (`scenarios`).   fit: also find the smallest memory limit of each, or
    try the one of fit_bytes.   sustained_s: then load each for so long.
    starts: how often each contender is started with a warm and with an evicted page cache, beyond the budget.
    operators: whether our own contenders are profiled after the rounds; None where the budget leaves time.
    source: where PyTorch finds the module; None asks this host's memory of its exports.
    inputs: arrays by input name; None times the first golden case.
    plan: all of threads … operators at once, and the length of a block, in their stead.
    progress, keep: told before each launch, and given the record after it.   resume: an earlier record of the same
    contenders on this machine, to go on with.   before: a record to be no slower than: where ours is slower than in it,
    or than a rival, a second batch of rounds confirms that or doesn't.   confirm: measure that batch in any case.
    Ctrl-C ends the run, not the record (`rounds.conduct`).

    Raises UsageError for unknown boards or contenders and plans that can't be, InputError for a damaged artifact or
    wrong inputs, SourceUnknown when PyTorch has no source, and what the workers raise (`launch.run_worker`).
    """
    given = [artifact] if isinstance(artifact, Artifact | str | Path) else artifact
    opened = [one if isinstance(one, Artifact) else open_artifact(one) for one in given]
    asked = plan or Plan(
        threads=threads,
        rounds=rounds,
        budget_s=budget_s,
        precision=precision,
        margin=margin,
        scenario=scenario,
        fit=fit,
        fit_bytes=fit_bytes,
        confirm=confirm,
        starts=starts,
        operators=operators,
        sustained_s=sustained_s,
    )
    chosen = _floored(asked)
    own, kinds = line_up.own_names(opened), line_up.rivals(against)
    if on != local.NAME:
        raise UnknownBoard(f"no board {on!r}", "--on", f"only {local.NAME!r} (this machine) is known here")
    options = {kind.name: _options(kind, opened[0], source) for kind in kinds}
    busy = host_sensors.busy_warning()
    earlier = () if resume is None else resume.warnings
    warnings = tuple(one for one in (*earlier, busy) if one is not None and one.startswith(host_sensors.BUSY))

    def warned(record: Record) -> Record:
        return replace(record, warnings=(*warnings, *record.warnings))

    with local.open_board() as board, tempfile.TemporaryDirectory(prefix="edge-bench-") as folder:
        there = [board.put_artifact(one, place=str(place)) for place, one in enumerate(opened)]
        path = None if inputs is None else _stored(inputs, Path(folder, "inputs.npz"))
        ours = _entry(contenders.find(OWN), board, there[0], {})
        # all are timed on the same: the first artifact's cases
        entries = [
            replace(ours, name=name, artifact=one, timed=None if one is there[0] else there[0])
            for name, one in zip(own, there, strict=True)
        ]
        entries += [_entry(kind, board, there[0], options[kind.name]) for kind in kinds]
        record = conduct(
            entries,
            chosen,
            board=board.name,
            inputs=path,
            progress=progress,
            keep=lambda record: keep(warned(record)),
            resume=resume,
            doubtful=lambda record: (
                confirmation.doubtful(record) or (before is not None and comparison.is_slower(before, record))
            ),
        )
    return warned(record)


def calibrate(
    artifact: Artifact | str | Path,
    *,
    threads: int = 1,
    budget_s: float = 300.0,
    plan: Plan | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
    folder: Path | None = None,
) -> tuple[Record, NoiseFloor]:
    """Measure our runtime against itself, and keep how far apart that is as this machine's noise floor.

    folder: where floors are kept; None is this user's cache. The verdict can only be right or wrong by luck.
    Raises Unwritable where the floor can't be kept, TimedOut when `budget_s` allows fewer than two rounds, and what
    the workers raise.
    """
    opened = artifact if isinstance(artifact, Artifact) else open_artifact(artifact)
    chosen = plan or Plan(threads=threads, rounds=noise_floor.ROUNDS, budget_s=budget_s)
    kind = contenders.find(OWN)
    with local.open_board() as board:
        there = board.put_artifact(opened)
        entries = [replace(_entry(kind, board, there, {}), name=name) for name in (OWN, TWIN)]
        record = conduct(entries, chosen, board=board.name, progress=progress)
    found = summary.compare(record, baseline=OWN, contender=TWIN)
    share = None if found.speedup is None else noise_floor.of_interval(found.speedup)
    if share is None:
        unfit = validity.is_unfit(record.launches)
        raise TimedOut(
            validity.told(record.launches)[0] if unfit else f"{found.rounds} rounds show no spread",
            "edge bench --calibrate",
            "calibrate when the machine is calm" if unfit else "give it more time: --budget 10m",
        )
    floor = NoiseFloor(
        machine_key=record.machine.key,
        threads=chosen.threads,
        share=share,
        rounds=found.rounds,
        created=record.created,
    )
    noise_floor.keep(folder or graph_cache.noise_folder(), floor)
    return record, floor


def _floored(plan: Plan) -> Plan:
    """Return the plan with a margin that this machine supports, as far as it was calibrated."""
    if plan.noise_floor is not None:
        return plan
    floor = noise_floor.read(graph_cache.noise_folder(), machine().key, plan.threads)
    if floor is None:
        return plan
    return replace(plan, margin=noise_floor.margin(plan.margin, floor), noise_floor=floor.share)


def _entry(kind: contenders.Kind, board: local.LocalBoard, artifact: Artifact, options: Mapping[str, str]) -> Entry:
    place = kind.module if kind.file is None else str(board.put_contender(kind.file))
    return Entry(
        name=kind.name,
        contender=f"{place}:{kind.factory}",
        command=board.torch_command() if kind.host else board.command(),
        artifact=artifact,
        variant=kind.variant,
        options=options,
        # whatever keeps something for its next start is measured as it starts from then on; our own graph cache too
        warm=kind.cache or kind.module == contenders.OWN_MODULE,
    )


def _options(kind: contenders.Kind, artifact: Artifact, source: "SourceSpec | None") -> dict[str, str]:
    """Return what a contender is told beyond the job: for PyTorch's where the module is, and its folder to keep.

    Whether its engine is installed is for its worker to find, which skips it with the reason.
    """
    artifact.variant(kind.variant)  # refused here when there is none of that name
    from export_tools.remembered import cache_folder, recall  # noqa: PLC0415 - of the other host package

    options = {}
    if kind.cache:
        # one for each model: a cache that grows with others' models would be searched longer
        options["cache"] = str(cache_folder("contenders") / kind.name / artifact.variant().files[0].sha256[:16])
    if not kind.source or importlib.util.find_spec("torch") is None:
        return options

    spec = source or recall(artifact.variant().files[0].sha256)
    if artifact.manifest.source_framework == FOREIGN and (spec is None or spec.is_onnx):
        raise SourceUnknown(
            f"it was adopted from {artifact.manifest.source_entry}, and PyTorch needs a module",
            str(artifact.path),
            "say where there is one: --source FILE.py:callable; or leave it out: --against onnxruntime",
        )
    if spec is None:
        raise SourceUnknown(
            "PyTorch needs the module itself, and this host has not exported this artifact",
            str(artifact.path),
            "say where it is: --source FILE.py:callable [--weights FILE]; or leave it out: --against onnxruntime",
        )
    return {**options, "source": spec.to_json()}


def _stored(inputs: "Mapping[str, Array]", path: Path) -> Path:
    """Write the arrays for the workers.

    Whether they fit is for the first worker to say: a parent that has onnxruntime loaded would share its pages with
    the workers and halve what Pss says of them.
    """
    from edge_runtime import npz  # noqa: PLC0415 - needed only for inputs of one's own

    npz.write(path, dict(inputs))
    return path
