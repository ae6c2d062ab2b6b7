"""`edge measure`: latency and memory of an artifact on this machine, from fresh workers."""

from pathlib import Path

from edge_runtime import energy, fits, scenario_figures, start_figures, summary, sustained, throttling, units
from edge_runtime.artifact import open_artifact
from edge_runtime.commands.arrays import add_input_flag, read_inputs
from edge_runtime.commands.further_flags import add_further_flags, further_of
from edge_runtime.commands.scenario_flags import add_scenario_flags, scenario_of
from edge_runtime.console import Console, table, verb_parser
from edge_runtime.environment import Conditions, available_cpus
from edge_runtime.errors import INTERRUPTED, Unwritable, WorkerLost
from edge_runtime.files import refuse_taken
from edge_runtime.histogram import EIGHTHS, histogram
from edge_runtime.memory_use import MemoryUse
from edge_runtime.record import Record, load_record
from edge_runtime.rounds import Plan, Progress, measure_artifact
from edge_runtime.stats import Interval
from edge_runtime.tree import Tree

EXAMPLES = (
    "edge measure digits.edge",
    "edge measure digits.edge --threads 2 --budget 60 -o record.json",
    "edge measure digits.edge --resume record.json",
    "edge measure digits.edge --rate 30",
    "edge measure digits.edge --starts 5",
    "edge measure digits.edge --fit 256M",
    "edge measure digits.edge --sustained 10m",
    "edge measure digits.edge --input image=x.npy --json",
)
MEMORY = (
    ("base", "engine imported", "proportional (Pss), before the model"),
    ("model_steady", "the model itself", "what Pss grew by, in steady state"),
    ("load_peak", "peak while loading", "resident, above the engine"),
    ("run_peak", "peak while running", "resident, above the engine"),
    ("resident", "process, steady", "resident"),
    ("total_peak", "process, peak", "what has to fit"),
)
EXITS = {"invalid": 1, "interrupted": INTERRUPTED, "failed": WorkerLost.exit_code}


def measure(argv: list[str]) -> int:
    """Measure an artifact; print a table or the record as JSON."""
    parser = verb_parser(
        "measure",
        "Cold start, latency, throughput and memory on this machine, each launch in a fresh process.",
        EXAMPLES,
    )
    parser.add_argument("artifact", metavar="NAME.edge", help="the artifact's folder")
    add_input_flag(parser, otherwise="otherwise the first golden case is used")
    parser.add_argument("--variant", default="auto", help="a name from edge info (default: the reference)")
    parser.add_argument("--threads", metavar="N", type=int, default=1, help="intra-op threads (default: 1)")
    parser.add_argument("--launches", metavar="N", type=int, help="how many (default: until p50 is within --precision)")
    parser.add_argument("--budget", metavar="S", type=float, default=30.0, help="seconds to spend (default: 30)")
    parser.add_argument("--precision", metavar="P", type=float, default=0.01, help="half-width of p50 (default: 0.01)")
    parser.add_argument("--energy", action="store_true", help="joules a call too: 21 s more, where there is a meter")
    add_scenario_flags(parser)
    add_further_flags(parser)
    parser.add_argument("-o", "--output", metavar="R.json", type=Path, help="keep the record, saved after each launch")
    parser.add_argument(
        "--resume", metavar="R.json", type=Path, help="go on with this record, and save there unless -o says otherwise"
    )
    parser.add_argument("--force", action="store_true", help="replace the record file")
    options = parser.parse_args(argv)
    console = Console.of(options)
    resumed = None if options.resume is None else load_record(options.resume)
    output: Path | None = options.output or options.resume
    if options.output is not None:
        refuse_taken(options.output, replace=options.force)
    plan = Plan(
        rounds=options.launches,
        budget_s=options.budget,
        precision=options.precision,
        threads=options.threads,
        energy_s=energy.INTERVAL_S if options.energy else None,
        scenario=scenario_of(options),
        **further_of(options),
    )
    artifact = open_artifact(options.artifact)
    variant = artifact.variant(options.variant)
    inputs = read_inputs(options.input, artifact.manifest.inputs) if options.input else None
    record = measure_artifact(
        artifact,
        variant.name,
        inputs,
        plan=plan,
        progress=lambda now: console.progress(progress_line(now)),
        keep=lambda record: None if output is None else record.save(output),
        resume=resumed,
    )
    console.clear_line()
    problem = saving_problem(record, output)
    if not options.json:
        console.say(_described(record, asked_energy=options.energy, blocks=console.can_show(EIGHTHS)))
        if output is not None and problem is None:
            console.say(f"\nrecord: {output}")
    if record.stop_reason == "interrupted":
        console.note(interrupted(record, output, "edge measure"))
    told = {
        **summary.document(record, ()),
        "scenario": scenario_figures.document(record),
        "starts": start_figures.document(record, contender="edge"),
    }
    console.answer({**record.to_document(), "summary": told})
    if problem is not None:
        console.note(f"edge: {problem}")
        return problem.exit_code
    return EXITS.get(record.stop_reason, 0)


