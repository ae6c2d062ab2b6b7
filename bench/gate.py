"""Records against a budget: what holds, what is broken, and what cannot be told.

A limit is **broken** when a figure's whole interval lies beyond it, and **holds** when none of it does; in between it
is **unsure**, which more rounds settle. p99 has no in-between: its limit holds when the samples show, with the asked
confidence, that at most one call in a hundred is slower, and is broken otherwise. What was not measured, or answered
wrongly, is broken: a limit must not hold because nobody looked. A time relative to another contender or to a baseline
breaks its limit only when a second batch of rounds, or a second record, says so by itself: until then it is unsure.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from bench import comparison
from bench.budget import EXACT, METRICS, Rule
from bench.errors import NothingMatched
from edge_runtime import confirmation, start_figures, summary, validity
from edge_runtime.record import Record
from edge_runtime.starts import CACHES
from edge_runtime.stats import Interval
from edge_runtime.units import Text, duration, energy, size

KIND, SCHEMA = "edge-gate", 1
HOLDS, BROKEN, UNSURE, UNMATCHED = "holds", "broken", "unsure", "unmatched"
TEXT: dict[str, Text] = {"ns": duration, "bytes": size, "uJ": energy, "": lambda value: f"{value:.3g}"}
STARTS = {f"start_{cache}": cache for cache in CACHES}  # metrics of the time to the first output
OF_LAUNCHES = ("p50", "p90", "p99", "mean", "cold_start")  # metrics that a disturbed round has a part in
TAIL = 0.01  # of calls that may be slower than a p99


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One rule on one contender; figure and limit are texts for people."""

    rule: int
    model: str
    board: str
    contender: str
    metric: str
    figure: str
    limit: str
    outcome: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What `gate` found. broken: whether the honest answer is no; strict counts what is unsure as broken."""

    findings: tuple[Finding, ...]
    strict: bool

    @property
    def broken(self) -> bool:
        """Whether a limit is broken."""
        bad = {BROKEN, UNSURE} if self.strict else {BROKEN}
        return any(one.outcome in bad for one in self.findings)

    def count(self, outcome: str) -> int:
        """Return how many findings have this outcome."""
        return sum(one.outcome == outcome for one in self.findings)

    def to_document(self) -> dict[str, Any]:
        """Return the JSON document that ``edge gate --json`` prints."""
        return {"kind": KIND, "schema": SCHEMA, "broken": self.broken, "findings": [asdict(o) for o in self.findings]}


def gate(
    records: Sequence[Record],
    rules: Sequence[Rule],
    *,
    baseline: Record | None = None,
    confirm: Record | None = None,
    strict: bool = False,
) -> Judgement:
    """Hold every record against every rule that is about it.

    baseline: what `max_growth` is relative to.   confirm: a second record of the same, in
    the stead of the records' own second batches.
    Raises NothingMatched when no rule is about any contender.
    """
    findings = []
    for rule in rules:
        found = [
            _judged(rule, record, one.name, baseline, confirm)
            for record in records
            for one in record.contenders
            if rule.matches(record, one)
        ]
        findings.extend(found or [_unmatched(rule)])
    if all(one.outcome == UNMATCHED for one in findings):
        names = sorted({f"{one.artifact.name}/{one.name}" for record in records for one in record.contenders})
        raise NothingMatched(
            f"no budget is about any of {', '.join(names)[:500] or 'no contender at all'}",
            "edge gate",
            "check board, model, variant and contender of the budgets: a gate that judges nothing passes nothing",
        )
    return Judgement(findings=tuple(findings), strict=strict)


def _judged(rule: Rule, record: Record, name: str, baseline: Record | None, confirm: Record | None) -> Finding:
    standing = next(one for one in summary.standings(record) if one.contender.name == name)
    blank = Finding(
        rule=rule.number,
        model=standing.contender.artifact.name,
        board=record.board,
        contender=name,
        metric=rule.metric,
        figure="–",
        limit=_limit(rule),
        outcome=BROKEN,
        reason="",
    )
    doubt = _unjudged(rule, record, standing)
    if doubt is not None:
        return replace(blank, outcome=doubt[0], reason=doubt[1])
    if rule.min_speedup is not None:
        return _faster(rule, record, blank, confirm)
    if rule.max_growth is not None:
        return _grown(rule, record, blank, baseline, confirm)
    if rule.metric == "p99":
        return _tail(rule, record, blank)
    figure = _start(record, standing, rule.metric) if rule.metric in STARTS else _figure(standing, rule.metric)
    if figure is None:
        return replace(blank, reason=_missing(standing, rule.metric))
    assert rule.limit is not None  # noqa: S101 - a rule has exactly one of three
    told = _told(figure, rule.metric)
    if rule.metric == "fit" and standing.fit is not None:
        told = f"{told} ({standing.fit.mechanism})"
    return _held(blank, figure, told, rule.limit)


def _missing(standing: summary.Standing, metric: str) -> str:
    if metric == "fit" and standing.fit is not None:
        return f"it ran within none of the limits that were tried ({standing.fit.mechanism})"
    return "not measured, or of too few samples"


def _unjudged(rule: Rule, record: Record, standing: summary.Standing) -> tuple[str, str] | None:
    """Return the outcome and the reason where the figures of a contender, or of a machine, can't be judged at all."""
    failure = standing.contender.failure
    if failure is not None:
        return BROKEN, f"{failure.kind}: {failure.reason}"
    if not standing.contender.ranked:
        return BROKEN, "it answers wrongly"
    if rule.metric in OF_LAUNCHES and validity.is_unfit(record.launches):
        return UNSURE, "the machine was not fit in too many rounds: measure again"
    return None


