"""Our runtime and the others over every network of the zoo: ``make bench-zoo``.

One record for each network and thread count, saved after each round. A repeated run goes on where the last one
stopped: what is whole is left alone, what was interrupted, or has fewer rounds than intervals need, is resumed. It
ends by writing the tables of docs/benchmarks.md from the records alone (`zoo_table`); ``--table`` does only that.

The artifacts come from ``make zoo ZOO_ARGS="--no-bench --keep FOLDER"``.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import bench
from bench.contenders import KINDS
from benchmarks import zoo_table
from edge_runtime import files, validity
from edge_runtime.artifact import open_artifact
from edge_runtime.commands.measure import progress_line
from edge_runtime.console import Console
from edge_runtime.errors import INTERRUPTED, EdgeError, UsageError
from edge_runtime.record import Record, load_record
from edge_runtime.rounds import MIN_ROUNDS, Plan
from export_tools.request import SourceSpec
from tests.zoo.entry import Entry, entries, weights_folder

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs/benchmarks.md"
AGAINST = (
    *("torch", "torch-compile", "onnxruntime"),
    *("openvino", "mnn", "ncnn", "tract", "executorch", "litert"),
)
MAX_BYTES = 2**24  # of the document
GOING_ON = {"interrupted", "unfinished", "budget"}  # stop reasons of a record that another run may go on with


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One network with one thread count, and where its record is."""

    network: Entry
    threads: int
    artifact: Path
    path: Path

    @property
    def record(self) -> Record | None:
        """What was measured so far; None before anything was. Raises RecordError for a file that is no record."""
        return load_record(self.path) if self.path.exists() else None


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what is not measured yet, write the table, return the exit code."""
    options = _parser().parse_args(argv)
    console = Console(json=False, quiet=False, verbose=False, color=False)
    records = options.records or options.artifacts / "records"
    chosen = _chosen(options.artifacts, records, options.only, options.threads)
    failed, interrupted = 0, False
    if not options.table:
        os.environ["EDGE_ZOO"] = str(weights_folder())  # where PyTorch's contenders find the weights
        records.mkdir(parents=True, exist_ok=True)
        for index, one in enumerate(chosen, 1):
            begun = f"[{index}/{len(chosen)}] {one.network.name}, {one.threads} threads"
            try:
                record = measured(one, options.against, options.budget, console)
            except EdgeError as error:  # one network that can't be measured stops no other
                failed += 1
                console.note(f"{begun}: {error}")
                continue
            except KeyboardInterrupt:
                interrupted = True
                break
            console.note(f"{begun}: {len({launch.round for launch in record.launches})} rounds, {record.stop_reason}")
            if record.stop_reason == "interrupted":
                interrupted = True
                break
    found = [kept for one in chosen if (kept := one.record) is not None]
    document = files.read_bytes(options.document, limit_bytes=MAX_BYTES).decode()
    files.write_whole(options.document, zoo_table.written(document, found).encode())
    console.say(f"{len(found)} of {len(chosen)} records in {options.document}")
    return INTERRUPTED if interrupted else int(failed > 0 or len(found) < len(chosen))


def measured(one: Measurement, against: Sequence[str], budget_s: float, console: Console) -> Record:
    """Return the record of a network, begun, resumed or left as it is. Raises what `bench` raises."""
    earlier = one.record
    if earlier is not None and is_whole(earlier):
        return earlier
    record = bench(
        open_artifact(one.artifact),
        against=against,
        plan=Plan(threads=one.threads, budget_s=budget_s),
        source=SourceSpec(entry=one.network.source, cwd=str(ROOT)),
        progress=lambda now: console.progress(f"{one.network.name}: {progress_line(now)}"),
        keep=lambda record: record.save(one.path),
        resume=earlier,
    )
    console.clear_line()
    record.save(one.path)
    return record


def is_whole(record: Record) -> bool:
    """Return whether a record needs no further run: it ended by itself, or has the rounds that intervals need."""
    rounds = {launch.round for launch in validity.counted(record.launches)}
    return record.stop_reason not in GOING_ON or (record.stop_reason == "budget" and len(rounds) >= MIN_ROUNDS)


def _chosen(artifacts: Path, records: Path, only: Sequence[str], threads: Sequence[int]) -> list[Measurement]:
    """Return what is to be measured: every network with the first thread count, then with the next."""
    networks = [one for one in entries() if one.package and (not only or one.name in only)]
    unknown = set(only) - {one.name for one in networks}
    if unknown:
        raise UsageError(f"no network is called {', '.join(sorted(unknown))}", "--only", "see tests/zoo/networks")
    found = [
        Measurement(
            network=network,
            threads=count,
            artifact=artifacts / f"{network.name}.edge",
            path=records / f"{network.name}-{count}.json",
        )
        for count in threads
        for network in networks
    ]
    missing = {one.network.name for one in found if not one.artifact.is_dir()}
    if missing:
        raise UsageError(
            f"no artifact of {', '.join(sorted(missing))}",
            str(artifacts),
            f'make them: make zoo ZOO_ARGS="--no-bench --keep {artifacts}"',
        )
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.zoo", description=__doc__)
    parser.add_argument("--artifacts", type=Path, required=True, metavar="FOLDER", help="what make zoo --keep exported")
    parser.add_argument("--records", type=Path, metavar="FOLDER", help="default: records, in that folder")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="this one alone; may be repeated")
    parser.add_argument(
        "--against", type=_names, default=AGAINST, metavar="NAMES", help=f"default: {','.join(AGAINST)}"
    )
    parser.add_argument("--threads", type=_counts, default=(1, 2), metavar="N,N", help="default: 1,2")
    parser.add_argument(
        "--budget", type=float, default=240.0, metavar="S", help="seconds for each network and thread count"
    )
    parser.add_argument("--document", type=Path, default=DOCUMENT, metavar="FILE.md", help="where the tables go")
    parser.add_argument("--table", action="store_true", help="only the tables, from the records that are there")
    return parser


def _names(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if unknown := [name for name in names if name not in KINDS]:
        raise argparse.ArgumentTypeError(f"no contender {', '.join(unknown)}; known are {', '.join(KINDS)}")
    return names


def _counts(text: str) -> tuple[int, ...]:
    if not all(part.isdecimal() and int(part) for part in text.split(",")):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of thread counts such as 1,2")
    return tuple(map(int, text.split(",")))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except EdgeError as error:
        print(f"bench-zoo: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