def saving_problem(record: Record, output: Path | None) -> Unwritable | None:
    """Save the record; return what kept it from being saved, so that minutes of measuring are shown all the same."""
    try:
        if output is not None:
            record.save(output)
    except Unwritable as problem:
        return problem
    return None


def interrupted(record: Record, output: Path | None, verb: str) -> str:
    """Return what an interrupted run tells: what there is, where it is kept, and how to go on."""
    done = units.count(sum(launch.valid for launch in record.launches), "launch")
    told = f"interrupted: {done} measured"
    if output is None:
        return f"{told}, and kept nowhere: -o R.json keeps what there is"
    return f"{told} and kept in {output}; to go on: {verb} ... --resume {output}"


def progress_line(now: Progress) -> str:
    """Return what is being done, how much is done, the estimate so far and the time left, in one line."""
    round_ = "" if now.round is None else f", round {now.round + 1} of at most {now.rounds}"
    parts = [f"{now.contender}: {now.kind}{round_}", f"{units.count(now.launches, 'launch')} done"]
    if now.estimate is not None:
        share = "" if now.estimate.high is None else f" ±{now.estimate.high / now.estimate.estimate - 1:.1%}"
        parts.append(f"p50 {units.duration(now.estimate.estimate)}{share}")
    if now.left_s is None:
        parts.append(f"{units.duration(now.elapsed_s * 1e9)} of {units.duration(now.budget_s * 1e9)}")
    else:
        parts.append(f"about {units.duration(now.left_s * 1e9)} left")
    return ", ".join(parts)


def _described(record: Record, *, asked_energy: bool, blocks: bool = True) -> str:
    standing = summary.standings(record)[0]
    machine, config = record.machine, record.config
    ram = "RAM unknown" if machine.ram_bytes is None else f"{units.size(machine.ram_bytes)} RAM"
    cpus, launches = ", ".join(map(str, config.cpus)), units.count(standing.launches, "launch")
    shapes = ", ".join(f"{name} {'x'.join(map(str, shape)) or 'scalar'}" for name, shape in config.shapes.items())
    parts = [
        table(
            [
                (
                    "machine",
                    f"{machine.model}, {machine.cores} of {len(available_cpus())} CPUs usable, {ram}",
                ),
                (
                    "engine",
                    f"{standing.contender.engine}, {units.count(config.threads, 'thread')} on CPU {cpus}",
                ),
                (
                    "model",
                    f"{standing.contender.artifact.name} ({standing.contender.artifact.variant}), {shapes}",
                ),
                ("answers", _answers(record)),
                (
                    "evidence",
                    f"{launches}, {_samples(record, standing)}, stopped by {record.stop_reason}",
                ),
                ("warm-up", summary.warmup_rule(record)),
                *_states(record),
            ]
        ),
        *_tables(standing, record, blocks=blocks),
        *start_figures.lines(record, contender=standing.contender.name),
        f"energy: {_energy(standing, asked=asked_energy)}",
        *(["\n".join(fits.lines(record.fits))] if record.fits else []),
        *(f"sustained: {told}" for told in sustained.lines(record.sustained)),
    ]
    told = scenario_figures.lines(record)
    if told:
        parts.insert(1, f"scenario {config.scenario}\n" + "\n".join(told))
    return "\n\n".join([*parts, *(f"warning: {warning}" for warning in record.warnings)])


