"""What the charts of a record show, as rows of plain values: pure, without a plotting library.

Times are in milliseconds and sizes in MiB, since axes need one unit; texts for tooltips carry their own. A contender
that answered wrongly is in none of them: its figures are nobody's.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from edge_runtime import summary
from edge_runtime.measured import PHASES
from edge_runtime.record import Record
from edge_runtime.samples import Launch
from edge_runtime.stats import percentile
from edge_runtime.units import duration, size, visible

Rows = list[dict[str, Any]]

NS_PER_MS, BYTES_PER_MIB = 1e6, 2.0**20
WORST_RANK = 99.9  # the axis of ranks ends here: 1 - rank is drawn as a logarithm, which has no 100 %
RANKS = (*range(1, 90), *(x / 10 for x in range(900, 990)), *(x / 100 for x in range(9900, 9991)))
COLUMNS, LEAST_COLUMNS = 900, 4  # pixels of the trace, shared by its launches
SPIKE = 3.0  # times the median: slower samples are drawn at the edge, or one would flatten all others


def names(record: Record) -> list[str]:
    """Return the contenders that have figures, in the record's order."""
    return [standing.contender.name for standing in summary.standings(record) if standing.latency]


def distribution(record: Record) -> Rows:
    """Return points of each contender's cumulative distribution, up to the percentile that its samples support.

    nines: -log10 of the share that is slower, so that the tail has room: 1 is p90, 2 is p99.
    """
    points: Rows = []
    for name in names(record):
        if record.config.scenario == "offline":
            break  # its launches have several batch sizes: together their latencies are of none
        launches = (launch for launch in record.launches_of(name) if launch.rate_per_s != 0)
        samples = sorted(sample for launch in launches for sample in launch.steady_ns)
        for rank in RANKS:
            # beyond the last sample but one a rank says no more than "the slowest"
            if (1 - rank / 100) * len(samples) < 1:
                break
            value = percentile_of_sorted(samples, rank)
            points.append(
                {
                    "contender": visible(name),
                    "ms": value / NS_PER_MS,
                    "nines": -math.log10(1 - rank / 100),
                    "rank": f"p{rank:g}",
                    "latency": duration(value),
                }
            )
    return points


def percentile_of_sorted(ordered: Sequence[int], rank: float) -> int:
    """Return what `stats.percentile` does, of samples that are sorted already."""
    return ordered[math.ceil(rank * len(ordered) / 100) - 1]


def speedups(record: Record, *, contender: str) -> Rows:
    """Return one row a baseline: the speed-up of `contender` over it with its interval and verdict."""
    return [
        {
            "baseline": visible(one.baseline),
            "speedup": one.speedup.estimate,
            "low": one.speedup.low,
            "high": one.speedup.high,
            "verdict": one.verdict,
            "text": f"{one.speedup.estimate:.3g}x, 95 % interval {one.speedup.low:.3g} to {one.speedup.high:.3g}",
        }
        for one in summary.comparisons(record, contender=contender)
        if one.speedup and one.speedup.low is not None and one.speedup.high is not None and one.verdict != "invalid"
    ]


def in_order(record: Record) -> list[Launch]:
    """Return the launches in the order they ran."""
    return sorted(record.launches, key=lambda launch: (launch.round, launch.order))


