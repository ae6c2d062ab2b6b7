"""A measurement under way: memory first, then rounds of blocks, then energy; each launch kept as soon as it is there.

One process is alive at a time. A worker that is lost is told in the record, and costs a round of one contender at most
twice before that contender leaves the race.
"""

import math
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edge_runtime import confirmation, fitness, processors, stats, takeup, warmup
from edge_runtime.environment import Conditions, available_cpus, machine
from edge_runtime.errors import BoardError, EdgeError, Unsupported, UnsupportedSystem, Unwritable
from edge_runtime.further import Further
from edge_runtime.launch import Heard
from edge_runtime.launcher import NOTHING, Launcher
from edge_runtime.limits import limits
from edge_runtime.measured import (
    MeasuredArtifact,
    MeasuredContender,
    answers_of_worker,
    configuration_of_worker,
    failure_of,
    phases_of_worker,
    unasked,
)
from edge_runtime.plan import (
    LAUNCH_TIMEOUT_S,
    MAX_ROUNDS,
    MIN_ROUNDS,
    Entry,
    Plan,
    Progress,
    turning_order,
)
from edge_runtime.record import Config, Record
from edge_runtime.samples import (
    Launch,
    MemoryLaunch,
    launch_of_worker,
    memory_of_worker,
)
from edge_runtime.scenarios import round_figures
from edge_runtime.stats import Interval
from edge_runtime.tree import Tree
from edge_runtime.units import visible

BATCH_ENDS = {"rounds", "precision", "max_rounds"}  # reasons after which nothing is owed but a confirmation
ATTEMPTS = 2  # of a launch whose worker is lost: an accident may happen once, what happens twice is the contender's


