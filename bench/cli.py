"""The verbs `edge bench` and `edge compare`: flags to the functions of `runner` and `comparison`, results to text."""

import argparse
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bench import comparison, contenders, runner
from bench.commands.amounts import size_bytes
from bench.errors import NotComparable
from bench.report import terminal
from edge_runtime import confirmation, noise_floor, scenario_figures, summary
from edge_runtime.artifact import Artifact, open_artifact
from edge_runtime.commands.arrays import add_input_flag, read_inputs
from edge_runtime.commands.measure import interrupted, saving_problem
from edge_runtime.commands.scenario_flags import add_scenario_flags, scenario_of
from edge_runtime.console import Console, verb_parser
from edge_runtime.errors import INTERRUPTED, OutputExists, Unwritable, UsageError, WorkerLost
from edge_runtime.record import Record, load_record
from edge_runtime.units import count

if TYPE_CHECKING:
    from export_tools.request import SourceSpec

BENCH_EXAMPLES = (
    "edge bench digits.edge",
    "edge bench digits.edge --against onnxruntime --rounds 10",
    "edge bench digits.edge --resume record.json --budget 2m",
    "edge bench digits.edge --calibrate",
    "edge bench digits.edge --rate 30 --against onnxruntime",
    "edge bench digits.edge --fit",
    "edge bench digits.edge --source model.py:build --weights digits.pt -o record.json",
)
COMPARE_EXAMPLES = ("edge compare before.json after.json", "edge compare before.json after.json --json")
SEARCH = 0  # of --fit without a limit
AGAINST = "onnxruntime,torch"
EXITS = {"interrupted": INTERRUPTED, "failed": WorkerLost.exit_code}  # else 0, whatever the verdict


def bench(argv: list[str]) -> int:
    """Measure contenders side by side; print the table, or the record as JSON. Exits 0 whatever the verdict."""
    options = _bench_parser().parse_args(argv)
    console = Console.of(options)
    resumed = None if options.resume is None else load_record(options.resume)
    before = None if options.baseline is None else load_record(options.baseline)
    if options.output is not None:
        _refuse_output(options.output, force=options.force)
    output: Path | None = options.output or options.resume
    artifact = open_artifact(options.artifact)
    if options.calibrate:
        return _calibrate(artifact, options, console)
    inputs = read_inputs(options.input, artifact.manifest.inputs) if options.input else None
    with terminal.progress(stream=sys.stderr, color=console.color, quiet=console.quiet) as progress:
        record = runner.bench(
            artifact,
            on=options.on,
            against=options.against.split(","),
            threads=options.threads,
            rounds=options.rounds,
            budget_s=options.budget,
            precision=options.precision,
            margin=options.margin,
            scenario=scenario_of(options),
            fit=options.fit is not None,
            fit_bytes=None if options.fit == SEARCH else options.fit,
            source=_source(options),
            inputs=inputs,
            progress=progress,
            keep=lambda record: _keep(record, output),
            resume=resumed,
            before=before,
            confirm=options.confirm,
        )
    problem = saving_problem(record, output)
    if not options.json:
        terminal.show(record, contender=contenders.OWN, stream=sys.stdout, color=console.color)
        for line in scenario_figures.lines(record):
            console.say(f"{record.config.scenario}: {line}")
        if output is not None and problem is None:
            console.say(f"\nrecord: {output}")
    if record.stop_reason == "interrupted":
        console.note(interrupted(record, output, "edge bench"))
    compared = summary.comparisons(record, contender=contenders.OWN)
    told = {**summary.document(record, compared), "scenario": scenario_figures.document(record)}
    for line, one in zip(told["comparisons"], compared, strict=True):
        line["confirmed"] = confirmation.confirmed(record, one)
    console.answer({**record.to_document(), "summary": told})
    if problem is not None:
        console.note(f"edge: {problem}")
        return problem.exit_code
    return EXITS.get(record.stop_reason, 0)


def _calibrate(artifact: Artifact, options: argparse.Namespace, console: Console) -> int:
    with terminal.progress(stream=sys.stderr, color=console.color, quiet=console.quiet) as progress:
        record, floor = runner.calibrate(artifact, threads=options.threads, budget_s=options.budget, progress=progress)
    compared = summary.compare(record, baseline=contenders.OWN, contender=runner.TWIN)
    if options.output is not None:
        record.save(options.output)
    told = [
        f"noise floor: {floor.share:.1%} with {count(floor.threads, 'thread')}",
        f"from {count(floor.rounds, 'round')} of our runtime against itself, verdict: {compared.verdict}",
        f"margin here for {noise_floor.KEPT_DAYS} days: {noise_floor.margin(options.margin, floor):.1%}",
    ]
    console.say("\n".join([*told, *(f"warning: {warning}" for warning in record.warnings)]))
    console.answer({**record.to_document(), "summary": summary.document(record, (compared,))})
    return 0


