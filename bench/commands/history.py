"""The verb `edge history`: the line of a figure over records, with its steps and version marks."""

from collections.abc import Sequence
from pathlib import Path

from bench import history as keeping
from bench.suspicion import Suspicion
from edge_runtime.console import RIGHT, Console, table, verb_parser
from edge_runtime.units import Text, count, duration, size

EXAMPLES = ("edge history digits", "edge history digits --records results --metric total_peak --contender edge")
BLOCKS, HASHES = "▁▂▃▄▅▆▇█", "12345678"
SHOWN = 20  # of a line's points, the latest


def history(argv: list[str]) -> int:
    """Print each line: one sentence on its steps, then its latest points."""
    parser = verb_parser(
        "history",
        "The line of a figure over the records in a folder, its steps and what changed.",
        EXAMPLES,
    )
    parser.add_argument("name", metavar="NAME", help="the artifact's name")
    parser.add_argument("--records", metavar="DIR", type=Path, default=Path(), help="where they are (default: here)")
    parser.add_argument("--metric", choices=keeping.METRICS, default="p50", help="default: p50")
    parser.add_argument("--contender", metavar="NAME", help="only this one")
    parser.add_argument("--margin", metavar="M", type=float, help="steps up to it are none (default: the records' own)")
    options = parser.parse_args(argv)
    console = Console.of(options)
    found = keeping.history(
        options.name, options.records, metric=options.metric, contender=options.contender, margin=options.margin
    )
    for one in found.suspicions:
        console.say(suspected(one))
        console.say()
    for line in found.lines:
        console.say("\n".join(told(line, found.metric, blocks=console.can_show(BLOCKS))))
        console.say()
    for problem in found.unread:
        console.note(f"not read: {problem}")
    console.answer(found.to_document())
    return 0


def suspected(one: Suspicion) -> str:
    """Return a suspicion as a sentence, with what to do about it."""
    way = "larger" if one.up else "smaller"
    return (
        f"instrument suspect: {one.steps} steps between {one.since[:10]} and {one.until[:10]}, all to {way} figures, "
        f"in {'; '.join(one.lines)}. Doubt the machine ({one.machine}) before the software: edge doctor, then "
        "edge bench --calibrate"
    )


def told(line: keeping.Line, metric: str, *, blocks: bool) -> list[str]:
    """Return one line of history as lines of text."""
    text = size if metric in {"total_peak", "model_steady"} else duration
    values = [point.value for point in line.points]
    starts = {segment.start: index for index, segment in enumerate(line.segments)}
    lines = [f"{line.contender}, {metric}: {_sentence(line, text)}", line.setting]
    lines.append(_spark(values, BLOCKS if blocks else HASHES))
    rows = [("when", metric, "", "")]
    for index, point in list(enumerate(line.points))[-SHOWN:]:
        limits = "" if point.low is None or point.high is None else f"[{text(point.low)}, {text(point.high)}]"
        step = _step(line, starts[index]) if starts.get(index) else ""
        rows.append((point.created, text(point.value), limits, "; ".join(filter(None, (step, *point.marks)))))
    lines.append(table(rows, "<" + RIGHT))
    return lines


def _sentence(line: keeping.Line, text: Text) -> str:
    number = count(len(line.points), "record")
    if len(line.segments) < 2:  # noqa: PLR2004 - a step is between two
        return f"no step in {number}, level {text(line.segments[0].level)}"
    last = line.segments[-1]
    return (
        f"{count(len(line.segments) - 1, 'step')} in {number}, the last {_step(line, len(line.segments) - 1)} "
        f"at {line.points[last.start].created}, now {text(last.level)}"
    )


def _step(line: keeping.Line, index: int) -> str:
    change = line.segments[index].level / line.segments[index - 1].level - 1
    return f"step {change:+.1%}"


def _spark(values: Sequence[float], letters: str) -> str:
    shown = values[-60:]
    least, most = min(shown), max(shown)
    span = most - least or 1.0
    return "".join(letters[min(len(letters) - 1, int((value - least) / span * len(letters)))] for value in shown)
