"""What is asked of an engine while it is timed, and the one figure each launch is judged by.

single: one call after the other.   periodic: a call every 1 / rate seconds, late ones wait.   offline: batches of
growing size, as fast as they go.   server: random arrivals, the largest rate with p99 within a target.   multi: several
processes at once. The names are MLPerf's (loadgen), periodic is ours.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

from edge_runtime.errors import UsageError
from edge_runtime.manifest import Port
from edge_runtime.record import SCENARIOS
from edge_runtime.samples import Launch
from edge_runtime.stats import percentile

BATCHES = (1, 2, 4, 8, 16, 32)
MAX_WORKERS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A scenario with its terms; those of other scenarios are None or empty.

    rate_per_s: of periodic.   target_ns: of server's p99.   batches: sizes of offline.   workers: of multi.
    """

    name: str = "single"
    rate_per_s: float | None = None
    target_ns: int | None = None
    batches: tuple[int, ...] = ()
    workers: int | None = None

    def __post_init__(self) -> None:
        """Refuse a scenario without its terms, or with those of another."""
        if self.name not in SCENARIOS:
            raise UsageError(f"no scenario {self.name!r}", "--scenario", f"known are {', '.join(SCENARIOS)}")
        terms = {
            "periodic": ("--rate", self.rate_per_s),
            "server": ("--target", self.target_ns),
            "offline": ("--batches", self.batches or None),
            "multi": ("--workers", self.workers),
        }
        for name, (flag, value) in terms.items():
            if (name == self.name) != (value is not None):
                what = f"{name} without {flag}" if name == self.name else f"{flag} with the scenario {self.name}"
                raise UsageError(what, "the scenario", f"{flag} belongs to --scenario {name}")
        if self.rate_per_s is not None and not 0 < self.rate_per_s < math.inf:
            raise UsageError(f"a rate of {self.rate_per_s}", "--rate", "give calls a second above zero")
        if self.target_ns is not None and self.target_ns < 1:
            raise UsageError(f"a target of {self.target_ns} ns", "--target", "give a time above zero, such as 30ms")
        if any(batch < 1 for batch in self.batches) or len(set(self.batches)) != len(self.batches):
            raise UsageError(f"batches {self.batches}", "--batches", "give sizes from 1, each once")
        if self.workers is not None and not 1 <= self.workers <= MAX_WORKERS:
            raise UsageError(f"{self.workers} workers", "--workers", f"ask for 1 to {MAX_WORKERS}")

    @property
    def closed_loop(self) -> bool:
        """Whether one process calls as fast as it can, so that its block can be taken piece by piece."""
        return self.rate_per_s is None and self.target_ns is None and self.workers is None


SINGLE = Scenario()


def refuse_fixed_batch(inputs: Sequence[Port]) -> None:
    """Raise UsageError unless every input begins with one and the same dimension of any size: the batch."""
    firsts = {port.name: port.shape[0] if port.shape else None for port in inputs}
    fixed = [name for name, first in firsts.items() if not isinstance(first, str)]
    if fixed or len(set(firsts.values())) > 1:
        what = f"{', '.join(fixed)} has no first dimension of any size" if fixed else "the inputs have several batches"
        raise UsageError(
            what, "--scenario offline", "export it with a dynamic batch: edge export --dynamic NAME:0=batch"
        )


def round_figures(launches: Sequence[Launch]) -> dict[int, float]:
    """Return what each round of one contender is judged by: nanoseconds a sample, lower is better.

    single, periodic: the launch's p50.   offline: p50 over the batch's size, at the size that is fastest over all
    rounds.   server: the time between arrivals at the largest rate, rounds without one left out.   multi: the time
    between calls of all processes together.
    """
    if any(launch.batch is not None for launch in launches):
        best = best_batch(launches)
        launches = [launch for launch in launches if launch.batch == best]
    rounds: dict[int, list[Launch]] = {}
    for launch in launches:
        rounds.setdefault(launch.round, []).append(launch)
    return {index: value for index, of_round in rounds.items() if (value := _figure(of_round)) is not None}


def paired_logs(slow: Sequence[Launch], fast: Sequence[Launch]) -> dict[int, float]:
    """Return for each round that both contenders have the logarithm of slow's time over fast's.

    Of blocks that took turns piece by piece: the median over pieces of the logarithm of the ratio of their medians,
    each of two neighbours in time; what disturbs a few pieces, or a beginning, moves it little. Of other blocks: of
    what the rounds are judged by (`round_figures`).
    """
    pieces, others = _pieces(slow), _pieces(fast)
    together = [at for at in pieces.keys() & others.keys() if pieces[at] and len(pieces[at]) == len(others[at])]
    found = {
        index: median(
            math.log(percentile(one, 50) / percentile(other, 50))
            for one, other in zip(pieces[index], others[index], strict=True)
        )
        for index in together
    }
    figures, other_figures = (
        round_figures([one for one in launches if one.round not in found]) for launches in (slow, fast)
    )
    found |= {at: math.log(figures[at] / other_figures[at]) for at in figures.keys() & other_figures.keys()}
    return dict(sorted(found.items()))


def _pieces(launches: Sequence[Launch]) -> dict[int, tuple[tuple[int, ...], ...]]:
    """Return each round's block piece by piece; none where batches had several sizes, which weren't timed together."""
    return {one.round: one.pieces for one in launches if one.batch is None and one.worker is None}


def best_batch(launches: Sequence[Launch]) -> int | None:
    """Return the batch size with the least time a sample, by the geometric mean over launches; None without any."""
    sizes = sorted({launch.batch for launch in launches if launch.batch is not None})
    if not sizes:
        return None
    return min(sizes, key=lambda size: fmean(math.log(ns_a_sample(one)) for one in launches if one.batch == size))


def ns_a_sample(launch: Launch) -> float:
    """Return a launch's p50, divided by its batch size, in nanoseconds."""
    return percentile(launch.steady_ns, 50) / (launch.batch or 1)


def _figure(launches: Sequence[Launch]) -> float | None:
    """Return the figure of one round: of one launch, or of the processes that ran at once."""
    first = launches[0]
    if first.worker is not None:
        return 1 / sum(1 / fmean(launch.steady_ns) for launch in launches)
    if first.rate_per_s is not None:
        return 1e9 / first.rate_per_s if first.rate_per_s > 0 else None
    return ns_a_sample(first)