def trace(record: Record, name: str, *, columns: int = COLUMNS) -> tuple[Rows, Rows, int]:
    """Return a contender's samples in order of time, where their warm-up lies, and how many are off the chart.

    x: launch i of the whole run covers [i, i + 1). A column holds least, median, p90 and most of its samples; as
    many columns as there are samples where these are few.
    """
    launches = in_order(record)
    each = max(LEAST_COLUMNS, columns // max(1, len(launches)))
    own = [sample for launch in record.launches_of(name) for sample in launch.block_ns]
    edge = SPIKE * percentile(own, 50)
    bins: Rows = []
    warm: Rows = []
    for position, launch in enumerate(launches):
        if launch.contender != name or not launch.valid:
            continue
        samples = (*launch.warmup_ns, *launch.block_ns)
        unused = len(launch.warmup_ns) + (launch.cut or 0)
        if unused:
            told = f"{len(launch.warmup_ns)} warm-up samples, {launch.cut or 0} cut off afterwards"
            warm.append({"start": position, "end": position + unused / len(samples), "told": told})
        count = min(each, len(samples))
        edges = [round(index * len(samples) / count) for index in range(count + 1)]
        for start, end in pairwise(edges):
            part = sorted(samples[start:end])
            middle = part[len(part) // 2]
            bins.append(
                {
                    "x": round(position + (start + end) / 2 / len(samples), 4),
                    "low": min(part[0], edge) / NS_PER_MS,
                    "ms": min(middle, edge) / NS_PER_MS,
                    "most": min(percentile_of_sorted(part, 90), edge) / NS_PER_MS,
                    "high": min(part[-1], edge) / NS_PER_MS,
                    "launch": f"round {launch.round + 1}, place {launch.order + 1}",
                    "samples": f"{end - start} from {duration(part[0])} to {duration(part[-1])}",
                    "median": duration(middle),
                }
            )
    return bins, warm, sum(sample > edge for sample in own)


CONDITIONS = (
    ("clock of the CPUs used, GHz", "frequency_khz", 1e6),
    ("temperature, °C", "temperature_millicelsius", 1e3),
    ("throttling bits", "throttled_bits", 1.0),
    ("load average, 1 minute", "load_1m_hundredths", 100.0),
)


def conditions(record: Record) -> dict[str, Rows]:
    """Return, by what is read, its values before and after each launch; what this machine doesn't tell is left out."""
    found: dict[str, Rows] = {}
    for title, field, factor in CONDITIONS:
        points = []
        for position, launch in enumerate(in_order(record)):
            for x, when, reading in ((position, "before", launch.before), (position + 0.97, "after", launch.after)):
                value = getattr(reading, field)
                if value is not None:
                    told = f"{when} {visible(launch.contender)}, round {launch.round + 1}"
                    points.append({"x": x, "value": value / factor, "when": told})
        if points:
            found[title] = points
    return found


STACK = ("engine and inputs", "model, loaded", "first calls")


def memory(record: Record) -> Rows:
    """Return the parts of each contender's memory (Pss) in steady state, and its peak, in MiB."""
    parts: Rows = []
    for reading in record.memory:
        if reading.contender not in names(record):
            continue
        levels = [reading.points[point].proportional for point in ("base", "loaded", "steady")]
        peaks = [point.peak for point in reading.points.values()]
        base, loaded, steady = levels
        if base is None or loaded is None or steady is None:
            continue
        known = [peak for peak in peaks if peak is not None]
        peak = max(known) if len(known) == len(peaks) else None
        # what was given back since has no bar: a stack of differences can't show less than nothing
        for index, value in enumerate((base, max(0, loaded - base), max(0, steady - max(loaded, base)))):
            parts.append(
                {
                    "contender": visible(reading.contender),
                    "part": STACK[index],
                    "order": index,
                    "mib": value / BYTES_PER_MIB,
                    "text": size(value),
                    "peak": None if peak is None else peak / BYTES_PER_MIB,
                    "peak text": "unknown" if peak is None else size(peak),
                }
            )
        # memory launches may be repeated: the first is the one that the figures are of
        record_names = [row["contender"] for row in parts]
        if record_names.count(visible(reading.contender)) > len(STACK):
            del parts[-len(STACK) :]
    return parts


STEPS = {"spawn": "start of Python", "import": "import of the engine", "load": "load", "first": "first call"}


def cold_starts(record: Record) -> Rows:
    """Return the phases from a fresh process to its first result, in milliseconds."""
    return [
        {
            "contender": visible(standing.contender.name),
            "step": STEPS[phase],
            "order": index,
            "ms": standing.phases_ns[phase].estimate / NS_PER_MS,
            "text": duration(standing.phases_ns[phase].estimate),
        }
        for standing in summary.standings(record)
        if standing.phases_ns
        for index, phase in enumerate(PHASES)
    ]


def trade(record: Record) -> Rows:
    """Return latency against peak memory, with how far the answers are from the golden ones."""
    points: Rows = []
    for standing in summary.standings(record):
        latency, used = standing.latency, standing.memory
        if latency is None or used is None or used.total_peak is None:
            continue
        error = standing.contender.answers.max_abs
        points.append(
            {
                "contender": visible(standing.contender.name),
                "ms": latency.p50.estimate / NS_PER_MS,
                "mib": used.total_peak / BYTES_PER_MIB,
                "error": error or 0.0,
                "latency": duration(latency.p50.estimate),
                "memory": size(used.total_peak),
                "worst": "unchecked" if error is None else f"{error:.2g}",
            }
        )
    return points
