"""`edge run`: one inference, or N of them."""

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_runtime import units
from edge_runtime.commands.arrays import add_input_flag, read_inputs
from edge_runtime.console import Console, table, verb_parser
from edge_runtime.errors import UsageError
from edge_runtime.files import refuse_taken

if TYPE_CHECKING:
    from edge_runtime.classes import Ranking
    from edge_runtime.model import Model
    from edge_runtime.npz import Array

EXAMPLES = (
    "edge run digits.edge --input image=x.npy",
    "edge run digits.edge --input digits.edge/golden/example.npz -o out.npz",
    "edge run photos.edge --input image=photo.npy --top 5",
)
SHOWN = 8  # values of an output, and rows of classes, that are printed
TOP = 5  # classes that are shown when an artifact has labels


def run(argv: list[str]) -> int:
    """Run the model and print or write its outputs; exit 3 when the inputs don't fit."""
    parser = verb_parser(
        "run", "Run an artifact once on given inputs; print its outputs, or write them with -o.", EXAMPLES
    )
    parser.add_argument("artifact", metavar="NAME.edge", help="the artifact's folder")
    add_input_flag(parser, otherwise="every input is needed")
    parser.add_argument("-o", "--output", metavar="OUT.npz", type=Path, help="write the outputs here")
    parser.add_argument("--force", action="store_true", help="replace the output file")
    parser.add_argument(
        "--top", metavar="N", type=int, help=f"the N best classes by name (default: {TOP} where there are labels)"
    )
    parser.add_argument("--repeat", metavar="N", type=int, default=1, help="run N times; say how long each took")
    parser.add_argument("--variant", default="auto", help="a name from edge info (default: the reference)")
    parser.add_argument("--threads", metavar="N", type=int, help="intra-op threads (default: all CPUs)")
    options = parser.parse_args(argv)
    console = Console.of(options)
    if options.repeat < 1:
        raise UsageError(f"--repeat {options.repeat}", "edge run", "ask for at least 1")
    if options.top is not None and options.top < 1:
        raise UsageError(f"--top {options.top}", "edge run", "ask for at least 1")
    if options.output is not None:
        refuse_taken(options.output, replace=options.force)
    from edge_runtime import npz  # noqa: PLC0415 - `--help` and wrong flags must not wait for numpy
    from edge_runtime.model import load  # noqa: PLC0415 - nor for onnxruntime
    from edge_runtime.tolerance import describe  # noqa: PLC0415 - as above

    with load(options.artifact, variant=options.variant, threads=options.threads) as model:
        inputs = read_inputs(options.input, model.inputs)
        step = _step(model, inputs)
        answers = step()
        times_ns = []
        for _ in range(options.repeat if options.repeat > 1 else 0):
            begin = time.perf_counter_ns()
            answers = step()
            times_ns.append(time.perf_counter_ns() - begin)
        ranking = _ranking(model, answers, options.top)
    _note_oddities(console, "input", inputs)
    _note_oddities(console, "output", answers)
    if options.output is not None:
        npz.write(options.output, answers)
    if not options.json:
        console.say(table([(name, describe(array), _shown(array)) for name, array in answers.items()]))
        if ranking is not None:
            console.say(f"\n{_ranked(ranking)}")
        if times_ns:
            spread = f"{units.duration(min(times_ns))} to {units.duration(max(times_ns))}"
            console.say(f"{options.repeat} runs, each {spread}; edge measure does this with statistics")
        if options.output is not None:
            console.say(f"written: {options.output}")
    console.answer(
        {
            "kind": "edge-run",
            "schema": 1,
            "outputs": {name: _document(array) for name, array in answers.items()},
            "top": None if ranking is None else ranking.to_document(),
            "written": None if options.output is None else str(options.output),
            "times_ns": times_ns,
        }
    )
    return 0


def _step(model: "Model", inputs: "Mapping[str, Array]") -> "Callable[[], Mapping[str, Array]]":
    """Return what runs the model; state that isn't given begins as zeros and goes on from run to run."""
    carried = {pair.input for pair in model.artifact.manifest.state or ()}
    if inputs and carried and not carried & inputs.keys():
        stream = model.with_state(**inputs)
        return lambda: stream(**inputs)
    return lambda: model(**inputs)


def _ranking(model: "Model", answers: "Mapping[str, Array]", top: int | None) -> "Ranking | None":
    from edge_runtime.classes import rank  # noqa: PLC0415 - as above

    manifest = model.artifact.manifest
    if top is None and manifest.labels is None:
        return None
    try:
        return rank(manifest, answers, top or TOP, where=str(model.artifact.path))
    except UsageError:
        if top is None:  # nobody asked
            return None
        raise


def _ranked(ranking: "Ranking") -> str:
    lines = []
    for row, chosen in enumerate(ranking.rows[:SHOWN]):
        for one in chosen:
            name = f"class {one.index}" if one.name is None else one.name
            score = "" if one.score is None else f"{one.score:.4g}"
            lines.append((*([str(row)] if len(ranking.rows) > 1 else []), score, name))
    more = f"\n… {len(ranking.rows)} rows in all" if len(ranking.rows) > SHOWN else ""
    meaning = ranking.meaning or "scores as the model gives them"
    return f"classes by {ranking.output}: {meaning}\n{table(lines, '>>')}{more}"


def _note_oddities(console: Console, what: str, arrays: "Mapping[str, Array]") -> None:
    """Say aloud what a number on a screen hides: NaN goes through a network without a sound."""
    import numpy as np  # noqa: PLC0415 - as above

    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            count = int(np.size(array) - np.isfinite(array).sum())
            console.note(f'edge: {what} "{name}" holds {count} values that are NaN or infinite')


def _shown(array: "Array") -> str:
    values = array.ravel()[:SHOWN]
    text = " ".join(f"{value:.6g}" if array.dtype.kind == "f" else str(value) for value in values)
    return text + (" …" if array.size > SHOWN else "")


def _document(array: "Array") -> dict[str, Any]:
    # JSON has no NaN or infinity: such values are written as their names
    values = [
        value if not isinstance(value, float) or math.isfinite(value) else str(value)
        for value in array.ravel().tolist()
    ]
    return {"dtype": array.dtype.name, "shape": list(array.shape), "values": values}