class Race:
    """A measurement under way: what was measured so far, and what comes next."""

    def __init__(
        self,
        entries: Sequence[Entry],
        plan: Plan,
        *,
        board: str,
        inputs: Path | None,
        progress: Callable[[Progress], None],
        keep: Callable[[Record], None],
        root: Path,
        doubtful: Callable[[Record], bool] = confirmation.doubtful,
    ) -> None:
        self._root, self._doubtful = root, doubtful
        self._entries, self._plan, self._board = entries, plan, board
        self._progress, self._keep, self._begin = progress, keep, time.monotonic()
        at_once = plan.threads * (plan.scenario.workers or 1)
        self._cpus = processors.choose(Tree(root), available_cpus(), at_once)
        self._launcher = Launcher(plan, cpus=self._cpus, inputs=inputs, root=root)
        self._troubles: list[str] = []
        self._further = Further(
            plan, self._launch, cpus=self._cpus, root=root, save=self._save, trouble=self._troubles.append
        )
        self._created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self._contenders: list[MeasuredContender] = []
        self._memory: list[MemoryLaunch] = []
        self._launches: list[Launch] = []
        self._timed: list[Entry] = []
        self._earlier: Record | None = None
        self._rounds = self._next = 0  # whole rounds so far; the index of the next, which counts broken ones too
        self._round_s: list[float] = []  # how long each of this sitting took
        self._first_rounds: int | None = None  # how many the first batch has, once a second one confirms it
        self._confirming_from: int | None = None

    @property
    def has_measured(self) -> bool:
        """Whether there is anything that an interrupt should not lose."""
        return any(launch.valid for launch in self._launches)

    def take_up(self, earlier: Record) -> None:
        """Go on with an earlier record: its launches are kept, a round that it broke off is not paired with ours."""
        takeup.refuse_unlike(earlier, self._entries, self._config(), machine().key)
        self._earlier, self._created = earlier, earlier.created
        self._launches = list(earlier.launches)
        self._memory = list(earlier.memory)
        self._further.take_up(earlier)
        self._rounds, self._next = takeup.whole_rounds(earlier), takeup.next_round(earlier)
        self._confirming_from = earlier.confirming_from
        if self._confirming_from is not None:
            self._first_rounds = takeup.whole_rounds(earlier, before=self._confirming_from)

    def go(self) -> str:
        """Measure until there is a reason to stop; return it."""
        self.measure_memory()
        while (reason := self.reason_to_stop()) is None or self._begins_to_confirm(reason):
            begin = time.monotonic()
            self.measure_round()
            self._round_s.append(time.monotonic() - begin)
        p50s = ((entry.name, self._p50(entry.name)) for entry in self._timed)
        self._further.measure(
            self._timed,
            self._memory,
            p50s_ns={name: p50.estimate for name, p50 in p50s if p50 is not None},
            left_s=self._plan.budget_s - (time.monotonic() - self._begin),
        )
        return reason

    def measure_memory(self) -> None:
        """Measure memory by phases, and settle who answers right and is timed."""
        for entry in self._entries:
            known = None if self._earlier is None else takeup.contender_of(self._earlier, entry.name)
            if known is not None and not known.ranked:
                self._contenders.append(known)
                continue
            try:
                found = self._introduced(entry, known)
            except (BoardError, Unsupported) as error:
                if entry is self._entries[0] or known is not None:
                    raise
                found = replace(_measured(entry), failure=failure_of(error))
            self._contenders.append(found)
            if found.ranked:
                self._timed.append(entry)
            self._save()

    def _introduced(self, entry: Entry, known: MeasuredContender | None) -> MeasuredContender:
        """Start an entry outside of the race: what it is, what its first start took, how it answers, its memory."""
        first_start_ns = None
        if entry.warm:
            # what is measured is a start as all but the first after an update are: from what that one has kept
            loaded = self._launch(entry, "warm").get("loaded", {})
            first_start_ns = phases_of_worker(loaded.get("phases_ns", {}), where=entry.name)
        if known is not None:
            return known
        events = self._launch(entry, "memory")
        answers = answers_of_worker(_without_event(events, "answers"), where=entry.name)
        if answers.agree is not False:
            reading = {**_without_event(events, "memory"), "contender": entry.name}
            self._memory.append(memory_of_worker(reading, where=entry.name))
        told = events.get("loaded", {}).get("configuration", {})
        return replace(
            _measured(entry),
            engine=_engine(events),
            configuration=configuration_of_worker(told, where=entry.name),
            first_start_ns=first_start_ns,
            answers=answers,
        )

    def measure_round(self) -> None:
        """Time every contender in the race once, in turning order."""
        leaving: set[str] = set()
        batches: tuple[int | None, ...] = self._plan.scenario.batches or (None,)
        for place, batch in enumerate(batches):
            for order, index in enumerate(turning_order(len(self._timed), self._next + place)):
                entry = self._timed[index]
                if entry.name not in leaving and not self._measure_block(entry, order, batch):
                    leaving.add(entry.name)
                self._save()
        self._rounds, self._next = self._rounds + 1, self._next + 1
        self._timed = [entry for entry in self._timed if entry.name not in leaving]

    def _measure_block(self, entry: Entry, order: int, batch: int | None) -> bool:
        """Time one contender in the present round; return whether it stays in the race."""
        told = self._events_of_block(entry, order, batch)
        if told is None:
            return False
        all_answers = [answers_of_worker(_without_event(events, "answers"), where=entry.name) for events in told]
        answers = next((one for one in all_answers if one.agree is False), all_answers[0])
        if answers.agree is False:
            # right once and wrong later is wrong: such a contender leaves the race, and its samples judge nobody
            self._contenders = [
                replace(one, answers=answers) if one.name == entry.name else one for one in self._contenders
            ]
            return False
        for worker, events in enumerate(told):
            if self._earlier is not None:
                takeup.refuse_other_engine(self._earlier, entry.name, _engine(events))
            described = {
                **_without_event(events, "timing"),
                "phases_ns": events.get("loaded", {}).get("phases_ns"),
                "contender": entry.name,
                "round": self._next,
                "order": order,
                "cut": None,
                "steady": None,
                "valid": True,
                "reasons": [],
                "batch": batch,
                "worker": None if self._plan.scenario.workers is None else worker,
            }
            launch = launch_of_worker(described, where=entry.name)
            # a server's block is three runs of random arrivals after a search: no beginning of it is a warm-up
            found = warmup.judge(() if launch.rate_per_s is not None else launch.block_ns)
            self._launches.append(replace(launch, cut=found.cut, steady=found.steady))
        return True

    def _events_of_block(self, entry: Entry, order: int, batch: int | None) -> list[dict[str, dict[str, Any]]] | None:
        """Return what the worker, or each of those at once, told; None when one was lost as often as it was started."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                if self._plan.scenario.workers is not None:
                    return self._launch_at_once(entry, self._plan.scenario.workers)
                return [self._launch(entry, "time", {"batch": batch}, round_index=self._next)]
            except (BoardError, UnsupportedSystem) as error:
                self._launches.append(_lost(entry.name, self._next, order, error))
                if attempt == ATTEMPTS:
                    if not any(launch.valid for launch in self._launches):
                        raise
                    self._troubles.append(f"{entry.name} left the race in round {self._next + 1}: {error}")
        return None

    def reason_to_stop(self) -> str | None:
        """Return why no further round is begun, or None."""
        plan = self._plan
        if not self._timed:
            wrong = all(one.answers.agree is False for one in self._contenders if one.failure is None)
            return "invalid" if wrong else "failed"
        if self._first_rounds is None or self._rounds >= self._first_rounds + MIN_ROUNDS:
            if plan.rounds is not None and self._rounds >= plan.rounds:
                return "rounds"
            if plan.rounds is None and self._rounds >= MIN_ROUNDS and self._precise():
                return "precision"
            if plan.rounds is None and self._rounds >= self._most_rounds():
                return "max_rounds"
        return "budget" if self._spent() else None

    def _begins_to_confirm(self, reason: str) -> bool:
        """Begin a second batch of rounds where the first is over and in doubt."""
        if reason not in BATCH_ENDS or self._first_rounds is not None or self._spent():
            return False
        # a given number of rounds is what was asked for, until the run is taken up again
        may = self._plan.rounds is None or self._earlier is not None
        if not self._plan.confirm and not (may and self._doubtful(self.record("unfinished"))):
            return False
        self._first_rounds, self._confirming_from = self._rounds, self._next
        return True

    def _spent(self) -> bool:
        """Return whether another round would pass the budget; the first of a sitting is always begun."""
        return bool(self._round_s) and time.monotonic() - self._begin + max(self._round_s) > self._plan.budget_s

    def _most_rounds(self) -> int:
        if self._first_rounds is not None:
            return self._first_rounds + MIN_ROUNDS
        return MAX_ROUNDS if self._plan.rounds is None else self._plan.rounds

    def record(self, stop_reason: str) -> Record:
        """Return what was measured until now as a record."""
        warnings = [
            f"{contender.name} answers wrongly and is not ranked: {contender.answers.problem}"
            for contender in self._contenders
            if contender.answers.agree is False
        ]
        warnings += [
            f"{contender.name} was {contender.failure.kind}: {contender.failure.reason}"
            for contender in self._contenders
            if contender.failure is not None
        ]
        if self._timed and self._rounds < MIN_ROUNDS:
            warnings.append(f"{self._rounds} rounds are few: intervals need {MIN_ROUNDS} to be trusted")
        timed = [launch for launch in self._launches if launch.valid]
        restless = sum(launch.steady is False for launch in timed)
        if restless:
            warnings.append(
                f"{restless} of {len(timed)} blocks were not steady: their level changed late or drifted, "
                "so their median is of several levels"
            )
        lost = [launch for launch in self._launches if not launch.valid]
        if lost:
            names = ", ".join(sorted({launch.contender for launch in lost}))
            warnings.append(f"{len(lost)} of {len(self._launches)} launches were lost ({names}): {lost[0].reasons[0]}")
        warnings += self._troubles
        warnings += map(str, fitness.of_limits(limits(Tree(self._root)), self._plan.threads))
        warnings += fitness.of_launches([(launch.before, launch.after) for launch in timed])
        warnings += fitness.of_probes([(launch.probe_before_ns, launch.probe_after_ns) for launch in timed])
        return Record(
            created=self._created,
            command=tuple(sys.argv),
            seed=None,
            machine=machine(),
            board=self._board,
            sittings=1 if self._earlier is None else self._earlier.sittings + 1,
            config=self._config(),
            contenders=tuple(self._contenders),
            launches=tuple(self._launches),
            memory=tuple(self._memory),
            energy=tuple(self._further.energy),
            fits=tuple(self._further.fits),
            confirming_from=self._confirming_from,
            starts=tuple(self._further.starts),
            operators=tuple(self._further.operators),
            peaks=self._further.peaks,
            sustained=tuple(self._further.sustained),
            stop_reason=stop_reason,
            warnings=tuple(warnings),
        )

    def _save(self) -> None:
        try:
            self._keep(self.record("unfinished"))
        except Unwritable as error:  # a full disk must not cost what is measured; the last save will tell it again
            trouble = f"the record could not be saved during the run: {error}"
            if trouble not in self._troubles:
                self._troubles.append(trouble)

    def _config(self) -> Config:
        return Config(
            threads=self._plan.threads,
            cpus=self._cpus,
            scenario=self._plan.scenario.name,
            shapes=self._launcher.shapes(self._entries[0]),
            precision=self._plan.precision,
            margin=self._plan.margin,
            noise_floor=self._plan.noise_floor,
            rate_per_s=self._plan.scenario.rate_per_s,
            target_ns=self._plan.scenario.target_ns,
            workers=self._plan.scenario.workers,
        )

    def _launch_at_once(self, entry: Entry, count: int) -> list[dict[str, dict[str, Any]]]:
        """Launch so many workers of one contender, whose blocks begin together; return what each told."""
        threads = self._plan.threads
        with tempfile.TemporaryDirectory(prefix="edge-start-") as folder, ThreadPoolExecutor(count) as pool:
            barrier = {"folder": folder, "count": count, "timeout_s": LAUNCH_TIMEOUT_S / 2}
            shares = [self._cpus[index * threads :][:threads] for index in range(count)]
            # with fewer CPUs than that, all share all: what happens then is what is asked
            cpus = shares if all(len(share) == threads for share in shares) else [self._cpus] * count
            waiting = [
                pool.submit(
                    self._launch, entry, "time", {"barrier": barrier, "cpus": list(own)}, round_index=self._next
                )
                for own in cpus
            ]
            return [one.result() for one in waiting]

    def _launch(
        self,
        entry: Entry,
        kind: str,
        more: Mapping[str, Any] = NOTHING,
        *,
        round_index: int | None = None,
        told: str = "",
        timeout_s: float = LAUNCH_TIMEOUT_S,
        heard: Heard = lambda _: None,
    ) -> dict[str, dict[str, Any]]:
        plan = self._plan
        self._progress(
            Progress(
                kind=told or kind,
                contender=entry.name,
                round=round_index,
                rounds=self._most_rounds(),
                elapsed_s=time.monotonic() - self._begin,
                budget_s=plan.budget_s,
                launches=sum(launch.valid for launch in self._launches),
                estimate=self._p50(entry.name),
                left_s=self._left_s(),
            )
        )
        return self._launcher.launch(entry, kind, {"seed": self._next, **more}, timeout_s=timeout_s, heard=heard)

    def _precise(self) -> bool:
        return all(stats.half_share(self._p50(entry.name)) <= self._plan.precision for entry in self._timed)

    def _p50(self, name: str) -> Interval | None:
        figures = round_figures([one for one in self._launches if one.valid and one.contender == name])
        return stats.launch_interval(list(figures.values())) if figures else None

    def _left_s(self) -> float | None:
        """Return how long the run will go on: what the precision, or the count, still needs, within the budget."""
        if not self._round_s:
            return None
        wanted = self._most_rounds()
        if self._plan.rounds is None and self._first_rounds is None:
            # an interval narrows with the root of the rounds
            worst = max((stats.half_share(self._p50(entry.name)) for entry in self._timed), default=0.0)
            needed = MAX_ROUNDS if worst == math.inf else math.ceil(self._rounds * (worst / self._plan.precision) ** 2)
            wanted = min(max(needed, MIN_ROUNDS), MAX_ROUNDS)
        rounds_s = max(0, wanted - self._rounds) * sum(self._round_s) / len(self._round_s)
        return max(0.0, min(rounds_s, self._plan.budget_s - (time.monotonic() - self._begin)))


def _measured(entry: Entry) -> MeasuredContender:
    variant = entry.artifact.variant(entry.variant)
    artifact = MeasuredArtifact(
        name=entry.artifact.manifest.name,
        sha256=variant.files[0].sha256,
        variant=variant.name,
        bytes=entry.artifact.size_bytes(variant),
    )
    return MeasuredContender(name=entry.name, engine="", artifact=artifact, answers=unasked())


def _engine(events: Mapping[str, dict[str, Any]]) -> str:
    return str(events.get("loaded", {}).get("engine", "unknown"))[:200]


def _lost(name: str, round_index: int, order: int, error: EdgeError) -> Launch:
    """Return what is kept of a launch whose worker was lost: that it was, and why."""
    return Launch(
        contender=name,
        round=round_index,
        order=order,
        phases_ns={},
        warmup_ns=(),
        block_ns=(),
        calls_per_sample=1,
        cut=None,
        steady=None,
        before=Conditions(),
        after=Conditions(),
        valid=False,
        reasons=(visible(str(error))[:2000],),
    )


def _without_event(events: Mapping[str, dict[str, Any]], name: str) -> dict[str, Any]:
    return {key: value for key, value in events.get(name, {}).items() if key != "event"}
