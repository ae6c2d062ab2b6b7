"""Two records, before and after: what changed, and is it more than noise.

The runs were taken apart, so nothing cancels between them as it does between contenders of one round: intervals are
Welch's, and wider.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bench.operator_deltas import OperatorDeltas, between
from edge_runtime import confirmation, summary, validity
from edge_runtime.measured import MeasuredContender
from edge_runtime.record import Record, load_record
from edge_runtime.start_figures import first_outputs
from edge_runtime.starts import CACHES
from edge_runtime.stats import Interval, launch_interval, unpaired_ratio, verdict

KIND, SCHEMA = "edge-comparison", 1
NOT_COMPARABLE = "not comparable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One figure of one contender, before and after; None where it was not measured.

    figure: p50_ns, cold_start_ns, where there are starts start_warm_ns and start_evicted_ns, model_steady_bytes or
    total_peak_bytes.   speedup: before over after, so above 1 is an improvement, with its interval.
    verdict: faster, slower, same, inconclusive, invalid or not comparable; "" for memory, which each record holds from
    one launch: a difference, with no interval to judge it by.
    confirmed: whether the later record's second batch of rounds says "slower" by itself; None of another verdict, or
    without such a batch.
    """

    contender: str
    figure: str
    before: float | None
    after: float | None
    speedup: Interval | None
    verdict: str
    confirmed: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What `compare` found.

    obstacles: why no verdict is given, empty when the records are comparable.   differences: what else was not the
    same and may explain a change.   margin: the larger of the two records', up to which differences count as none.
    operators: of each contender that was profiled in one of them, what got slower.
    """

    obstacles: tuple[str, ...]
    differences: tuple[str, ...]
    changes: tuple[Change, ...]
    margin: float
    operators: tuple[OperatorDeltas, ...] = ()

    def to_document(self) -> dict[str, Any]:
        """Return the JSON document that ``edge compare --json`` prints."""
        return {"kind": KIND, "schema": SCHEMA, **asdict(self)}


def compare(before: Record | str | Path, after: Record | str | Path) -> Comparison:
    """Compare two records, or the files that hold them, contender by contender.

    Raises RecordError for a file that is no record. Records of different machines, threads or shapes are shown side
    by side without a verdict.
    """
    one, other = (record if isinstance(record, Record) else load_record(record) for record in (before, after))
    obstacles = tuple(_obstacles(one, other))
    margin = max(one.config.margin, other.config.margin)
    names = [first.name for first in one.contenders if any(second.name == first.name for second in other.contenders)]
    changes = [change for name in names for change in _changes(one, other, name, margin, blocked=bool(obstacles))]
    second = confirmation.second_batch(other)
    if second is not None:
        changes = [_confirmed(change, one, second, margin) for change in changes]
    profiled = {profile.contender for record in (one, other) for profile in record.operators}
    return Comparison(
        obstacles=obstacles,
        differences=tuple(_differences(one, other, names)),
        changes=tuple(changes),
        margin=margin,
        # times of another machine, or of other threads, would name every operator
        operators=() if obstacles else tuple(between(one, other, name) for name in names if name in profiled),
    )


def is_slower(before: Record, after: Record) -> bool:
    """Return whether the later record's first contender, ours, is slower than it was."""
    ours = after.contenders[0].name if after.contenders else ""
    found = compare(before, after)
    return any((c.contender, c.figure, c.verdict) == (ours, "p50_ns", "slower") for c in found.changes)


def _confirmed(change: Change, before: Record, second: Record, margin: float) -> Change:
    # a second batch is of rounds: it has no starts of its own
    if change.verdict != "slower" or change.figure.startswith("start_"):
        return change
    again = _changes(before, second, change.contender, margin, blocked=False)
    return replace(change, confirmed=any((c.figure, c.verdict) == (change.figure, "slower") for c in again))


