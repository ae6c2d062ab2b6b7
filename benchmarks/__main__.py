"""Every figure the project promises, as a ratio measured side by side in one run: ``make benchmark``.

Each contender runs in worker processes of its own, in turning order, one at a time while the others sleep; a ratio is
taken round by round, so that what drifts cancels. Exits 1 when a target is missed.
"""

import argparse
import importlib.util
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks import commands, models
from benchmarks.lockstep import Blocks, Pace, Runner, in_lockstep
from benchmarks.rows import Row, compared, counted, single, text
from edge_runtime.artifact import Artifact, open_artifact
from edge_runtime.console import Console
from edge_runtime.environment import available_cpus, machine
from edge_runtime.errors import EdgeError
from edge_runtime.launch import Command, own_command, run_worker
from edge_runtime.record import Record
from edge_runtime.rounds import LAUNCH_TIMEOUT_S, Entry, Plan, Progress, conduct
from edge_runtime.samples import Launch
from edge_runtime.stats import percentile
from edge_runtime.timing import BlockPlan
from edge_runtime.units import duration, size

CONTENDERS = Path(__file__).with_name("contenders.py")
PLAIN = "session_run"

# The least that malloc gives is 16 bytes, so one object left by every thousandth of a million calls is more than this;
# a page or two that the interpreter touches meanwhile are less
FLAT_BYTES = 12 << 10

ROUNDS = {"launches": 8, "stream": 6, "commands": 12, "memory": 3}
ONE_CALL = BlockPlan(warmup_s=0.0, warmup_calls=1, block_s=0.0, min_samples=1)  # where only the start is timed
STREAM = BlockPlan(warmup_s=0.0, warmup_calls=1, block_s=0.0, min_samples=3)
PACES = {
    "small": Pace(generations=6, rounds=15, block=BlockPlan(warmup_s=0.01, block_s=0.03)),
    # the warm-up outlasts the spinning of whoever ran before
    "large": Pace(generations=5, rounds=6, block=BlockPlan(warmup_s=0.05, warmup_calls=2, block_s=0.0, min_samples=5)),
}