def _held(blank: Finding, figure: Interval, told: str, limit: float) -> Finding:
    low = figure.estimate if figure.low is None else figure.low
    high = figure.estimate if figure.high is None else figure.high
    if high <= limit:
        return replace(blank, figure=told, outcome=HOLDS)
    if low > limit:
        return replace(blank, figure=told, reason="" if low == high else "the whole interval is above the limit")
    return replace(blank, figure=told, outcome=UNSURE, reason="the limit lies within the interval: more rounds tell")


def _tail(rule: Rule, record: Record, blank: Finding) -> Finding:
    """Judge a p99 by how many samples are above its limit: the binomial bound of MLPerf's early stopping."""
    assert rule.limit is not None  # noqa: S101 - a rule has exactly one of three
    samples = [s for launch in record.launches_of(blank.contender) for s in launch.steady_ns]
    above, count = sum(sample > rule.limit for sample in samples), len(samples)
    doubt = _at_most(above, count, TAIL)
    figure = f"{above} of {count} calls slower"
    if doubt <= 1 - rule.confidence:
        return replace(blank, figure=figure, outcome=HOLDS)
    needed = math.ceil(math.log(1 - rule.confidence) / math.log1p(-TAIL))
    what = f"needs {needed} samples at least" if count < needed else "more than one in a hundred may be"
    return replace(blank, figure=figure, reason=f"not shown with {rule.confidence:.4g} confidence: {what}")


def _at_most(above: int, count: int, share: float) -> float:
    """Return P(X <= above) of a binomial: how likely so few slow calls are if `share` of all were slow."""
    total = 0.0
    for k in range(min(above, count) + 1):
        log_choices = math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1)
        total += math.exp(log_choices + k * math.log(share) + (count - k) * math.log1p(-share))
    return min(1.0, total)


def _confirmed(found: Finding, again: Finding | None) -> Finding:
    """Return what was found broken as such only where the second batch of rounds, or second record, finds it too."""
    said = None if again is None else again.outcome == BROKEN
    reason = ", ".join(filter(None, (found.reason, confirmation.in_words(said=said))))
    return replace(found, outcome=BROKEN if said else UNSURE, reason=reason)


def _faster(rule: Rule, record: Record, blank: Finding, confirm: Record | None) -> Finding:
    found = _sped_up(rule, record, blank)
    if found.outcome != BROKEN or found.figure == blank.figure:  # what was not measured needs no confirmation
        return found
    second = confirm or confirmation.second_batch(record)
    return _confirmed(found, None if second is None else _sped_up(rule, second, blank))


def _sped_up(rule: Rule, record: Record, blank: Finding) -> Finding:
    assert rule.min_speedup is not None  # noqa: S101 - a rule has exactly one of three
    other = next((one for one in record.contenders if one.name == rule.than), None)
    if other is None:
        return replace(blank, reason=f"{rule.than} is not in the record")
    one = summary.compare(record, baseline=other.name, contender=blank.contender)
    if one.speedup is None or one.speedup.low is None or one.speedup.high is None:
        return replace(blank, reason=f"no interval of the speed-up over {other.name}: {one.verdict}")
    told = f"{one.speedup.estimate:.2f}x [{one.speedup.low:.2f}, {one.speedup.high:.2f}]"
    if one.speedup.low >= rule.min_speedup:
        return replace(blank, figure=told, outcome=HOLDS)
    if one.speedup.high < rule.min_speedup:
        return replace(blank, figure=told, reason="the whole interval is below the limit")
    return replace(blank, figure=told, outcome=UNSURE, reason="the limit lies within the interval")