def compare(argv: list[str]) -> int:
    """Compare two records; print a table or a JSON document. Exits 0 whatever the verdict."""
    parser = verb_parser(
        "compare", "What changed from one record to another, and is it more than noise.", COMPARE_EXAMPLES
    )
    parser.add_argument("before", metavar="A.json", type=Path, help="the earlier record")
    parser.add_argument("after", metavar="B.json", type=Path, help="the later one")
    parser.add_argument("--allow-mismatch", action="store_true", help="show records that can't be compared")
    options = parser.parse_args(argv)
    console = Console.of(options)
    found = comparison.compare(options.before, options.after)
    if found.obstacles and not options.allow_mismatch:
        raise NotComparable(
            f"not comparable: {'; '.join(found.obstacles)}",
            f"{options.before} and {options.after}",
            "measure both in the same way, or see them side by side, without a verdict, with --allow-mismatch",
        )
    if not options.json:
        terminal.show_comparison(found, stream=sys.stdout, color=console.color)
    console.answer(found.to_document())
    return 0


def _bench_parser() -> argparse.ArgumentParser:
    parser = verb_parser(
        "bench",
        "Our runtime and its rivals on one artifact: fresh processes in turning order, answers checked before timing,\n"
        "speed-ups round by round with their intervals.",
        BENCH_EXAMPLES,
    )
    parser.add_argument("artifact", metavar="NAME.edge", help="the artifact's folder")
    parser.add_argument("--on", metavar="BOARD", default="local", help="the board (default: local, this machine)")
    parser.add_argument(
        "--against",
        metavar="NAMES",
        default=AGAINST,
        help=f"{', '.join(name for name in contenders.KINDS if name != contenders.OWN)}, edge:VARIANT, or your own "
        f"FILE.py:factory, separated by commas (default: {AGAINST})",
    )
    parser.add_argument("--threads", metavar="N", type=int, default=1, help="threads of each contender (default: 1)")
    parser.add_argument(
        "--rounds", metavar="N|auto", type=_rounds, default="auto", help="auto: until --precision or --budget"
    )
    parser.add_argument("--budget", metavar="5m|90s|300", type=_seconds, default="5m", help="time (default: 5m)")
    parser.add_argument(
        "--precision", metavar="P", type=float, default=0.01, help="half-width of each p50 to reach (default: 0.01)"
    )
    parser.add_argument(
        "--margin", metavar="M", type=float, default=0.02, help="differences up to it count as none (default: 0.02)"
    )
    parser.add_argument(
        "--calibrate", action="store_true", help="measure our runtime against itself: this machine's noise floor"
    )
    parser.add_argument(
        "--fit",
        metavar="256M",
        type=size_bytes,
        nargs="?",
        const=SEARCH,
        help="find the smallest memory limit under which each contender runs, after the rounds; or try this one",
    )
    add_scenario_flags(parser)
    add_input_flag(parser, otherwise="otherwise the first golden case is timed")
    torch = parser.add_argument_group("the module for torch; otherwise this host's memory of the export")
    torch.add_argument("--source", metavar="SOURCE", help="file.py:callable, package.module:callable, model.pt, ...")
    torch.add_argument("--weights", metavar="FILE", help="its state_dict")
    torch.add_argument("--import-from", metavar="DIR|FILE.py", help="where its classes are")
    torch.add_argument("--trust-pickle", action="store_true", help="open a whole pickled module: it can run any code")
    parser.add_argument("-o", "--output", metavar="R.json", type=Path, help="keep the record, saved after each launch")
    parser.add_argument(
        "--resume",
        metavar="R.json",
        type=Path,
        help="go on with this record, and save there unless -o says otherwise",
    )
    parser.add_argument("--confirm", action="store_true", help="a second batch, though ours is not slower")
    parser.add_argument("--baseline", metavar="R.json", type=Path, help="... where it is slower than in this record")
    parser.add_argument("--force", action="store_true", help="replace the record file")
    return parser


def _source(options: argparse.Namespace) -> "SourceSpec | None":
    if options.source is None:
        given = [flag for flag in ("weights", "import_from", "trust_pickle") if getattr(options, flag)]
        if given:
            flag = given[0].replace("_", "-")
            raise UsageError(f"--{flag} without --source", "edge bench", "give the module's source too")
        return None
    from export_tools.request import SourceSpec  # noqa: PLC0415 - only PyTorch needs the other host package

    return SourceSpec(
        entry=options.source,
        weights=options.weights,
        import_from=options.import_from,
        trust_pickle=options.trust_pickle,
        cwd=str(Path.cwd()),
    )


def _refuse_output(path: Path, *, force: bool) -> None:
    """Refuse an output that can't be written before minutes are spent on it."""
    if path.is_dir() or (os.path.lexists(path) and not force):
        hint = "choose another path" if path.is_dir() else "choose another path, or replace it with --force"
        raise OutputExists("the output is there already", str(path), hint)
    if not os.access(path.parent, os.W_OK):
        raise Unwritable("can't write to that folder", str(path.parent), "make it, or choose another path")


def _keep(record: Record, path: Path | None) -> None:
    if path is not None:
        record.save(path)


def _rounds(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor auto")
    return int(text)


def _seconds(text: str) -> float:
    """Return the seconds of ``5m``, ``90s`` or ``300``."""
    number, factor = (text[:-1], {"m": 60.0, "s": 1.0}[text[-1]]) if text[-1:] in {"m", "s"} else (text, 1.0)
    try:
        seconds = float(number) * factor
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 5m, 90s or 300")
    return seconds
