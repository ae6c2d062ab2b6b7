"""Statistics of a record, computed when it is read: latency, cold start, memory, and who is faster.

The launch is the sample: an estimate is the geometric mean over launches of the launch's own figure, its interval a
t interval over launches. Contenders are compared round by round.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import fmean, pstdev
from typing import Any

from edge_runtime import sustained, validity
from edge_runtime.fits import Fit
from edge_runtime.measured import MeasuredContender
from edge_runtime.memory_use import MemoryUse, memory_use
from edge_runtime.record import Record
from edge_runtime.samples import EnergyLaunch
from edge_runtime.scenarios import best_batch, paired_logs, round_figures
from edge_runtime.stats import (
    Interval,
    discoveries,
    launch_interval,
    least_samples,
    mean_p,
    order_interval,
    percentile,
    ratio_of_logs,
    rounds_needed,
    signed_rank_p,
    supports,
    verdict,
)
from edge_runtime.sustained import Sustained

NS_PER_S = 1_000_000_000
CLAIMS = ("faster", "slower")
TAIL = {"p90": 90.0, "p95": 95.0, "p99": 99.0, "p99.9": 99.9}  # percentiles that few samples can't bound
LAUNCH_TAIL = "p90"  # of each launch by itself, as p50
FIGURES = ("min", "p50", *TAIL, "max", "mean", "sd")
MAX_EXACT = 30  # rounds up to which all sign patterns of a signed-rank test are counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Nanoseconds a call.

    A percentile that the samples can't bound is None; min, max and sd carry their range over launches instead of a
    confidence interval.   samples: of all launches.   fewest: of one launch.
    """

    min: Interval
    p50: Interval
    p90: Interval | None
    p95: Interval | None
    p99: Interval | None
    p99_9: Interval | None
    max: Interval
    mean: Interval
    sd: Interval
    samples: int
    fewest: int

    def figures(self) -> dict[str, Interval | None]:
        """Return the figures by the names they are shown under."""
        return {name: getattr(self, name.replace(".", "_")) for name in FIGURES}

    def shortfall(self, name: str) -> tuple[int, int] | None:
        """Return how many samples there are and are needed for a percentile, None where there are enough.

        p90 is one of each launch, so it needs them in each; those above are of all samples together.
        """
        if name not in TAIL or self.figures()[name] is not None:
            return None
        return self.fewest if name == LAUNCH_TAIL else self.samples, least_samples(TAIL[name])


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyUse:
    """Energy a call in microjoules, on the meter's rail.

    gross: all that was used while calling.   net: without what the idle process used; below zero when the difference
    is less than the meter's noise.
    """

    rail: str
    gross_uj: float
    net_uj: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One contender's figures; None where there was no valid launch."""

    contender: MeasuredContender
    launches: int
    samples: int
    latency: Latency | None
    cold_start_ns: Interval | None
    phases_ns: Mapping[str, Interval]
    memory: MemoryUse | None
    energy: EnergyUse | None
    fit: Fit | None
    sustained: Sustained | None

    @property
    def throughput_per_s(self) -> Interval | None:
        """Calls a second in a closed loop: the inverse of the mean latency."""
        mean = self.latency.mean if self.latency else None
        if mean is None:
            return None
        low = None if mean.high is None else NS_PER_S / mean.high
        high = None if mean.low is None else NS_PER_S / mean.low
        return Interval(NS_PER_S / mean.estimate, low, high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A contender against a baseline. speedup: baseline's time over the contender's (`scenarios.paired_logs`).

    p_value: two-sided, of Student's t over rounds.   signed_rank_p: Wilcoxon's, shown and never gating.
    rounds_needed: about how many rounds would settle an inconclusive verdict. None where rounds are too few to say.
    """

    baseline: str
    contender: str
    speedup: Interval | None
    rounds: int
    verdict: str
    p_value: float | None = None
    signed_rank_p: float | None = None
    rounds_needed: int | None = None


def standings(record: Record) -> tuple[Standing, ...]:
    """Return the figures of every contender, in the record's order."""
    return tuple(_standing(record, contender) for contender in record.contenders)


def comparisons(record: Record, *, contender: str) -> tuple[Comparison, ...]:
    """Compare one contender with each other one of the record, which serve as baselines.

    They are a family: of the verdicts faster and slower at most one in twenty may be luck, on average, so that more
    baselines bring no more false ones. One that could not run, or was lost, is no baseline: its reason is told where
    its figures would be.
    """
    found = [
        compare(record, baseline=other.name, contender=contender)
        for other in record.contenders
        if other.name != contender and other.failure is None
    ]
    tested = [one for one in found if one.p_value is not None]
    stands = discoveries([one.p_value for one in tested if one.p_value is not None])
    fallen = {one.baseline for one, stood in zip(tested, stands, strict=True) if not stood}
    return tuple(
        replace(one, verdict="inconclusive") if one.verdict in CLAIMS and one.baseline in fallen else one
        for one in found
    )


def compare(record: Record, *, baseline: str, contender: str) -> Comparison:
    """Compare two contenders of a record round by round.

    "invalid" when either answered wrongly, or when the machine was not fit in too many rounds (`validity`).
    """
    wrong = any(other.answers.agree is False for other in record.contenders if other.name in {baseline, contender})
    wrong = wrong or validity.is_unfit(record.launches)
    logs = list(paired_logs(record.launches_of(baseline), record.launches_of(contender)).values())
    if wrong:
        return Comparison(baseline=baseline, contender=contender, speedup=None, rounds=len(logs), verdict="invalid")
    if not logs:
        return Comparison(baseline=baseline, contender=contender, speedup=None, rounds=0, verdict="inconclusive")
    speedup = ratio_of_logs(logs)
    judged = verdict(speedup, margin=record.config.margin)
    enough = len(logs) > 1
    return Comparison(
        baseline=baseline,
        contender=contender,
        speedup=speedup,
        rounds=len(logs),
        verdict=judged,
        p_value=mean_p(logs) if enough else None,
        signed_rank_p=signed_rank_p(logs) if enough and len(logs) <= MAX_EXACT else None,
        rounds_needed=rounds_needed(logs, margin=record.config.margin) if judged == "inconclusive" else None,
    )


def warmup_rule(record: Record) -> str:
    """Return how the warm-up was ended, and what that cost, in words."""
    timed = validity.counted(record.launches)
    total = sum(len(one.block_ns) for one in timed)
    cuts = [one.cut for one in timed if one.cut]
    cut = f"in {len(cuts)} of {len(timed)} launches, {sum(cuts) / total:.1%} of all samples" if cuts else "none"
    return f"a minimum of time and calls, then cut where the level last changed early: {cut}"


def launch_p50s(record: Record, contender: str) -> list[float]:
    """Return what each round is judged by, in nanoseconds a sample: the launch's median, see `scenarios`."""
    return list(round_figures(record.launches_of(contender)).values())


def cpus_used(record: Record, contender: str) -> float | None:
    """Return how many CPUs a contender's process kept busy while it was timed, None where the system doesn't tell.

    CPU time over elapsed time, over all its launches: what shows that nobody had more threads at work than another.
    """
    busy, elapsed = 0, 0
    for launch in record.launches_of(contender):
        figures = (launch.before.own_ms, launch.after.own_ms, launch.before.uptime_ms, launch.after.uptime_ms)
        if None in figures:
            return None
        own_before, own_after, up_before, up_after = (figure or 0 for figure in figures)
        busy, elapsed = busy + own_after - own_before, elapsed + up_after - up_before
    return busy / elapsed if elapsed > 0 else None


def document(record: Record, compared: tuple[Comparison, ...]) -> dict[str, Any]:
    """Return the summary that ``--json`` adds to the record on stdout; it is never stored."""
    return {
        "contenders": {standing.contender.name: _standing_document(standing) for standing in standings(record)},
        "comparisons": [
            {
                "baseline": one.baseline,
                "contender": one.contender,
                "speedup": None if one.speedup is None else one.speedup.estimate,
                "low": None if one.speedup is None else one.speedup.low,
                "high": None if one.speedup is None else one.speedup.high,
                "rounds": one.rounds,
                "verdict": one.verdict,
                "p_value": one.p_value,
                "signed_rank_p": one.signed_rank_p,
                "rounds_needed": one.rounds_needed,
            }
            for one in compared
        ],
    }


def _standing(record: Record, contender: MeasuredContender) -> Standing:
    # right at first and wrong or lost later: its samples are kept in the record and make no figure
    launches = record.launches_of(contender.name) if contender.ranked else ()
    # where no rate met the target, what is in the block is the warm-up, kept as evidence
    launches = tuple(launch for launch in launches if launch.rate_per_s != 0)
    if any(launch.batch is not None for launch in launches):
        best = best_batch(launches)  # latencies of several sizes would be of none
        launches = tuple(launch for launch in launches if launch.batch == best)
    blocks = [launch.steady_ns for launch in launches]
    samples = sum(map(len, blocks))
    phases: dict[str, Interval] = {}
    if launches:
        phases = {
            name: launch_interval([launch.phases_ns[name] for launch in launches]) for name in launches[0].phases_ns
        }
    cold = [sum(launch.phases_ns.values()) for launch in launches]
    return Standing(
        contender=contender,
        launches=len(launches),
        samples=samples,
        latency=_latency(blocks, samples) if launches else None,
        cold_start_ns=launch_interval(cold) if launches else None,
        phases_ns=phases,
        memory=memory_use([reading for reading in record.memory if reading.contender == contender.name]),
        energy=next((_energy_use(reading) for reading in record.energy if reading.contender == contender.name), None),
        fit=next((fit for fit in record.fits if fit.contender == contender.name), None),
        sustained=next((one for one in record.sustained if one.contender == contender.name), None),
    )


def _latency(blocks: list[tuple[int, ...]], samples: int) -> Latency:
    # A launch's own p90 needs enough samples of its own; what lies above needs more than one launch has, so it is taken
    # of all samples together: its interval is that of their order, which says nothing of how launches differ.
    every = sorted(sample for block in blocks for sample in block)
    lows, highs = [min(block) for block in blocks], [max(block) for block in blocks]
    p95, p99, p99_9 = (order_interval(every, rank) if supports(samples, rank) else None for rank in (95, 99, 99.9))
    spreads = [pstdev(block) for block in blocks]
    return Latency(
        min=Interval(min(lows), min(lows), max(lows)),
        p50=launch_interval([percentile(block, 50) for block in blocks]),
        p90=launch_interval([percentile(block, 90) for block in blocks])
        if supports(min(map(len, blocks)), TAIL[LAUNCH_TAIL])
        else None,
        p95=p95,
        p99=p99,
        p99_9=p99_9,
        max=Interval(max(highs), min(highs), max(highs)),
        mean=launch_interval([fmean(block) for block in blocks]),
        sd=Interval(pstdev(every), min(spreads), max(spreads)),
        samples=samples,
        fewest=min(map(len, blocks)),
    )


def _energy_use(reading: EnergyLaunch) -> EnergyUse:
    idle_uj = reading.idle_uj / reading.idle_ns * reading.block_ns
    return EnergyUse(
        rail=reading.rail,
        gross_uj=reading.block_uj / reading.calls,
        net_uj=(reading.block_uj - idle_uj) / reading.calls,
    )


def _standing_document(standing: Standing) -> dict[str, Any]:
    latency, memory, energy = standing.latency, standing.memory, standing.energy
    figures = latency.figures() if latency else dict.fromkeys(FIGURES)
    return {
        "latency_ns": {name: _triple(one) for name, one in figures.items()},
        "too_few_samples": {name: list(few) for name in TAIL if latency and (few := latency.shortfall(name))},
        "throughput_per_s": _triple(standing.throughput_per_s),
        "cold_start_ns": _triple(standing.cold_start_ns),
        "memory_bytes": {
            name: None if memory is None or (value := getattr(memory, name)) is None else [value, *memory.limits(name)]
            for name in ("total_peak", "model_steady", "resident")
        },
        "energy_uj": {
            name: None if energy is None else [getattr(energy, f"{name}_uj"), None, None] for name in ("gross", "net")
        },
        "fit": None
        if standing.fit is None
        else {"mechanism": standing.fit.mechanism, "limit_bytes": standing.fit.limit_bytes},
        "sustained": None if standing.sustained is None else sustained.document(standing.sustained),
    }


def _triple(interval: Interval | None) -> list[float | None] | None:
    return None if interval is None else [interval.estimate, interval.low, interval.high]
