"""The verbs `edge bench` and `edge compare`: flags to the functions of `runner` and `comparison`, results to text."""

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench import comparison, contenders, operator_deltas, runner, thread_counts
from bench.errors import NotComparable
from bench.report import terminal
from bench.report.names import own_of
from edge_runtime import confirmation, noise_floor, operator_figures, scenario_figures, start_figures, summary
from edge_runtime.artifact import Artifact, open_artifact
from edge_runtime.commands.arrays import add_input_flag, read_inputs
from edge_runtime.commands.further_flags import add_further_flags, further_of, seconds
from edge_runtime.commands.measure import interrupted, saving_problem
from edge_runtime.commands.scenario_flags import add_scenario_flags, scenario_of
from edge_runtime.console import Console, verb_parser
from edge_runtime.errors import INTERRUPTED, OutputExists, Unwritable, UsageError, WorkerLost
from edge_runtime.record import Record, load_record
from edge_runtime.rounds import Plan
from edge_runtime.units import count

if TYPE_CHECKING:
    from export_tools.request import SourceSpec

BENCH_EXAMPLES = (
    "edge bench digits.edge",
    "edge bench digits.edge --against onnxruntime --rounds 10",
    "edge bench digits.edge --resume record.json --budget 2m",
    "edge bench digits.edge --calibrate",
    "edge bench digits.edge --rate 30 --against onnxruntime",
    "edge bench digits.edge yesterday/digits.edge --against onnxruntime",
    "edge bench digits.edge --threads 1,2 -o record.json",
    "edge bench digits.edge --fit --sustained 10m",
    "edge bench digits.edge --source model.py:build --weights digits.pt -o record.json",
)
COMPARE_EXAMPLES = ("edge compare before.json after.json", "edge compare before.json after.json --json")
AGAINST = "onnxruntime,torch"
EXITS = {"interrupted": INTERRUPTED, "failed": WorkerLost.exit_code}  # else 0, whatever the verdict


def bench(argv: list[str]) -> int:
    """Measure contenders side by side; print the table, or the record as JSON. Exits 0 whatever the verdict."""
    options = _bench_parser().parse_args(argv)
    console = Console.of(options)
    counts: tuple[int, ...] = options.threads
    outputs = _outputs(options)
    artifacts = [open_artifact(path) for path in options.artifacts]
    if options.calibrate:
        return _calibrate(artifacts, options, console)
    records: list[Record] = []
    problems: list[Unwritable] = []
    begin = time.monotonic()
    for threads, output in outputs.items():
        # the budget is for all runs: what one leaves is for those after it
        left_s = (options.budget - (time.monotonic() - begin)) / (len(counts) - len(records))
        asked = Asked(threads, left_s if len(counts) == 1 else max(1.0, left_s), output)
        record = _measured(artifacts, options, console, asked)
        records.append(record)
        problem = saving_problem(record, output)
        problems += [] if problem is None else [problem]
        if not options.json:
            _show(record, None if problem else output, console)
        if record.stop_reason == "interrupted":
            console.note(interrupted(record, output, "edge bench"))
            break
    told = [_summary(record) for record in records]
    if len(counts) == 1:
        console.answer({**records[0].to_document(), "summary": told[0]})
    else:
        console.say("\n".join(thread_counts.lines(records)))
        console.answer(thread_counts.document(records, told))
    for problem in problems:
        console.note(f"edge: {problem}")
    codes = [*(problem.exit_code for problem in problems), *(EXITS.get(record.stop_reason, 0) for record in records)]
    return next(filter(None, codes), 0)


def _outputs(options: argparse.Namespace) -> dict[int, Path | None]:
    """Return where the record of each thread count is kept; refuse what can't be before minutes are spent on it."""
    counts: tuple[int, ...] = options.threads
    for flag in ("resume", "baseline", "calibrate") if len(counts) > 1 else ():
        if getattr(options, flag):
            raise UsageError(f"--{flag} with {len(counts)} thread counts", "--threads", "give one of them at a time")
    Plan(threads=max(counts), budget_s=options.budget)  # refuses more threads than CPUs, and no time at all
    if options.output is None:
        return dict.fromkeys(counts, options.resume)
    outputs = {threads: thread_counts.path_of(options.output, threads, counts) for threads in counts}
    for path in outputs.values():
        _refuse_output(path, force=options.force)
    return dict(outputs)


class Asked(NamedTuple):
    """What differs from run to run of one command. output: where its record is kept, None for nowhere."""

    threads: int
    budget_s: float
    output: Path | None


