"""What a scenario is measured for, beyond the latencies every record has: figures of each contender, and in words."""

from collections.abc import Mapping
from dataclasses import dataclass

from edge_runtime import units
from edge_runtime.record import Record
from edge_runtime.samples import Launch
from edge_runtime.scenarios import best_batch, ns_a_sample
from edge_runtime.stats import Interval, launch_interval, percentile, supports


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of one contender; None or empty where the scenario has no such figure.

    missed: share of periodic calls that took longer than their period, from when they were due.
    jitter_ns: p99 - p50 of all of them, None below the samples that bound a p99.
    samples_per_s: by batch size.   best_batch: the size with the most.
    rate_per_s: the largest rate within server's target.   unmet: launches in which no rate met it.
    worker_p90_ns: of multi, by process.   proportional_bytes: the sum of the processes' Pss.
    """

    contender: str
    missed: float | None = None
    jitter_ns: int | None = None
    samples_per_s: Mapping[int, Interval]
    best_batch: int | None = None
    rate_per_s: Interval | None = None
    unmet: int = 0
    worker_p90_ns: tuple[Interval, ...] = ()
    proportional_bytes: Interval | None = None


def figures(record: Record) -> tuple[Figures, ...]:
    """Return the figures of every contender that answers right, in the record's order; none for the scenario single."""
    if record.config.scenario == "single":
        return ()
    right = [one.name for one in record.contenders if one.ranked]
    return tuple(_figures(record, name) for name in right if record.launches_of(name))


def lines(record: Record) -> tuple[str, ...]:
    """Return the figures in words, a line for each contender."""
    return tuple(f"{one.contender}: {_told(one, record)}" for one in figures(record))


def document(record: Record) -> dict[str, object]:
    """Return the figures as JSON, by contender: intervals are [estimate, low, high]."""
    return {
        one.contender: {
            "missed": one.missed,
            "jitter_ns": one.jitter_ns,
            "samples_per_s": {str(size): _triple(value) for size, value in one.samples_per_s.items()},
            "best_batch": one.best_batch,
            "rate_per_s": _triple(one.rate_per_s),
            "unmet": one.unmet,
            "worker_p90_ns": [_triple(value) for value in one.worker_p90_ns],
            "proportional_bytes": _triple(one.proportional_bytes),
        }
        for one in figures(record)
    }


def _figures(record: Record, name: str) -> Figures:
    launches, config = record.launches_of(name), record.config
    if config.scenario == "periodic" and config.rate_per_s:
        every = [sample for launch in launches for sample in launch.steady_ns]
        late = sum(sample > 1e9 / config.rate_per_s for sample in every)
        jitter = percentile(every, 99) - percentile(every, 50) if supports(len(every), 99) else None
        return Figures(contender=name, missed=late / len(every), jitter_ns=jitter, samples_per_s={})
    if config.scenario == "offline":
        sizes = sorted({launch.batch for launch in launches if launch.batch is not None})
        rates = {
            size: launch_interval([1e9 / ns_a_sample(one) for one in launches if one.batch == size]) for size in sizes
        }
        return Figures(contender=name, samples_per_s=rates, best_batch=best_batch(launches))
    if config.scenario == "server":
        found = [launch.rate_per_s for launch in launches if launch.rate_per_s]
        rate = launch_interval(found) if found else None
        return Figures(contender=name, rate_per_s=rate, unmet=len(launches) - len(found), samples_per_s={})
    workers = sorted({launch.worker for launch in launches if launch.worker is not None})
    p90s = tuple(
        launch_interval([percentile(one.steady_ns, 90) for one in launches if one.worker == worker])
        for worker in workers
    )
    sums = _sums(launches)
    memory = launch_interval(sums) if sums else None
    return Figures(contender=name, worker_p90_ns=p90s, proportional_bytes=memory, samples_per_s={})


def _sums(launches: tuple[Launch, ...]) -> list[int]:
    """Return the sum of Pss of each round in which every process told it."""
    rounds: dict[int, list[int | None]] = {}
    for launch in launches:
        rounds.setdefault(launch.round, []).append(launch.proportional_bytes)
    return [sum(filter(None, told)) for told in rounds.values() if None not in told]


def _told(one: Figures, record: Record) -> str:
    config = record.config
    if one.missed is not None and config.rate_per_s is not None:
        period = units.duration(1e9 / config.rate_per_s)
        jitter = "" if one.jitter_ns is None else f", jitter (p99 - p50) {units.duration(one.jitter_ns)}"
        return f"{one.missed:.2%} of calls late at {units.rate(config.rate_per_s)} (period {period}){jitter}"
    if one.samples_per_s:
        rates = ", ".join(
            f"{size}: {units.rate(rate.estimate)}{_share(rate)}{' (best)' if size == one.best_batch else ''}"
            for size, rate in one.samples_per_s.items()
        )
        return f"samples a second by batch: {rates}"
    if config.target_ns is not None:
        target = units.duration(config.target_ns)
        if one.rate_per_s is None:
            return f"no rate keeps p99 within {target}"
        unmet = f", in {units.count(one.unmet, 'launch')} none" if one.unmet else ""
        return f"up to {units.rate(one.rate_per_s.estimate)}{_share(one.rate_per_s)} with p99 within {target}{unmet}"
    p90s = ", ".join(units.duration(value.estimate) for value in one.worker_p90_ns)
    memory = one.proportional_bytes
    total = "" if memory is None else f"; {units.size(memory.estimate)} together (Pss)"
    return f"{units.count(len(one.worker_p90_ns), 'process')} at once, p90 of each {p90s}{total}"


def _share(interval: Interval) -> str:
    return "" if interval.high is None else f" ±{interval.high / interval.estimate - 1:.1%}"


def _triple(interval: Interval | None) -> list[float | None] | None:
    return None if interval is None else [interval.estimate, interval.low, interval.high]
