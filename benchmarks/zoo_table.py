"""The records of `zoo` as Markdown: who is faster on which network, every figure, and who was left out and why.

Pure: what it says comes from the records alone, so that the page can be made again from them at any time.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from bench.report.overview import escaped
from bench.report.rows import UNKNOWN
from edge_runtime import summary
from edge_runtime.errors import UsageError
from edge_runtime.record import Record
from edge_runtime.stats import Interval
from edge_runtime.units import Text, count, duration, size

OWN = "edge"
BEGIN, END = "<!-- made by make bench-zoo: between these marks nothing is written by hand -->", "<!-- end of it -->"
# how a cell of the first table ends; only the first two are claims
SIGNS = {"faster": "", "slower": " slower", "same": " same", "inconclusive": " ?"}
COLUMNS = (
    ("network", "---"),
    ("threads", "---:"),
    ("contender", "---"),
    ("p50", "---:"),
    ("p99", "---:"),
    ("model's memory", "---:"),
    ("peak memory", "---:"),
    ("cold start", "---:"),
    ("ours is faster by", "---:"),
    ("verdict on ours", "---"),
)


def written(document: str, records: Sequence[Record]) -> str:
    """Return the document with what is between its marks made anew; raise UsageError when it has no marks."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UsageError("the document has no place for the tables", "bench-zoo", f"put in: {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{tables(records)}\n{END}{after}"


def tables(records: Sequence[Record]) -> str:
    """Return all of it: what it was taken on, a table of speed-ups for each thread count, every figure, who is out."""
    if not records:
        return "Nothing was measured yet.\n"
    parts = [_taken_on(records)]
    for threads, some in groupby(sorted(records, key=_threads), key=_threads):
        parts.append(_speedups(threads, sorted(some, key=_model)))
    parts.append(_figures(sorted(records, key=lambda record: (_model(record), _threads(record)))))
    parts.append(_left_out(records))
    return "\n".join(part for part in parts if part)


def _taken_on(records: Sequence[Record]) -> str:
    machines = sorted({f"{one.machine.model}, {count(one.machine.cores, 'core')}" for one in records})
    days = _span(record.created[:10] for record in records)
    engines = {one.name: one.engine for record in records for one in record.contenders if one.engine}
    rounds = _span(len({launch.round for launch in record.launches}) for record in records)
    margin = _span(f"{record.config.margin:.1%}" for record in records)
    told = ", ".join(f"{escaped(name)} ({escaped(engine)})" for name, engine in engines.items())
    return (
        f"On {escaped('; '.join(machines))}; {days}; {rounds} rounds of each network; margin {margin}.\n"
        f"Contenders: {told}.\n"
    )


def _speedups(threads: int, records: Sequence[Record]) -> str:
    """Return a row a network, a column a rival: how much faster ours is; where we lose it is bold and says so."""
    names = list(dict.fromkeys(one.name for record in records for one in record.contenders if one.name != OWN))
    lines = [_row(["network", "ours", *map(escaped, names)]), _row(["---", *["---:"] * (len(names) + 1)])]
    tally: dict[str, int] = {}
    for record in records:
        against = {one.baseline: one for one in summary.comparisons(record, contender=OWN)}
        for one in against.values():
            tally[one.verdict] = tally.get(one.verdict, 0) + 1
        ours = next((one for one in summary.standings(record) if one.contender.name == OWN), None)
        p50 = duration(ours.latency.p50.estimate) if ours and ours.latency else UNKNOWN
        outcomes = {one.name: one.failure.kind for one in record.contenders if one.failure}
        cells = [_speedup(against.get(name), outcomes.get(name, UNKNOWN)) for name in names]
        lines.append(_row([escaped(_model(record)), p50, *cells]))
    told = ", ".join(f"{tally[verdict]} {verdict}" for verdict in (*SIGNS, "invalid") if verdict in tally)
    return (
        f"### With {count(threads, 'thread')}\n\nThe p50 of each over ours, above 1 is in our favour; `?` is "
        f"inconclusive, bold is where we lose. Of {count(sum(tally.values()), 'comparison')}: {told}.\n\n"
        + "\n".join(lines)
        + "\n"
    )


def _speedup(one: summary.Comparison | None, otherwise: str) -> str:
    if one is None:
        return otherwise
    if one.speedup is None:
        return one.verdict
    text = f"{one.speedup.estimate:.2f}×{SIGNS.get(one.verdict, f' {one.verdict}')}"
    return f"**{text}**" if one.verdict == "slower" else text


def _figures(records: Sequence[Record]) -> str:
    lines = [_row([name for name, _ in COLUMNS]), _row([side for _, side in COLUMNS])]
    for record in records:
        against = {one.baseline: one for one in summary.comparisons(record, contender=OWN)}
        lines += [
            _row(_figures_of(record, standing, against.get(standing.contender.name)))
            for standing in summary.standings(record)
            if standing.contender.failure is None
        ]
    return f"### Every figure\n\n95 % intervals in brackets.\n\n{chr(10).join(lines)}\n"


def _figures_of(record: Record, standing: summary.Standing, one: summary.Comparison | None) -> list[str]:
    latency, memory = standing.latency, standing.memory
    verdict = "" if one is None else one.verdict
    cells = [
        escaped(f"{_model(record)} ({_shapes(record)})"),
        str(_threads(record)),
        escaped(standing.contender.name),
        _spread(latency.p50 if latency else None, duration),
        _spread(latency.p99 if latency else None, duration),
        UNKNOWN if memory is None or memory.model_steady is None else size(memory.model_steady),
        UNKNOWN if memory is None or memory.total_peak is None else size(memory.total_peak),
        _spread(standing.cold_start_ns, duration),
        "" if one is None else _spread(one.speedup, lambda value: f"{value:.2f}×"),
        "answers wrongly" if standing.contender.answers.agree is False else verdict,
    ]
    return [f"**{cell}**" if verdict == "slower" and cell else cell for cell in cells]


def _left_out(records: Sequence[Record]) -> str:
    """Return who could not take part where, a line a reason."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for record in records:
        for one in record.contenders:
            if one.failure is not None:
                key = (one.name, f"{one.failure.kind}: {one.failure.reason}")
            elif one.answers.agree is False:
                key = (one.name, f"answers wrongly: {one.answers.problem}")
            else:
                continue
            reasons.setdefault(key, []).append(f"{_model(record)} ({count(_threads(record), 'thread')})")
    if not reasons:
        return ""
    lines = [
        f"- {escaped(name)}, on {escaped(', '.join(places))}: {escaped(reason[:400])}"
        for (name, reason), places in sorted(reasons.items())
    ]
    return "### Left out\n\n" + "\n".join(lines) + "\n"


def _spread(interval: Interval | None, text: Text) -> str:
    if interval is None:
        return UNKNOWN
    if interval.low is None or interval.high is None:
        return text(interval.estimate)
    low, high = text(interval.low), text(interval.high)
    number, _, unit = low.partition(" ")
    return f"{text(interval.estimate)} [{number if unit and high.endswith(f' {unit}') else low}, {high}]"


def _span(values: Iterable[Any]) -> str:
    """Return the least and the most, or the one that there is."""
    known = sorted(set(values))
    return str(known[0]) if len(known) == 1 else f"{known[0]} to {known[-1]}"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _threads(record: Record) -> int:
    return record.config.threads


def _model(record: Record) -> str:
    return record.contenders[0].artifact.name if record.contenders else UNKNOWN


def _shapes(record: Record) -> str:
    return ", ".join("x".join(map(str, shape)) or "scalar" for shape in record.config.shapes.values())
