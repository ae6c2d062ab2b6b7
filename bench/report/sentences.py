"""A record in words: one sentence that says it all, the verdict on each rival, what they rest on, what was measured."""

from collections.abc import Sequence

from bench.report import evidence
from edge_runtime import confirmation, fits, summary, sustained
from edge_runtime.record import Record
from edge_runtime.units import count, duration, size

HOPELESS = 100  # rounds: whoever would need more needs a quieter machine


def headline(record: Record, *, contender: str) -> str:
    """Return the whole outcome in one sentence, without intervals: these are in `verdicts`."""
    place = f"on {record.machine.model}, {count(record.config.threads, 'thread')}"
    standing = next((one for one in summary.standings(record) if one.contender.name == contender), None)
    if standing is None or not any(launch.valid for launch in record.launches):
        return f"Nothing was timed {place}: the run ended as {record.stop_reason}"
    if standing.contender.answers.agree is False:
        return f"{contender} answers wrongly {place}: its times count for nothing"
    compared = summary.comparisons(record, contender=contender)
    parts = _outcomes(compared)
    if parts:
        told = f"{contender} is {_listed(parts)} {place}"
    elif standing.latency is not None:
        told = f"{contender} answers in {duration(standing.latency.p50.estimate)} (p50) {place}"
    else:
        told = f"{contender} was not timed {place}"
    return "; ".join((told, *_memory(record, standing, compared), *_worst(record, contender)))


def several(records: Sequence[tuple[Record, str]]) -> str:
    """Return the outcome of many records in one sentence: how many comparisons ended how.

    records: each with its contender that the others are compared with.
    """
    tally: dict[str, int] = {}
    for record, contender in records:
        for one in summary.comparisons(record, contender=contender):
            tally[one.verdict] = tally.get(one.verdict, 0) + 1
    own = _listed(list(dict.fromkeys(contender for _, contender in records)))
    total = sum(tally.values())
    if not total:
        return f"{count(len(records), 'record')} of {own}, none of which compares anything"
    words = {"faster": "faster", "same": "as fast", "slower": "slower", "inconclusive": "not told apart"}
    parts = [f"{word} in {tally[verdict]}" for verdict, word in words.items() if tally.get(verdict)]
    parts += [f"not compared in {tally['invalid']}"] if tally.get("invalid") else []
    return f"{own}, in {count(total, 'comparison')} of {count(len(records), 'record')}: {_listed(parts)}"


def verdicts(record: Record, *, contender: str) -> tuple[str, ...]:
    """Return the verdicts with their intervals, one sentence a rival, and how far the answers agree."""
    compared = summary.comparisons(record, contender=contender)
    return (*(_verdict(one, record, len(compared)) for one in compared), *_agreement(record))


def facts(record: Record) -> tuple[str, ...]:
    """Return what the figures were taken on and from: machine, model, engines, evidence, and how to read them."""
    config, machine = record.config, record.machine
    shapes = ", ".join(f"{name} {'x'.join(map(str, shape)) or 'scalar'}" for name, shape in config.shapes.items())
    cpus = ", ".join(map(str, config.cpus))
    used = ((one.name, summary.cpus_used(record, one.name)) for one in record.contenders)
    parity = ", ".join(f"{name} {share:.2f}" for name, share in used if share is not None)
    engines: dict[str, list[str]] = {}
    for one in record.contenders:
        if one.engine:
            engines.setdefault(one.engine, []).append(one.name)
    rounds = len({launch.round for launch in record.launches})
    samples = sum(len(launch.block_ns) for launch in record.launches)
    ended = f"{record.stop_reason}; every launch is a fresh process"
    return (
        f"{machine.model}, {count(config.threads, 'thread')} on CPU {cpus}, board {record.board}",
        *_artifacts(record, shapes),
        *(f"{engine}: {', '.join(names)}" for engine, names in engines.items()),
        f"{count(rounds, 'round')}, {len(record.launches)} launches, {samples} samples, stopped by {ended}",
        *evidence.lines(record),
        "model: what it adds to the process's memory (Pss); peak: the whole process, engine included",
        *([f"CPUs in use while timed, of {len(config.cpus)} that each was bound to: {parity}"] if parity else []),
        *fits.lines(record.fits),
        *(f"sustained: {told}" for told in sustained.lines(record.sustained)),
        *_configured(record),
        *_smoothed(record),
    )


def _outcomes(compared: Sequence[summary.Comparison]) -> list[str]:
    """Return what follows "is": factors first, then who is as fast, then who can't be told apart."""
    parts = []
    for one in compared:
        if one.speedup is not None and one.verdict in summary.CLAIMS:
            factor = one.speedup.estimate if one.verdict == "faster" else 1 / one.speedup.estimate
            parts.append(f"{factor:.2f}x {one.verdict} than {one.baseline}")
    for verdict, words in (("same", "as fast as"), ("inconclusive", "not to be told apart from")):
        alike = [one.baseline for one in compared if one.verdict == verdict and one.speedup is not None]
        parts += [f"{words} {_listed(alike)}"] if alike else []
    return parts


