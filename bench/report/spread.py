"""How the latencies of contenders lie to each other, for a terminal: one row each, on one logarithmic axis."""

import math

from edge_runtime import summary
from edge_runtime.record import Record
from edge_runtime.stats import percentile
from edge_runtime.units import duration, visible

BLOCKS, PLAIN = " ▁▂▃▄▅▆▇█", " .:-=+*%#"
TAIL, NAME = 99, 16  # per cent that the axis reaches to; letters of a name, at most


def spread(record: Record, *, width: int, blocks: bool) -> tuple[str, ...]:
    """Return one line a contender, a letter's height for the share of calls in its class, and the axis above them.

    width: of a line, in letters.   blocks: False draws with letters that every encoding has.
    Empty where no contender has samples, or a line has no room for a picture.
    """
    letters = BLOCKS if blocks else PLAIN
    shown = {one.contender.name: one for one in summary.standings(record) if one.latency}
    samples = {name: [s for x in record.launches_of(name) for s in x.steady_ns] for name in shown}
    column = min(NAME, max((len(visible(name)) for name in shown), default=0))
    room = width - column - 2
    if not shown or room < len(letters):
        return ()
    low = min(map(min, samples.values()))
    high = max(low + 1, *(percentile(own, TAIL) for own in samples.values()))
    scale = room / math.log(high / low)
    ends = duration(low), duration(high)
    lines = [" " * (column + 2) + ends[0] + ends[1].rjust(room - len(ends[0]))]
    for name, own in samples.items():
        counts = [0] * room
        for sample in own:
            counts[min(room - 1, int(math.log(sample / low) * scale))] += 1
        most = max(counts)
        # what happened once is not nothing
        bar = "".join(letters[math.ceil(number / most * (len(letters) - 1))] for number in counts)
        label = visible(name)
        label = label if len(label) <= column else label[: column - 1] + "~"
        lines.append(f"{label:<{column}}  {bar}".rstrip())
    return tuple(lines)