def _measured(artifacts: list[Artifact], options: argparse.Namespace, console: Console, asked: Asked) -> Record:
    """Run the contenders, and keep the record after each launch."""
    with terminal.progress(stream=sys.stderr, color=console.color, quiet=console.quiet) as progress:
        return runner.bench(
            artifacts,
            on=options.on,
            against=options.against.split(","),
            threads=asked.threads,
            rounds=options.rounds,
            budget_s=asked.budget_s,
            precision=options.precision,
            margin=options.margin,
            scenario=scenario_of(options),
            **further_of(options),
            operators=options.operators,
            source=_source(options),
            inputs=read_inputs(options.input, artifacts[0].manifest.inputs) if options.input else None,
            progress=progress,
            keep=lambda record: _keep(record, asked.output),
            resume=None if options.resume is None else load_record(options.resume),
            before=None if options.baseline is None else load_record(options.baseline),
            confirm=options.confirm,
        )


def _show(record: Record, saved: Path | None, console: Console) -> None:
    """Print one run: verdicts, table, facts, and where it is kept."""
    terminal.show(record, contender=own_of(record), stream=sys.stdout, color=console.color)
    for line in scenario_figures.lines(record):
        console.say(f"{record.config.scenario}: {line}")
    slower = operator_deltas.lines(operator_deltas.against_baselines(record, contender=own_of(record)))
    for line in (*operator_figures.lines(record), *slower):
        console.say(line)
    for part in start_figures.lines(record, contender=own_of(record)):
        console.say(f"\n{part}")
    if saved is not None:
        console.say(f"\nrecord: {saved}")


def _summary(record: Record) -> dict[str, Any]:
    compared = summary.comparisons(record, contender=own_of(record))
    told = {
        **summary.document(record, compared),
        "scenario": scenario_figures.document(record),
        "operators": operator_figures.document(record),
        "starts": start_figures.document(record, contender=own_of(record)),
    }
    for line, one in zip(told["comparisons"], compared, strict=True):
        line["confirmed"] = confirmation.confirmed(record, one)
    return told


def _calibrate(artifacts: list[Artifact], options: argparse.Namespace, console: Console) -> int:
    if len(artifacts) > 1:
        raise UsageError(
            f"--calibrate with {len(artifacts)} artifacts", "edge bench", "it takes one, raced with itself"
        )
    with terminal.progress(stream=sys.stderr, color=console.color, quiet=console.quiet) as progress:
        (artifact,), (threads,) = artifacts, options.threads
        record, floor = runner.calibrate(artifact, threads=threads, budget_s=options.budget, progress=progress)
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
    parser.usage = "edge bench NAME.edge ... [flag ...]"  # the flags below are told once, not twice
    parser.add_argument(
        "artifacts", metavar="NAME.edge", nargs="+", help="the artifact's folder; several are raced as edge@NAME"
    )
    parser.add_argument("--on", metavar="BOARD", default="local", help="the board (default: local, this machine)")
    parser.add_argument(
        "--against",
        metavar="NAMES",
        default=AGAINST,
        help=f"{', '.join(name for name in contenders.KINDS if name != contenders.OWN)}, edge:VARIANT, or your own "
        f"FILE.py:factory, separated by commas (default: {AGAINST})",
    )
    parser.add_argument(
        "--threads",
        metavar="N",
        type=thread_counts.parse,
        default=(1,),
        help="threads of each contender (default: 1); 1,2 or sweep (1, 2, 4 ...): a run and a record for each",
    )
    parser.add_argument(
        "--rounds", metavar="N|auto", type=_rounds, default="auto", help="auto: until --precision or --budget"
    )
    parser.add_argument("--budget", metavar="5m|90s|300", type=seconds, default="5m", help="time (default: 5m)")
    parser.add_argument(
        "--precision",
        metavar="P",
        type=float,
        default=0.01,
        help="half-width of speed-ups to reach (default: 0.01)",
    )
    parser.add_argument(
        "--margin", metavar="M", type=float, default=0.02, help="differences up to it count as none (default: 0.02)"
    )
    parser.add_argument(
        "--calibrate", action="store_true", help="measure our runtime against itself: this machine's noise floor"
    )
    parser.add_argument(
        "--operators",
        action=argparse.BooleanOptionalAction,
        help="profile edge and edge:VARIANT after the rounds (default: where --budget leaves about 3 s each)",
    )
    add_scenario_flags(parser)
    add_further_flags(parser)
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
