"""How latencies are spread, for a terminal: one row a class, its bar in block characters.

A median says nothing of a second mode, and a percentile nothing of how many calls are near it.
"""

from collections.abc import Sequence

from edge_runtime.console import RIGHT, table
from edge_runtime.stats import percentile
from edge_runtime.units import duration

ROWS, WIDTH = 10, 40
TAIL = 99  # per cent: the rest shares one row, or a single slow call would squeeze all others into another
EIGHTHS = " ▏▎▍▌▋▊▉█"


def histogram(samples_ns: Sequence[int], *, blocks: bool = True) -> str:
    """Return the rows of a histogram: classes of one width from the least sample to the 99th percentile, then the rest.

    samples_ns: at least one, nanoseconds, in any order.   blocks: False draws with "#", for an output without them.
    """
    low, high = min(samples_ns), percentile(samples_ns, TAIL)
    # whole nanoseconds, so that no sample falls between two classes; and no finer than the three digits of a label
    width = max(1, -(-(high - low + 1) // ROWS), high // 100)
    counts = [0] * (ROWS + 1)
    for sample in samples_ns:
        counts[ROWS if sample > high else (sample - low) // width] += 1
    last = max(index for index, count in enumerate(counts[:ROWS]) if count)  # few distinct values need fewer rows
    rows = [
        (f"{duration(low + index * width)} to {duration(low + (index + 1) * width)}", counts[index])
        for index in range(last + 1)
    ]
    if counts[ROWS]:
        rows.append((f"up to {duration(max(samples_ns))}", counts[ROWS]))
    most = max(counts)
    return table(
        [
            (label, f"{count / len(samples_ns):.1%}", (_bar if blocks else _hashes)(count / most))
            for label, count in rows
        ],
        RIGHT * 2,
    )


def _hashes(share: float) -> str:
    return "#" * max(round(share * WIDTH), share > 0)


def _bar(share: float) -> str:
    whole, rest = divmod(round(share * WIDTH * 8), 8)
    bar = "█" * whole + EIGHTHS[rest].strip()
    return bar or ("▏" if share else "")  # what happened once is not nothing