def _memory(record: Record, standing: summary.Standing, compared: Sequence[summary.Comparison]) -> tuple[str, ...]:
    own = standing.memory.total_peak if standing.memory else None
    if own is None:
        return ()
    names = {one.baseline for one in compared if one.verdict != "invalid"}
    others = [
        one.memory.total_peak
        for one in summary.standings(record)
        if one.contender.name in names and one.memory and one.memory.total_peak
    ]
    if not others:
        return (f"the process takes {size(own)} at most",)
    low, high = size(min(others)), size(max(others))
    return (f"the process takes {size(own)} at most, the others' {low if low == high else f'{low} to {high}'}",)


def _worst(record: Record, contender: str) -> tuple[str, ...]:
    own = next(one for one in record.contenders if one.name == contender).answers
    return (f"its answers are right within {own.max_abs:.2g}",) if own.agree and own.max_abs is not None else ()


def _listed(parts: Sequence[str]) -> str:
    return ", ".join(parts[:-1]) + (" and " if len(parts) > 1 else "") + parts[-1] if parts else ""


def _verdict(one: summary.Comparison, record: Record, family: int) -> str:
    ours, theirs, speedup = one.contender, one.baseline, one.speedup
    wrong = [name.name for name in record.contenders if name.answers.agree is False and name.name in {ours, theirs}]
    if one.verdict == "invalid":
        why = f"{' and '.join(wrong)} answers wrongly" if wrong else "the machine was not fit in too many rounds"
        return f"{ours} and {theirs} are not compared: {why}"
    if speedup is None:
        return f"{ours} and {theirs} are not compared: no round has both"
    if speedup.low is None or speedup.high is None:
        told = f"a speed-up of {speedup.estimate:.2f}x in {count(one.rounds, 'round')}, which gives no interval"
        return f"{ours} and {theirs}: inconclusive, {told}"
    backwards = one.verdict == "slower"
    shown = (1 / speedup.high, 1 / speedup.low) if backwards else (speedup.low, speedup.high)
    interval = f"(95 % interval {shown[0]:.2f} to {shown[1]:.2f}, {count(one.rounds, 'round')})"
    if one.verdict == "same":
        return f"{ours} is as fast as {theirs} here, within {record.config.margin:.1%} {interval}"
    if one.verdict == "inconclusive":
        told = f"a speed-up of {speedup.estimate:.2f}x is not beyond doubt {interval}"
        return f"{ours} and {theirs}: inconclusive, {told}; {_settling(one, family)}"
    factor = 1 / speedup.estimate if backwards else speedup.estimate
    told = f"{ours} is {factor:.2f}x {one.verdict} than {theirs} here {interval}"
    return f"{told}, {confirmation.in_words(said=confirmation.confirmed(record, one))}" if backwards else told


def _settling(one: summary.Comparison, family: int) -> str:
    """Return what would settle an inconclusive verdict."""
    if one.rounds_needed is None:
        return f"alone it would stand, but of {family} comparisons one may look like this by luck"
    more = one.rounds_needed - one.rounds
    if one.rounds_needed > HOPELESS:
        return f"it would take about {more} more rounds: rather a quieter machine, or a wider margin"
    return f"about {count(more, 'more round')} would settle it"


def _agreement(record: Record) -> tuple[str, ...]:
    agreeing = [one for one in record.contenders if one.answers.agree]
    unchecked = [one.name for one in record.contenders if one.answers.agree is None and one.failure is None]
    told = []
    if agreeing:
        worst = max((one.answers.max_abs or 0.0 for one in agreeing), default=0.0)
        told.append(f"answers agree with the golden cases within {worst:.2g} ({', '.join(o.name for o in agreeing)})")
    if unchecked:
        told.append(f"answers of {', '.join(unchecked)} are unchecked: the artifact has no golden case")
    return tuple(told)


def _artifacts(record: Record, shapes: str) -> list[str]:
    """Return which model was measured; which contender ran which, where they are several."""
    names: dict[tuple[str, str, str], list[str]] = {}
    for one in record.contenders:
        artifact = one.artifact
        names.setdefault((artifact.name, artifact.variant, artifact.sha256), []).append(one.name)
    if len(names) == 1:
        return [f"{name} ({variant}), {shapes}" for name, variant, _ in names]
    told = [f"{name} ({variant}, SHA-256 {sha[:12]}): {', '.join(who)}" for (name, variant, sha), who in names.items()]
    return [shapes, *told]


def _configured(record: Record) -> tuple[str, ...]:
    """Return what contenders ran with, as they told it: one line for those that ran with the same."""
    alike: dict[str, list[str]] = {}
    for one in record.contenders:
        told = ", ".join(f"{key} {value}" for key, value in one.configuration.items())
        if told:
            alike.setdefault(told, []).append(one.name)
    return tuple(f"configuration of {', '.join(names)}: {told}" for told, names in alike.items())


def _smoothed(record: Record) -> tuple[str, ...]:
    groups = {
        one.name: max((x.calls_per_sample for x in record.launches_of(one.name)), default=1)
        for one in record.contenders
    }
    long = {name: calls for name, calls in groups.items() if calls > 1}
    if not long:
        return ()
    told = ", ".join(f"{name} {calls}" for name, calls in long.items())
    return (f"calls too short for the clock are timed in groups ({told}): p90 and p99 are smoother than single calls'",)