def _tables(standing: summary.Standing, record: Record, *, blocks: bool) -> list[str]:
    tables = []
    if standing.latency is not None:
        rows = [("latency", "", "95 % interval")]
        rows += [_latency_row(name, one, standing.latency) for name, one in standing.latency.figures().items()]
        throughput = standing.throughput_per_s
        if throughput is not None:
            rows.append(("throughput", units.rate(throughput.estimate), _range(throughput, units.rate)))
        tables.append(table(rows, "<>"))
        samples = [sample for one in record.launches_of(standing.contender.name) for sample in one.steady_ns]
        tables.append(f"samples of all launches\n{histogram(samples, blocks=blocks)}")
    if standing.cold_start_ns is not None:
        rows = [("cold start", "", "95 % interval")]
        phases = {**standing.phases_ns, "total": standing.cold_start_ns}
        rows += [(name, units.duration(one.estimate), _range(one, units.duration)) for name, one in phases.items()]
        tables.append(table(rows, "<>"))
    if standing.memory is not None:
        memory = standing.memory
        tables.append(
            table(
                [
                    ("memory", "", ""),
                    *(
                        (label, _size(getattr(memory, name)), f"{meaning}{_spread(memory, name)}")
                        for name, label, meaning in MEMORY
                    ),
                ],
                "<>",
            )
        )
    return tables


def _states(record: Record) -> list[tuple[str, str]]:
    timed = [launch for launch in record.launches if launch.valid]
    if not timed:
        return []
    first, last = timed[0].before, timed[-1].after
    return [("before", _state(first)), ("after", _state(last))]


def _state(now: Conditions) -> str:
    words = [] if now.governor is None else [f"governor {now.governor}"]
    if now.frequency_khz is not None:
        words.append(f"{now.frequency_khz // 1000} MHz")
    if now.temperature_millicelsius is not None:
        words.append(f"{now.temperature_millicelsius / 1000:.1f} °C")
    if now.throttled_bits is not None:
        words.append(f"firmware: {', '.join(throttling.now(now.throttled_bits)) or 'calm'}")
    if now.load_1m_hundredths is not None:
        words.append(f"load {now.load_1m_hundredths / 100:.2f}")
    hidden = now.frequency_khz is None and now.temperature_millicelsius is None
    return ", ".join(words + ["clock and temperature are hidden"] * hidden)


def _samples(record: Record, standing: summary.Standing) -> str:
    # a group's mean hides its slowest call: percentiles of groups must not pass for percentiles of calls
    groups = sorted({launch.calls_per_sample for launch in record.launches if launch.valid})
    grouped = f", each the mean of {' or '.join(map(str, groups))} calls" if groups and groups[-1] > 1 else ""
    return f"{standing.samples} samples{grouped}"


def _answers(record: Record) -> str:
    answers = record.contenders[0].answers
    if answers.agree is None:
        return "not checked: the artifact has no golden case"
    return "every golden case right before timing" if answers.agree else f"WRONG: {answers.problem}"


def _latency_row(name: str, value: Interval | None, latency: summary.Latency) -> tuple[str, str, str]:
    if value is None:
        have, need = latency.shortfall(name) or (0, 0)
        return name, "–", f"n too small ({have}/{need})"
    label = "  (over launches)" if name in {"min", "max", "sd"} else ""
    return name, units.duration(value.estimate), _range(value, units.duration) + label


def _range(value: Interval, text: "units.Text") -> str:
    if value.low is None or value.high is None:
        return "one launch gives no interval"
    return f"{text(value.low)} to {text(value.high)}"


def _energy(standing: summary.Standing, *, asked: bool) -> str:
    if standing.energy is not None:
        used = standing.energy
        both = f"{units.energy(used.net_uj)} a call net of idling, {units.energy(used.gross_uj)} gross"
        return f"{both} ({used.rail})"
    tree = Tree()
    if energy.find(tree) is None:
        return f"unknown, {energy.why_none(tree)}"
    return "the meter gave no answer; see the warnings" if asked else "not measured (--energy measures it, 21 s more)"


def _spread(memory: MemoryUse, name: str) -> str:
    low, high = memory.limits(name)
    return "" if low is None or high is None else f" ({units.size(low)} to {units.size(high)})"


def _size(value: int | None) -> str:
    return "unknown" if value is None else units.size(value)