def _changes(one: Record, other: Record, name: str, margin: float, *, blocked: bool) -> list[Change]:
    first, second = _standing(one, name), _standing(other, name)
    wrong = first.contender.answers.agree is False or second.contender.answers.agree is False
    failed = first.contender.failure or second.contender.failure
    unfit = validity.is_unfit(one.launches) or validity.is_unfit(other.launches)
    reason = failed.kind if failed else "invalid" if wrong or unfit else NOT_COMPARABLE if blocked else ""
    colds = [[sum(launch.phases_ns.values()) for launch in record.launches_of(name)] for record in (one, other)]
    p50s = [summary.launch_p50s(record, name) for record in (one, other)]
    starts = [
        (f"start_{cache}_ns", [first_outputs(record, name, cache) for record in (one, other)]) for cache in CACHES
    ]
    measured: list[tuple[str, Sequence[Sequence[float]]]] = [("p50_ns", p50s), ("cold_start_ns", colds)]
    measured += [told for told in starts if any(told[1])]
    timed = [_timed(name, figure, values, margin=margin, reason=reason) for figure, values in measured]
    memory = [
        Change(
            contender=name,
            figure=f"{figure}_bytes",
            before=None if first.memory is None else getattr(first.memory, figure),
            after=None if second.memory is None else getattr(second.memory, figure),
            speedup=None,
            verdict=reason,
        )
        for figure in ("model_steady", "total_peak")
    ]
    return [*timed, *memory]


def _timed(name: str, figure: str, values: Sequence[Sequence[float]], *, margin: float, reason: str) -> Change:
    before, after = values
    speedup = None
    judged = reason or "inconclusive"
    if not reason and before and after and min(*before, *after) > 0:
        speedup = unpaired_ratio(before, after)
        judged = verdict(speedup, margin=margin)
    return Change(
        contender=name,
        figure=figure,
        before=launch_interval(before).estimate if before else None,
        after=launch_interval(after).estimate if after else None,
        speedup=speedup,
        verdict=judged,
    )


def _obstacles(one: Record, other: Record) -> list[str]:
    pairs = (
        ("machine", f"{one.machine.model} ({one.machine.key})", f"{other.machine.model} ({other.machine.key})"),
        ("governor", _governors(one), _governors(other)),
        ("threads", one.config.threads, other.config.threads),
        ("CPUs", _listed(one.config.cpus), _listed(other.config.cpus)),
        ("shapes", _shapes(one), _shapes(other)),
        ("inputs in turn", one.config.inputs, other.config.inputs),
        ("scenario", one.config.scenario, other.config.scenario),
        ("rate", one.config.rate_per_s, other.config.rate_per_s),
        ("target", one.config.target_ns, other.config.target_ns),
        ("workers", one.config.workers, other.config.workers),
    )
    return [f"{what}: {before} against {after}" for what, before, after in pairs if before != after]


def _differences(one: Record, other: Record, names: list[str]) -> list[str]:
    pairs: list[tuple[str, object, object]] = [
        ("board", one.board, other.board),
        ("kernel", one.machine.kernel, other.machine.kernel),
        ("libc", one.machine.libc, other.machine.libc),
    ]
    for name in names:
        first, second = _standing(one, name).contender, _standing(other, name).contender
        pairs.append((f"{name}'s engine", first.engine, second.engine))
        pairs.append((f"{name}'s artifact", _identity(first), _identity(second)))
    told = [f"{what}: {before} against {after}" for what, before, after in pairs if before != after]
    for where, record in (("before", one), ("after", other)):
        alone = [contender.name for contender in record.contenders if contender.name not in names]
        if alone:
            told.append(f"measured only {where}: {', '.join(alone)}")
    return told


def _standing(record: Record, name: str) -> summary.Standing:
    return next(standing for standing in summary.standings(record) if standing.contender.name == name)


def _identity(contender: MeasuredContender) -> str:
    artifact = contender.artifact
    return f"{artifact.name} {artifact.variant} {artifact.sha256[:12]}"


def _governors(record: Record) -> str:
    return _listed({launch.before.governor for launch in record.launches} - {None}) or "unknown"


def _shapes(record: Record) -> str:
    return ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in sorted(record.config.shapes.items()))


def _listed(values: Iterable[object]) -> str:
    return ", ".join(sorted(map(str, values)))