STEPS = (
    ("session.run(None, feeds)", PLAIN),
    ("... without the public wrapper", "inner_run"),
    ("... without synchronising providers", "inner_run_unsynchronised"),
    ("session.run_with_iobinding", "run_with_iobinding"),
    ("... without the public wrapper", "raw_binding"),
    ("... without synchronising: the floor", "raw_binding_unsynchronised"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where the benchmark runs: its artifacts, the workers' command, and a cache that is nobody else's."""

    folder: Path
    command: Command
    console: Console

    def artifact(self, name: str) -> Artifact:
        """Open one of the two artifacts."""
        return open_artifact(self.folder / name)

    def in_lockstep(self, pace: Pace, runners: Mapping[str, Runner]) -> dict[str, Blocks]:
        """Time blocks of calls in turn."""
        return in_lockstep(runners, pace, self.command.environment, self.console.progress)

    def entry(self, name: str, artifact: Artifact, factory: str | None = None, **options: str) -> Entry:
        """Return a contender of this benchmark."""
        reference = f"{CONTENDERS}:{factory or name}"
        return Entry(name=name, contender=reference, command=self.command, artifact=artifact, options=options)

    def progress(self, told: Progress) -> None:
        """Show what runs now."""
        place = "memory" if told.round is None else f"round {told.round + 1} of {told.rounds}"
        self.console.progress(f"{place}: {told.contender}")

    def probe(self, name: str, artifact: str) -> Mapping[str, int]:
        """Run one probe in a process of its own."""
        self.console.progress(f"probe: {name} of {artifact}")
        argv = (sys.executable, "-m", "benchmarks.probes", name, str(self.folder / artifact))
        done = subprocess.run(argv, env=self.command.environment, stdout=subprocess.PIPE, check=True)
        answer: dict[str, int] = json.loads(done.stdout)
        return answer


def main() -> int:
    """Measure everything, print the table, return the exit code."""
    parser = argparse.ArgumentParser(prog="make benchmark", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rounds of each: shows that it runs, proves little")
    options = parser.parse_args()
    console = Console(json=False, quiet=False, verbose=False, color=False)
    if options.quick:
        ROUNDS.update(dict.fromkeys(ROUNDS, 2))
        PACES.update({name: replace(pace, generations=2, rounds=3) for name, pace in PACES.items()})
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="edge-benchmark-") as text_path:
        folder = Path(text_path)
        own = own_command()
        command = replace(own, environment={**own.environment, "EDGE_CACHE": str(folder / "cache")})
        bench = Bench(folder=folder, command=command, console=console)
        console.progress("making the artifacts")
        subprocess.run((sys.executable, "-m", "benchmarks.models", str(folder)), env=command.environment, check=True)
        sections = [*_small(bench), *_large(bench), _stream(bench), _commands(bench)]
    console.clear_line()
    console.say(text(sections))
    rows = [row for _, rows in sections for row in rows]
    missed = [row.what.strip() for row in rows if row.holds is False]
    judged = sum(row.holds is not None for row in rows)
    console.say()
    console.say(f"{machine().model}, {len(available_cpus())} CPUs, Python {platform.python_version()}")
    console.say(f"{judged - len(missed)} of {judged} targets hold; {time.monotonic() - begin:.0f} s")
    for one in missed:
        console.say(f"missed: {one}")
    return 1 if missed else 0


def _small(bench: Bench) -> list[tuple[str, list[Row]]]:
    """Measure the call path, on the linear model at batch 64 with one thread."""
    path = bench.folder / models.LINEAR
    names = [name for _, name in STEPS] + ["edge_model", "edge_bound", "session_cycle", "edge_cycle"]
    runners = {name: Runner(factory=name, artifact=path) for name in names}
    torch = importlib.util.find_spec("torch") is not None
    if torch:
        weights = str(bench.folder / models.WEIGHTS)
        runners["torch_eager"] = Runner(factory="torch_eager", artifact=path, options={"weights": weights})
    else:
        bench.console.note("torch is not installed: no comparison with it")
    p50 = bench.in_lockstep(PACES["small"], runners)

    def row(what: str, ours: str, theirs: str, target: float | None = None) -> Row:
        return compared(what, p50[ours], p50[theirs], unit=duration, target=target)

    calls = [
        row("model(input=x) : session.run", "edge_model", PLAIN, 0.95),
        row("bound call : session.run", "edge_bound", PLAIN, 0.5),
        row("bound call : raw bound run", "edge_bound", "raw_binding", 1.0),
        *([row("bound call : torch eager", "edge_bound", "torch_eager", 0.4)] if torch else []),
        row("four batch sizes in turn, model : session.run", "edge_cycle", "session_cycle"),
    ]
    steps = [row(what, name, PLAIN) for what, name in STEPS[1:]]
    steps.append(row("edge: bound call, with its checks", "edge_bound", PLAIN))
    return [
        ("call path: linear model, batch 64, one thread", calls),
        ("what each step does, beside session.run", steps),
        ("a million bound calls: growth", _growth(bench)),
    ]


def _growth(bench: Bench) -> list[Row]:
    growth = bench.probe("growth", models.LINEAR)
    small, large = (bench.probe("peak", name)["peak_bytes"] for name in (models.LINEAR, models.RESNET))
    traced, resident = growth["traced_bytes"], growth["resident_bytes"]
    held = f"{small} and {large} B"
    return [
        counted("traced by tracemalloc", size(traced), target="0 B", holds=traced == 0),
        counted("resident", size(resident), target=f"<= {size(FLAT_BYTES)}", holds=resident <= FLAT_BYTES),
        counted("held during a call, linear and ResNet-18", held, target="equal", holds=small == large),
    ]


def _large(bench: Bench) -> list[tuple[str, list[Row]]]:
    """Measure loading, memory and presets, on a ResNet-18."""
    artifact = bench.artifact(models.RESNET)
    presets = {preset: {"preset": preset} for preset in ("balanced", "latency", "memory")}
    runners = {
        name: Runner(factory="edge_bound", artifact=artifact.path, options=options) for name, options in presets.items()
    }
    entries = [bench.entry(name, artifact, "edge_bound", **options) for name, options in presets.items()]
    plain = bench.entry(PLAIN, artifact)
    bench.probe("identical", models.RESNET)  # fills the cache, as a board's first start does
    sections = []
    for threads in (1, 2):
        if threads > len(available_cpus()):
            bench.console.note(f"{len(available_cpus())} CPU: no figures with {threads} threads")
            continue
        also = {PLAIN: Runner(factory=PLAIN, artifact=artifact.path)} if threads == 1 else {}
        p50 = bench.in_lockstep(replace(PACES["large"], threads=threads), {**also, **runners})
        memory = _memory(bench, [plain, *entries] if threads == 1 else entries, threads=threads)
        if threads == 1:
            title = f"loading: ResNet-18, {size(artifact.size_bytes(artifact.variant()))}, one thread, cached"
            sections.append((title, _loading(bench, [entries[0], plain], p50, memory)))
        rows = []
        for name in ("latency", "memory"):
            what = f"{name} : balanced"
            rows.append(compared(f"{what}, p50", p50[name], p50["balanced"], unit=duration))
            for kind in ("peak", "private"):
                ours, theirs = memory[name][kind], memory["balanced"][kind]
                rows.append(compared(f"{what}, {kind} memory", single(ours), single(theirs), unit=size))
        sections.append((f"presets, {threads} thread{'s' * (threads > 1)}", rows))
    return sections


def _loading(
    bench: Bench,
    entries: Sequence[Entry],
    p50: Mapping[str, Blocks],
    memory: Mapping[str, Mapping[str, list[int]]],
) -> list[Row]:
    record = _conduct(bench, entries, rounds=ROUNDS["launches"], block=ONE_CALL)
    names = [entry.name for entry in entries]
    loads, starts = (
        [single([sum(one.phases_ns[p] for p in phases) for one in _launches(record, name)]) for name in names]
        for phases in (("load",), ("spawn", "import", "load", "first"))
    )
    private, peak = ([single(memory[name][kind]) for name in names] for kind in ("private", "peak"))
    ours, theirs = (p50[name] for name in names)
    identical = bench.probe("identical", models.RESNET)
    same = identical["same"] == identical["of"] and bool(identical["mapped"])
    share = f"{identical['same']} of {identical['of']}"
    return [
        compared("load", *loads, unit=duration, target=0.3),
        compared("cold start to the first result", *starts, unit=duration, target=0.8),
        compared("private memory of the model", *private, unit=size, target=0.5),
        compared("peak memory of loading and running", *peak, unit=size),
        compared("latency", ours, theirs, unit=duration, target=1.03),
        counted("answers identical to the uncached session's", share, target="all", holds=same),
    ]


def _stream(bench: Bench) -> tuple[str, list[Row]]:
    """Measure frames that take as long to prepare as to infer, on two CPUs with one thread of inference."""
    title = "stream: preparing a frame costs as much as inference"
    if len(available_cpus()) < 2:  # noqa: PLR2004 - one to prepare, one to infer
        bench.console.note("1 CPU: nothing can overlap, no figure for the stream")
        return title, []
    artifact = bench.artifact(models.RESNET)
    entries = [bench.entry(name, artifact, threads="1") for name in ("session_in_turn", "edge_stream")]
    record = _conduct(bench, entries, rounds=ROUNDS["stream"], block=STREAM, threads=2)
    in_turn, stream = (
        single([percentile(launch.block_ns, 50) for launch in _launches(record, entry.name)]) for entry in entries
    )
    return title, [compared("model.stream(frames) : one after the other", stream, in_turn, unit=duration)]


def _commands(bench: Bench) -> tuple[str, list[Row]]:
    """Measure from the start of a process to its first output."""
    array = bench.folder / "input.npy"
    case = next(bench.artifact(models.LINEAR).golden(bench.artifact(models.LINEAR).variant()))
    np.save(array, case.inputs["input"])
    named = commands.starts(bench.folder / models.LINEAR, array)
    times = commands.first_outputs(named, ROUNDS["commands"], bench.command.environment, bench.console.progress)

    def row(ours: str, theirs: str = "bare script") -> Row:
        return compared(f"{ours} : {theirs}", single(times[ours]), single(times[theirs]), unit=duration)

    return "from start to first output, beside a bare numpy + onnxruntime script", [
        row("edge --help", "python -c pass"),
        row("edge info"),
        row("edge run"),
        row("import edge_runtime", "import numpy, onnxruntime"),
    ]


def _conduct(bench: Bench, entries: Sequence[Entry], *, rounds: int, block: BlockPlan, threads: int = 1) -> Record:
    plan = Plan(rounds=rounds, budget_s=3600.0, threads=threads, block=block)
    record = conduct(entries, plan, board="local", progress=bench.progress)
    wrong = [one.name for one in record.contenders if one.answers.agree is not True]
    if wrong:
        raise SystemExit(f"wrong answers, nothing is compared: {', '.join(wrong)}")
    for warning in record.warnings:
        bench.console.note(warning)
    return record


def _memory(bench: Bench, entries: Sequence[Entry], *, threads: int) -> dict[str, dict[str, list[int]]]:
    """Return private and peak bytes above the imported engine, by contender, one value a round."""
    found: dict[str, dict[str, list[int]]] = {entry.name: {"private": [], "peak": []} for entry in entries}
    for index in range(ROUNDS["memory"]):
        for entry in entries:
            bench.console.progress(f"memory, round {index + 1} of {ROUNDS['memory']}: {entry.name}")
            job = {
                "kind": "memory",
                "contender": entry.contender,
                "artifact": str(entry.artifact.path),
                "variant": entry.variant,
                "threads": threads,
                "cpus": list(available_cpus()[-threads:]),
                "options": dict(entry.options),
                "inputs": None,
                "block": asdict(ONE_CALL),
                "energy_s": 0.0,
                "root": "/",
            }
            told = run_worker(entry.command, job, threads=threads, timeout_s=LAUNCH_TIMEOUT_S)["memory"]
            points = told["points"]
            found[entry.name]["private"].append(points["steady"]["private"] - points["base"]["private"])
            found[entry.name]["peak"].append(max(told["load_peak_bytes"], told["run_peak_bytes"]))
    return found


def _launches(record: Record, name: str) -> list[Launch]:
    return [launch for launch in record.launches if launch.contender == name]


if __name__ == "__main__":
    try:
        sys.exit(main())
    except EdgeError as error:
        sys.exit(f"benchmark: {error}")
