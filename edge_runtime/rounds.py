"""Launches of workers in turning order: one process alive at a time, every contender once a round.

A round is one launch of each contender. The order turns from round to round (AB BA AB …), so that a machine that
drifts treats them alike. Memory is measured first, in launches of its own, which also settle who answers wrongly:
such a contender is recorded as invalid and never timed.
"""

import math
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_runtime import energy, fitness, stats, warmup
from edge_runtime.artifact import Artifact
from edge_runtime.environment import available_cpus, machine
from edge_runtime.errors import EdgeError, UsageError
from edge_runtime.launch import Command, own_command, run_worker
from edge_runtime.limits import limits
from edge_runtime.record import (
    Answers,
    Config,
    EnergyLaunch,
    Launch,
    MeasuredArtifact,
    MeasuredContender,
    MemoryLaunch,
    Record,
    answers_of_worker,
    energy_of_worker,
    launch_of_worker,
    memory_of_worker,
)
from edge_runtime.timing import BlockPlan
from edge_runtime.tree import Tree

if TYPE_CHECKING:
    from edge_runtime.model import Model
    from edge_runtime.npz import Array

MIN_ROUNDS, MAX_ROUNDS = 6, 15  # below 6 the t interval covers too rarely, above 15 it hardly narrows
LAUNCH_TIMEOUT_S = 300.0  # torch on a slow board takes a minute to import; a hang must end all the same
OWN_CONTENDER = "edge_runtime.contender:open_contender"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One contender of a run: its name, how its worker starts, what it loads."""

    name: str
    contender: str  # module:factory, or /path/file.py:factory
    command: Command
    artifact: Artifact
    variant: str = "auto"
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a run is taken. rounds: how many, or None to go on until the precision is reached.

    budget_s: no round is begun that would pass it.   precision: the half-width of every p50's interval, as a share,
    at which an open-ended run stops.   margin: differences up to it count as none.   energy_s: where the machine has a
    meter, end with a launch of each contender that rests for so long, and calls for so long, beyond the budget; None
    measures no energy, `energy.INTERVAL_S` is long enough for every meter.
    """

    rounds: int | None = None
    budget_s: float = 300.0
    precision: float = 0.01
    margin: float = 0.02
    threads: int = 1
    energy_s: float | None = None
    block: BlockPlan = field(default_factory=BlockPlan)

    def __post_init__(self) -> None:
        """Refuse a plan that can't be carried out on this machine."""
        cpus = len(available_cpus())
        if not 1 <= self.threads <= cpus:
            raise UsageError(f"{self.threads} threads on {cpus} CPUs", "the plan", f"ask for 1 to {cpus}")
        if self.rounds is not None and self.rounds < 1:
            raise UsageError(f"{self.rounds} rounds", "the plan", "ask for at least one")
        # written this way round, NaN is refused too
        seconds = energy.INTERVAL_S if self.energy_s is None else self.energy_s
        if not all(0 < value < math.inf for value in (self.budget_s, self.precision, self.margin, seconds)):
            raise UsageError(
                "a budget, precision, margin or interval that is not above zero and finite",
                "the plan",
                "give positive numbers",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What a run tells while it goes on. kind: memory, time or energy; round is None unless time is measured."""

    kind: str
    contender: str
    round: int | None
    rounds: int | None
    elapsed_s: float
    budget_s: float


def conduct(
    entries: Sequence[Entry],
    plan: Plan,
    *,
    board: str,
    inputs: Path | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
    keep: Callable[[Record], None] = lambda _: None,
    root: Path = Path("/"),
) -> Record:
    """Measure the entries and return the record.

    inputs: an ``.npz`` of the arrays to time, by input name; None times the first golden case. Either way every launch
    checks all golden cases before it times anything.   keep is given the record after each round, so that a crash
    loses one round.   root: where the files are that tell of limits and energy.
    Raises what the workers raise; see `launch.run_worker`.
    """
    names = [entry.name for entry in entries]
    if not names or len(set(names)) != len(names):
        raise UsageError(
            f"contenders named {names}", "rounds.conduct", "give at least one, each with a name of its own"
        )
    run = _Run(entries, plan, board=board, inputs=inputs, progress=progress, root=root)
    run.measure_memory()
    longest_s = 0.0
    while (reason := run.reason_to_stop(longest_s)) is None:
        round_begin = time.monotonic()
        run.measure_round()
        longest_s = max(longest_s, time.monotonic() - round_begin)
        keep(run.record("unfinished"))
    run.measure_energy()
    return run.record(reason)


def measure(
    model: "Model",
    inputs: "Mapping[str, Array] | None" = None,
    *,
    plan: Plan | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Record:
    """Measure a model on this machine, in fresh workers that reopen its path, variant and thread count.

    inputs: arrays by input name; None takes the first golden case. Returns raw samples, memory and environment.
    Raises WrongInput when the inputs don't fit, and what the workers raise.
    """
    if inputs is not None:
        model.bind(**inputs)  # refuses what doesn't fit before any worker starts
    chosen = plan or Plan(threads=model.threads, budget_s=30.0)
    return measure_artifact(model.artifact, model.variant.name, inputs, plan=chosen, progress=progress)


def measure_artifact(
    artifact: Artifact,
    variant: str,
    inputs: "Mapping[str, Array] | None" = None,
    *,
    plan: Plan,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Record:
    """Measure a variant without loading it here: pages of onnxruntime that we had too would not count as the worker's.

    inputs: as `measure`. Raises what the workers raise, WrongInput for inputs that don't fit among it.
    """
    from edge_runtime import npz  # noqa: PLC0415 - `bench` plans rounds without numpy

    with tempfile.TemporaryDirectory(prefix="edge-measure-") as folder:
        path = None
        if inputs is not None:
            path = Path(folder, "inputs.npz")
            npz.write(path, dict(inputs))
        return conduct([own_entry(artifact, variant)], plan, board="local", inputs=path, progress=progress)


def own_entry(artifact: Artifact, variant: str) -> Entry:
    """Return our own runtime as an entry, run by this interpreter."""
    return Entry(name="edge", contender=OWN_CONTENDER, command=own_command(), artifact=artifact, variant=variant)


def turning_order(count: int, round_index: int) -> tuple[int, ...]:
    """Return the order of `count` contenders in a round: turned by one each round (AB BA AB …, ABC BCA CAB …).

    Over `count` rounds each contender stands in each place once. With three or more, every other such cycle runs
    backwards, so that nobody always follows the same neighbour.
    """
    order = [(round_index + place) % count for place in range(count)]
    backwards = count > 2 and (round_index // count) % 2 == 1  # noqa: PLR2004 - two have no neighbours to swap
    return tuple(reversed(order)) if backwards else tuple(order)


class _Run:
    """A run under way: what was measured so far."""

    def __init__(
        self,
        entries: Sequence[Entry],
        plan: Plan,
        *,
        board: str,
        inputs: Path | None,
        progress: Callable[[Progress], None],
        root: Path,
    ) -> None:
        self._root = root
        self._entries, self._plan, self._board, self._inputs = entries, plan, board, inputs
        self._progress, self._begin = progress, time.monotonic()
        self._cpus = available_cpus()[-plan.threads :]  # the first CPU serves most interrupts
        self._created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self._contenders: list[MeasuredContender] = []
        self._memory: list[MemoryLaunch] = []
        self._energy: list[EnergyLaunch] = []
        self._unmeasured: list[str] = []
        self._launches: list[Launch] = []
        self._timed: list[Entry] = []
        self._rounds = 0

    def measure_memory(self) -> None:
        for entry in self._entries:
            if entry.contender == OWN_CONTENDER:
                # what is measured is a start as all but the first after an update are: from the cached graph
                self._launch(entry, "warm", None)
            events = self._launch(entry, "memory", None)
            answers = answers_of_worker(_without_event(events, "answers"), where=entry.name)
            engine = str(events.get("loaded", {}).get("engine", "unknown"))[:200]
            self._contenders.append(_measured(entry, engine, answers))
            if answers.agree is False:
                continue
            self._timed.append(entry)
            reading = {**_without_event(events, "memory"), "contender": entry.name}
            self._memory.append(memory_of_worker(reading, where=entry.name))

    def measure_round(self) -> None:
        changed: dict[str, Answers] = {}
        for order, index in enumerate(turning_order(len(self._timed), self._rounds)):
            entry = self._timed[index]
            events = self._launch(entry, "time", self._rounds)
            answers = answers_of_worker(_without_event(events, "answers"), where=entry.name)
            if answers.agree is False:
                changed[entry.name] = answers
                continue
            told = {
                **_without_event(events, "timing"),
                "phases_ns": events.get("loaded", {}).get("phases_ns"),
                "contender": entry.name,
                "round": self._rounds,
                "order": order,
                "cut": None,
                "steady": None,
                "valid": True,
                "reasons": [],
            }
            launch = launch_of_worker(told, where=entry.name)
            found = warmup.judge(launch.block_ns)
            self._launches.append(replace(launch, cut=found.cut, steady=found.steady))
        self._rounds += 1
        # right once and wrong later is wrong: such a contender leaves the race, and its samples judge nobody
        self._timed = [entry for entry in self._timed if entry.name not in changed]
        self._contenders = [replace(one, answers=changed.get(one.name, one.answers)) for one in self._contenders]

    def measure_energy(self) -> None:
        if self._plan.energy_s is None or energy.find(Tree(self._root)) is None:
            return
        for entry in self._timed:
            try:
                events = self._launch(entry, "energy", None)
            except EdgeError as error:  # the latencies are there already, and worth keeping without joules
                self._unmeasured.append(f"no energy of {entry.name}: {error}")
                continue
            if "energy" in events:
                reading = {**_without_event(events, "energy"), "contender": entry.name}
                self._energy.append(energy_of_worker(reading, where=entry.name))

    def reason_to_stop(self, longest_s: float) -> str | None:
        plan = self._plan
        if not self._timed:
            return "invalid"
        if plan.rounds is not None and self._rounds >= plan.rounds:
            return "rounds"
        if plan.rounds is None and self._rounds >= MIN_ROUNDS and self._precise():
            return "precision"
        if plan.rounds is None and self._rounds >= MAX_ROUNDS:
            return "max_rounds"
        if self._rounds and time.monotonic() - self._begin + longest_s > plan.budget_s:
            return "budget"
        return None

    def record(self, stop_reason: str) -> Record:
        warnings = [
            f"{contender.name} answers wrongly and is not ranked: {contender.answers.problem}"
            for contender in self._contenders
            if contender.answers.agree is False
        ]
        if self._timed and self._rounds < MIN_ROUNDS:
            warnings.append(f"{self._rounds} rounds are few: intervals need {MIN_ROUNDS} to be trusted")
        restless = sum(launch.steady is False for launch in self._launches)
        if restless:
            warnings.append(
                f"{restless} of {len(self._launches)} blocks were not steady: their level changed late or drifted, "
                "so their median is of several levels"
            )
        warnings += self._unmeasured
        warnings += map(str, fitness.of_limits(limits(Tree(self._root)), self._plan.threads))
        warnings += fitness.of_launches([(launch.before, launch.after) for launch in self._launches])
        return Record(
            created=self._created,
            command=tuple(sys.argv),
            seed=None,
            machine=machine(),
            board=self._board,
            config=Config(
                threads=self._plan.threads,
                cpus=self._cpus,
                scenario="single",
                shapes=self._shapes(),
                precision=self._plan.precision,
                margin=self._plan.margin,
            ),
            contenders=tuple(self._contenders),
            launches=tuple(self._launches),
            memory=tuple(self._memory),
            energy=tuple(self._energy),
            stop_reason=stop_reason,
            warnings=tuple(warnings),
        )

    def _launch(self, entry: Entry, kind: str, round_index: int | None) -> dict[str, dict[str, Any]]:
        plan = self._plan
        elapsed = time.monotonic() - self._begin
        rounds = plan.rounds if plan.rounds is not None else MAX_ROUNDS
        self._progress(
            Progress(
                kind=kind,
                contender=entry.name,
                round=round_index,
                rounds=rounds,
                elapsed_s=elapsed,
                budget_s=plan.budget_s,
            )
        )
        job = {
            "kind": kind,
            "contender": entry.contender,
            "artifact": str(entry.artifact.path.resolve()),
            "variant": entry.variant,
            "threads": plan.threads,
            "cpus": list(self._cpus),
            "options": dict(entry.options),
            "inputs": None if self._inputs is None else str(self._inputs.resolve()),
            "block": asdict(plan.block),
            "energy_s": plan.energy_s,
            "root": str(self._root),
        }
        return run_worker(entry.command, job, threads=plan.threads, timeout_s=LAUNCH_TIMEOUT_S)

    def _precise(self) -> bool:
        for entry in self._timed:
            medians = [stats.percentile(one.steady_ns, 50) for one in self._launches if one.contender == entry.name]
            interval = stats.launch_interval(medians)
            if interval.high is None or interval.high / interval.estimate - 1 > self._plan.precision:
                return False
        return True

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        from edge_runtime import npz  # noqa: PLC0415 - by now every worker has imported it; planning needs none

        if self._inputs is not None:
            return {name: array.shape for name, array in npz.read(self._inputs).items()}
        artifact = self._entries[0].artifact
        case = next(artifact.golden(artifact.variant(self._entries[0].variant)))
        return {name: array.shape for name, array in case.inputs.items()}


def _measured(entry: Entry, engine: str, answers: Answers) -> MeasuredContender:
    variant = entry.artifact.variant(entry.variant)
    artifact = MeasuredArtifact(
        name=entry.artifact.manifest.name,
        sha256=variant.files[0].sha256,
        variant=variant.name,
        bytes=entry.artifact.size_bytes(variant),
    )
    return MeasuredContender(name=entry.name, engine=engine, artifact=artifact, answers=answers)


def _without_event(events: Mapping[str, dict[str, Any]], name: str) -> dict[str, Any]:
    return {key: value for key, value in events.get(name, {}).items() if key != "event"}
