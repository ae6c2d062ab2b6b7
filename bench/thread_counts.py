"""One run for each of several thread counts: which counts, which files, and what more threads brought, in words.

The runs follow one another, so that what drifts doesn't cancel between them as it does within one: the ratio has
Welch's interval, and differences up to the margin count as none.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_runtime import processors, summary
from edge_runtime.environment import available_cpus
from edge_runtime.record import Record
from edge_runtime.stats import launch_interval, unpaired_ratio, verdict
from edge_runtime.tree import Tree
from edge_runtime.units import count, duration

KIND, SCHEMA = "edge-thread-counts", 1
SWEEP = "sweep"


def parse(text: str) -> tuple[int, ...]:
    """Return the counts of ``2``, ``1,2`` or ``sweep``: 1, 2, 4 … up to all CPUs of the fastest kind."""
    if text == SWEEP:
        return processors.sweep(len(processors.fastest(Tree(), available_cpus())))
    words = text.split(",")
    counts = tuple(int(word) for word in words if word.isdecimal() and len(word) <= 4)  # noqa: PLR2004 - CPUs
    if len(counts) != len(words) or 0 in counts or len(set(counts)) != len(counts):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a list of thread counts such as 1,2 nor {SWEEP}")
    return counts


def path_of(output: Path, threads: int, counts: Sequence[int]) -> Path:
    """Return the file of one run: what was asked for when it is the only one, else ``R-2t.json``."""
    if len(counts) == 1:
        return output
    return output.with_name(f"{output.stem}-{threads}t{output.suffix}")


def lines(records: Sequence[Record]) -> tuple[str, ...]:
    """Return what more threads brought, a line a contender."""
    margin = max(record.config.margin for record in records)
    return tuple(f"{name}: {_told(_p50s(records, name), margin)}" for name in _names(records))


def document(records: Sequence[Record], summaries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the one JSON document of several runs: each record with its summary, and each contender's best count."""
    told = zip(records, summaries, strict=True)
    return {
        "kind": KIND,
        "schema": SCHEMA,
        "records": [{**record.to_document(), "summary": summary_of} for record, summary_of in told],
        "best_threads": {name: _best(known) if (known := _p50s(records, name)) else None for name in _names(records)},
    }


def _names(records: Sequence[Record]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one.name for record in records for one in record.contenders))


def _p50s(records: Sequence[Record], name: str) -> dict[int, list[float]]:
    """Return the p50 of each launch by thread count, where the contender has figures."""
    found = {}
    for record in records:
        ranked = any(one.name == name and one.ranked for one in record.contenders)
        if ranked and (p50s := summary.launch_p50s(record, name)):
            found[record.config.threads] = p50s
    return found


def _best(known: Mapping[int, list[float]]) -> int:
    return min(known, key=lambda threads: launch_interval(known[threads]).estimate)


def _told(known: Mapping[int, list[float]], margin: float) -> str:
    if not known:
        return "no figures"
    least, best = min(known), _best(known)
    p50s = f"p50 {', '.join(f'{duration(launch_interval(p50s).estimate)} with {n}' for n, p50s in known.items())}"
    if len(known) == 1:
        return f"figures with {count(best, 'thread')} only, {p50s}"
    if best == least:
        return f"best with {count(best, 'thread')}, {p50s}"
    speedup = unpaired_ratio(known[least], known[best])
    limits = "one round gives no interval"
    if speedup.low is not None:
        limits = f"95 % interval {speedup.low:.2f} to {speedup.high:.2f}"
    ratio = f"{speedup.estimate:.2f}x as fast as with {least} ({limits}), {p50s}"
    if verdict(speedup, margin=margin) == "faster":
        return f"best with {count(best, 'thread')}, {ratio}"
    return f"no more threads than {least} are faster beyond doubt; {best}: {ratio}"
