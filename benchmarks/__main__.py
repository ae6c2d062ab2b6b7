"""Every figure the project promises, as a ratio measured side by side in one run: ``make benchmark``.

Each contender runs in worker processes of its own, one alive at a time, in turning order; a ratio is taken round by
round, so that what drifts slowly cancels. Exits 1 when a target is missed.
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
from benchmarks.rows import Row, compared, counted, text
from edge_runtime.artifact import Artifact, open_artifact
from edge_runtime.console import Console
from edge_runtime.environment import available_cpus, machine
from edge_runtime.errors import EdgeError
from edge_runtime.launch import Command, own_command, run_worker
from edge_runtime.record import Launch, Record
from edge_runtime.rounds import LAUNCH_TIMEOUT_S, OWN_CONTENDER, Entry, Plan, Progress, conduct
from edge_runtime.stats import percentile
from edge_runtime.timing import BlockPlan
from edge_runtime.units import duration, size

CONTENDERS = Path(__file__).with_name("contenders.py")
PLAIN = "session_run"

# A round of the small model's eleven contenders takes ten seconds, of the large one's four seven
ROUNDS = {"small": 9, "large": 7, "threads": 6, "stream": 6, "commands": 12, "memory": 3}
SHORT = BlockPlan(warmup_s=0.2, block_s=0.3)
LONG = BlockPlan(warmup_s=0.2, warmup_calls=3, block_s=0.5, min_samples=10)
STREAM = BlockPlan(warmup_s=0.0, warmup_calls=1, block_s=0.0, min_samples=3)

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
    parser.add_argument("--quick", action="store_true", help="two rounds of each: shows that it runs, proves nothing")
    options = parser.parse_args()
    console = Console(json=False, quiet=False, verbose=False, color=False)
    if options.quick:
        ROUNDS.update(dict.fromkeys(ROUNDS, 2))
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
    console.say(f"{machine().model}, {len(available_cpus())} CPUs, Python {platform.python_version()}; p50 of launches")
    console.say(f"{judged - len(missed)} of {judged} targets hold; {time.monotonic() - begin:.0f} s")
    for one in missed:
        console.say(f"missed: {one}")
    return 1 if missed else 0


def _small(bench: Bench) -> list[tuple[str, list[Row]]]:
    """Measure the call path, on the linear model at batch 64 with one thread."""
    artifact = bench.artifact(models.LINEAR)
    names = [name for _, name in STEPS] + ["edge_model", "edge_bound", "session_cycle", "edge_cycle"]
    entries = [bench.entry(name, artifact) for name in names]
    torch = importlib.util.find_spec("torch") is not None
    if torch:
        entries.append(bench.entry("torch_eager", artifact, weights=str(bench.folder / models.WEIGHTS)))
    record = _conduct(bench, entries, rounds=ROUNDS["small"], block=SHORT)
    p50 = {entry.name: _p50(record, entry.name) for entry in entries}
    checked, bound = p50["edge_model"], p50["edge_bound"]
    calls = [
        compared("model(input=x) : session.run", checked, p50[PLAIN], unit=duration, target=0.95),
        compared("bound call : session.run", bound, p50[PLAIN], unit=duration, target=0.5),
        compared("bound call : raw bound run", bound, p50["raw_binding"], unit=duration, target=1.0),
        compared(
            "four batch sizes in turn, model : session.run", p50["edge_cycle"], p50["session_cycle"], unit=duration
        ),
    ]
    if torch:
        calls.insert(3, compared("bound call : torch eager", bound, p50["torch_eager"], unit=duration, target=0.4))
    else:
        bench.console.note("torch is not installed: no comparison with it")
    growth, peaks = (
        bench.probe("growth", models.LINEAR),
        [bench.probe("peak", name) for name in (models.LINEAR, models.RESNET)],
    )
    small, large = (found["peak_bytes"] for found in peaks)
    memory = [
        counted("traced by tracemalloc", size(growth["traced_bytes"]), target="0 B", holds=growth["traced_bytes"] == 0),
        counted("resident", size(growth["resident_bytes"]), target="0 B", holds=growth["resident_bytes"] <= 0),
        counted(
            "held during a call, linear and ResNet-18",
            f"{small} and {large} B",
            target="equal",
            holds=small == large,
        ),
    ]
    steps = [compared(what, p50[name], p50[PLAIN], unit=duration) for what, name in STEPS[1:]]
    steps.append(compared("edge: bound call, with its checks", bound, p50[PLAIN], unit=duration))
    return [
        ("call path: linear model, batch 64, one thread", calls),
        ("what each step does, beside session.run", steps),
        ("a million bound calls: growth", memory),
    ]


def _large(bench: Bench) -> list[tuple[str, list[Row]]]:
    """Measure loading, memory and presets, on a ResNet-18."""
    artifact = bench.artifact(models.RESNET)
    own = Entry(name="edge", contender=OWN_CONTENDER, command=bench.command, artifact=artifact)
    entries = [
        bench.entry(PLAIN, artifact),
        own,
        *(bench.entry(preset, artifact, "edge_bound", preset=preset) for preset in ("latency", "memory")),
    ]
    sections = []
    for threads in (1, 2):
        if threads > len(available_cpus()):
            bench.console.note(f"{len(available_cpus())} CPU: no figures with {threads} threads")
            continue
        rounds = ROUNDS["large" if threads == 1 else "threads"]
        chosen = entries if threads == 1 else entries[1:]  # the presets are held against each other
        record = _conduct(bench, chosen, rounds=rounds, block=LONG, threads=threads)
        memory = _memory(bench, chosen, threads=threads)
        if threads == 1:
            identical = bench.probe("identical", models.RESNET)
            rows = _loading(record, memory, identical)
            sections.append((f"loading: ResNet-18, {size(artifact.size_bytes(artifact.variant()))}, one thread", rows))
        presets = []
        for name in ("latency", "memory"):
            what = f"{name} : balanced"
            presets.append(compared(f"{what}, p50", _p50(record, name), _p50(record, "edge"), unit=duration))
            presets.append(compared(f"{what}, peak", memory[name]["peak"], memory["edge"]["peak"], unit=size))
            presets.append(compared(f"{what}, private", memory[name]["private"], memory["edge"]["private"], unit=size))
        sections.append((f"presets, {threads} thread{'s' * (threads > 1)}", presets))
    return sections


def _loading(record: Record, memory: Mapping[str, Mapping[str, list[int]]], identical: Mapping[str, int]) -> list[Row]:
    loads, starts = (
        [[sum(one.phases_ns[p] for p in phases) for one in _launches(record, name)] for name in ("edge", PLAIN)]
        for phases in (("load",), ("spawn", "import", "load", "first"))
    )
    same = identical["same"] == identical["of"] and bool(identical["mapped"])
    private = [memory[name]["private"] for name in ("edge", PLAIN)]
    peak = [memory[name]["peak"] for name in ("edge", PLAIN)]
    return [
        compared("load", *loads, unit=duration, target=0.3),
        compared("cold start to the first result", *starts, unit=duration, target=0.8),
        compared("private memory of the model", *private, unit=size, target=0.5),
        compared("peak memory of loading and running", *peak, unit=size),
        compared("latency", _p50(record, "edge"), _p50(record, PLAIN), unit=duration, target=1.03),
        counted(
            "answers of the mapped graph identical",
            f"{identical['same']} of {identical['of']}",
            target="all",
            holds=same,
        ),
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
    in_turn, stream = (_p50(record, entry.name) for entry in entries)
    return title, [compared("model.stream(frames) : one after the other", stream, in_turn, unit=duration)]


def _commands(bench: Bench) -> tuple[str, list[Row]]:
    """Measure from the start of a process to its first output."""
    array = bench.folder / "input.npy"
    case = next(bench.artifact(models.LINEAR).golden(bench.artifact(models.LINEAR).variant()))
    np.save(array, case.inputs["input"])
    named = commands.starts(bench.folder / models.LINEAR, array)
    times = commands.first_outputs(named, ROUNDS["commands"], bench.command.environment, bench.console.progress)
    bare = "bare script"
    return "from start to first output, beside a bare numpy + onnxruntime script", [
        compared("edge --help : python -c pass", times["edge --help"], times["python -c pass"], unit=duration),
        compared("edge info : bare script", times["edge info"], times[bare], unit=duration),
        compared("edge run : bare script", times["edge run"], times[bare], unit=duration),
        compared(
            "import edge_runtime : import numpy, onnxruntime",
            times["import edge_runtime"],
            times["import numpy, onnxruntime"],
            unit=duration,
        ),
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
                "block": asdict(LONG),
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


def _p50(record: Record, name: str) -> list[int]:
    return [percentile(launch.block_ns, 50) for launch in _launches(record, name)]


if __name__ == "__main__":
    try:
        sys.exit(main())
    except EdgeError as error:
        sys.exit(f"benchmark: {error}")