def _grown(rule: Rule, record: Record, blank: Finding, baseline: Record | None, confirm: Record | None) -> Finding:
    if baseline is None:
        return replace(blank, reason="relative to a baseline, and none was given: --baseline RECORD.json")
    found = _held_to(rule, baseline, record, blank)
    if found.outcome != BROKEN or found.figure == blank.figure or rule.metric in EXACT:
        return found
    second = confirm or confirmation.second_batch(record)
    return _confirmed(found, None if second is None else _held_to(rule, baseline, second, blank))


def _held_to(rule: Rule, baseline: Record, record: Record, blank: Finding) -> Finding:
    assert rule.max_growth is not None  # noqa: S101 - a rule has exactly one of three
    found = _growth(rule.metric, baseline, record, blank.contender)
    if isinstance(found, str):
        return replace(blank, reason=found)
    return _held(blank, found, _signed(found), 1 + rule.max_growth)


def _growth(metric: str, before: Record, after: Record, name: str) -> Interval | str:
    """Return after over before with its interval, or why there is none."""
    if metric == "file_size":
        sizes = [one.artifact.bytes for record in (before, after) for one in record.contenders if one.name == name]
        if len(sizes) != 2 or not sizes[0]:  # noqa: PLR2004 - before and after
            return "the baseline has no such contender"
        return Interval(sizes[1] / sizes[0], None, None)
    found = comparison.compare(before, after)
    if found.obstacles:
        return f"not comparable: {'; '.join(found.obstacles)}"
    key = f"{metric}_{METRICS[metric]}"
    change: tuple[float | None, float | None]
    if metric == "resident":
        used = [one.memory.resident if one.memory else None for r in (before, after) for one in _named(r, name)]
        change = (used[0], used[1]) if len(used) == 2 else (None, None)  # noqa: PLR2004 - before and after
    else:
        one = next((c for c in found.changes if c.contender == name and c.figure == key), None)
        if one is not None and one.speedup is not None:
            speedup = one.speedup
            low = None if speedup.high is None else 1 / speedup.high
            high = None if speedup.low is None else 1 / speedup.low
            return Interval(1 / speedup.estimate, low, high)
        change = (None, None) if one is None else (one.before, one.after)
    first, second = change
    if not first or second is None:
        return "not measured in both records"
    return Interval(second / first, None, None)


def _named(record: Record, name: str) -> list[summary.Standing]:
    return [one for one in summary.standings(record) if one.contender.name == name]


def _start(record: Record, standing: summary.Standing, metric: str) -> Interval | None:
    found = (one for one in start_figures.figures(record) if one.contender == standing.contender.name)
    return next((one.first_output_ns for one in found if one.cache == STARTS[metric]), None)


def _figure(standing: summary.Standing, metric: str) -> Interval | None:
    latency, memory = standing.latency, standing.memory
    if metric in {"p50", "p90", "mean"}:
        return getattr(latency, metric) if latency else None
    if metric == "cold_start":
        return standing.cold_start_ns
    if metric == "energy":
        return None if standing.energy is None else Interval(standing.energy.net_uj, None, None)
    value: float | None
    if metric == "file_size":
        value = standing.contender.artifact.bytes
    elif metric == "fit":
        value = standing.fit.limit_bytes if standing.fit else None
    elif metric == "max_abs":
        value = standing.contender.answers.max_abs
    else:
        value = getattr(memory, metric) if memory else None
    return None if value is None else Interval(value, None, None)


def _told(figure: Interval, metric: str) -> str:
    text = TEXT[METRICS[metric]]
    limits = "" if figure.low is None or figure.high is None else f" [{text(figure.low)}, {text(figure.high)}]"
    return text(figure.estimate) + limits


def _signed(growth: Interval) -> str:
    limits = "" if growth.low is None or growth.high is None else f" [{growth.low - 1:+.1%}, {growth.high - 1:+.1%}]"
    return f"{growth.estimate - 1:+.1%}{limits}"


def _limit(rule: Rule) -> str:
    if rule.min_speedup is not None:
        return f"at least {rule.min_speedup:g}x {rule.than}"
    if rule.max_growth is not None:
        return f"at most +{rule.max_growth:.1%}"
    assert rule.limit is not None  # noqa: S101 - a rule has exactly one of three
    return f"at most {TEXT[METRICS[rule.metric]](rule.limit)}"


def _unmatched(rule: Rule) -> Finding:
    return Finding(
        rule=rule.number,
        model=rule.model,
        board=rule.board,
        contender=rule.contender,
        metric=rule.metric,
        figure="–",
        limit=_limit(rule),
        outcome=UNMATCHED,
        reason="about no contender of these records",
    )
