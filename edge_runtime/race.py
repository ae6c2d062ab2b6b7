"""A measurement under way: memory first, then rounds of blocks, then energy; each launch kept as soon as it is there.

One process runs at a time; in rounds of several contenders the others are stopped (`lockstep`). A worker that is lost
is told in the record, and costs a round of one contender at most twice before that contender leaves the race.
"""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_runtime import confirmation, lockstep, processors, remarks, takeup, thermal_gate, told, validity
from edge_runtime.environment import available_cpus, machine
from edge_runtime.errors import EdgeError, Unwritable
from edge_runtime.further import Further
from edge_runtime.launch import LOSSES, Heard, Worker
from edge_runtime.launcher import NOTHING, Launcher
from edge_runtime.limits import limits
from edge_runtime.plan import (
    ATTEMPTS,
    LAUNCH_TIMEOUT_S,
    SEED,
    Entry,
    Plan,
    Progress,
    turning_order,
)
from edge_runtime.record import Config, Record
from edge_runtime.roster import Roster
from edge_runtime.stopping import Standing
from edge_runtime.tree import Tree

if TYPE_CHECKING:
    from edge_runtime.samples import Launch

BATCH_ENDS = {"rounds", "precision", "max_rounds"}  # reasons after which nothing is owed but a confirmation


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
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._root, self._doubtful, self._sleep = root, doubtful, sleep
        self._entries, self._plan, self._board = entries, plan, board
        self._progress, self._keep, self._begin = progress, keep, time.monotonic()
        at_once = plan.threads * (plan.scenario.workers or 1)
        self._cpus = processors.choose(Tree(root), available_cpus(), at_once)
        self._launcher = Launcher(plan, cpus=self._cpus, inputs=inputs, root=root)
        self._troubles: list[str] = []
        self._further = Further(
            plan, self._launch, cpus=self._cpus, root=root, save=self._save, trouble=self._troubles.append
        )
        self._roster = Roster(entries, self._launch, save=self._save, trouble=self._troubles.append)
        self._created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self._launches: list[Launch] = []
        self._earlier: Record | None = None
        self._rounds: set[int] = set()  # the whole ones so far
        self._next = 0  # counts broken ones too
        self._inputs = 1  # how many take turns, as the first worker that timed a block told
        self._cooling_s: list[float] = []  # how long each launch was waited with that was
        self._round_s: list[float] = []  # how long each of this sitting took
        self._confirming_from: int | None = None

    @property
    def has_measured(self) -> bool:
        """Whether there is anything that an interrupt should not lose."""
        return any(launch.block_ns for launch in self._launches)

    def take_up(self, earlier: Record) -> None:
        """Go on with an earlier record: its launches are kept, a round that it broke off is not paired with ours."""
        takeup.refuse_unlike(earlier, self._entries, self._config(), machine().key)
        self._earlier, self._created = earlier, earlier.created
        self._launches = list(validity.judged(earlier.launches))
        self._inputs = earlier.config.inputs
        self._roster.take_up(earlier)
        self._further.take_up(earlier)
        self._rounds = set(takeup.whole_rounds(earlier, self._plan.scenario.batches or (None,)))
        self._next, self._confirming_from = takeup.next_round(earlier), earlier.confirming_from

    def go(self) -> str:
        """Measure until there is a reason to stop; return it."""
        self._roster.introduce()
        self._roster.measure_memory(self._plan.budget_s)
        while (reason := self.reason_to_stop()) is None or self._begins_to_confirm(reason):
            begin = time.monotonic()
            self.measure_round()
            self._round_s.append(time.monotonic() - begin)
        p50s = ((entry.name, self._standing().estimate(entry.name)) for entry in self._roster.timed)
        self._further.measure(
            self._roster.timed,
            self._roster.memory,
            p50s_ns={name: p50.estimate for name, p50 in p50s if p50 is not None},
            left_s=self._plan.budget_s - self._elapsed_s(),
        )
        return reason

    def measure_round(self) -> None:
        """Time every contender in the race once, in turning order."""
        leaving: set[str] = set()
        batches: tuple[int | None, ...] = self._plan.scenario.batches or (None,)
        for place, batch in enumerate(batches):
            order = [self._roster.timed[index] for index in turning_order(len(self._roster.timed), self._next + place)]
            entries = [entry for entry in order if entry.name not in leaving]
            leaving |= (
                self._blocks_in_turns(entries, batch) if self._takes_turns(entries) else self._blocks(entries, batch)
            )
        self._rounds, self._next = {*self._rounds, self._next}, self._next + 1
        self._roster.leave(leaving)

    def _takes_turns(self, entries: Sequence[Entry]) -> bool:
        """Return whether the blocks of a round are taken piece by piece, in turns (`lockstep`)."""
        if len(entries) < 2 or self._plan.block.slices < 2 or not self._plan.scenario.closed_loop:  # noqa: PLR2004 - several
            return False
        trouble = lockstep.too_large([entry.name for entry in entries], self._roster.memory, Tree(self._root))
        if trouble and trouble not in self._troubles:
            self._troubles.append(trouble)
        return not trouble

    def _blocks(self, entries: Sequence[Entry], batch: int | None) -> set[str]:
        """Time the entries one after the other; return who leaves the race."""
        leaving = set()
        for order, entry in enumerate(entries):
            self._cool_down(entry)
            events_of_all = self._events_of_block(entry, order, batch)
            if events_of_all is None or not self._kept(entry, events_of_all, order, batch):
                leaving.add(entry.name)
            self._save()
        return leaving

    def _blocks_in_turns(self, entries: Sequence[Entry], batch: int | None) -> set[str]:
        """Time the entries piece by piece, in turns; return who leaves the race."""
        self._cool_down(entries[0])
        job = {"seed": self._next, "batch": batch, "lockstep": True}

        def start(entry: Entry) -> Worker:
            self._tell(entry, "time", self._next)
            return self._launcher.start(entry, "time", job)

        def on_loss(entry: Entry, error: EdgeError) -> None:
            order = entries.index(entry)
            self._launches.append(told.loss(entry.name, error, round_index=self._next, order=order, batch=batch))

        found, lost = lockstep.in_lockstep(entries, start, self._plan.block.slices, on_loss=on_loss)
        if lost and not found and not self.has_measured:
            raise next(iter(lost.values()))
        self._troubles += [self._left(name, error) for name, error in lost.items()]
        wrong = {
            entry.name
            for order, entry in enumerate(entries)
            if entry.name in found and not self._kept(entry, [found[entry.name]], order, batch)
        }
        self._save()
        return wrong | set(lost)

    def _kept(self, entry: Entry, events_of_all: Sequence[told.Events], order: int, batch: int | None) -> bool:
        """Keep what the workers of one contender told of their blocks; return whether they answered right."""
        if not self._roster.is_right(entry, events_of_all):
            return False
        for number, events in enumerate(events_of_all):
            if self._earlier is not None:
                takeup.refuse_other_engine(self._earlier, entry.name, told.engine(events))
                takeup.refuse_other_inputs(self._earlier, told.inputs(events, entry.name))
            self._inputs = told.inputs(events, entry.name)
            worker = None if self._plan.scenario.workers is None else number
            self._launches.append(
                told.block(events, entry.name, round_index=self._next, order=order, batch=batch, worker=worker)
            )
        self._launches = list(validity.judged(self._launches))
        return True

    def _cool_down(self, entry: Entry) -> None:
        """Wait while the machine is warmer than in this sitting's first round, within the budget."""
        sitting = self._launches[len(self._earlier.launches) if self._earlier else 0 :]
        limit = thermal_gate.limit_millicelsius(sitting, self._next)
        if thermal_gate.is_above(limit, Tree(self._root)):
            self._tell(entry, "cool", self._next)
            most_s = min(thermal_gate.MOST_S, max(0.0, self._plan.budget_s - self._elapsed_s()))
            self._cooling_s.append(thermal_gate.wait(limit, Tree(self._root), most_s=most_s, sleep=self._sleep))

    def _events_of_block(self, entry: Entry, order: int, batch: int | None) -> Sequence[told.Events] | None:
        """Return what the worker, or each of those at once, told; None when one was lost as often as it was started."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                if self._plan.scenario.workers is None:
                    return [self._launch(entry, "time", {"batch": batch}, round_index=self._next)]
                self._tell(entry, "time", self._next)
                return self._launcher.launch_at_once(entry, "time", self._plan.scenario.workers, {"seed": self._next})
            except LOSSES as error:
                self._launches.append(told.loss(entry.name, error, round_index=self._next, order=order, batch=batch))
                if attempt == ATTEMPTS:
                    if not self.has_measured:
                        raise
                    self._troubles.append(self._left(entry.name, error))
        return None

    def _left(self, name: str, error: EdgeError) -> str:
        return f"{name} left the race in round {self._next + 1}: {error}"

    def reason_to_stop(self) -> str | None:
        """Return why no further round is begun, or None."""
        if not self._roster.timed:
            wrong = all(one.answers.agree is False for one in self._roster.contenders if one.failure is None)
            return "invalid" if wrong else "failed"
        return self._standing().reason()

    def _begins_to_confirm(self, reason: str) -> bool:
        """Begin a second batch of rounds where the first is over and in doubt."""
        if reason not in BATCH_ENDS or self._confirming_from is not None or self._standing().is_spent:
            return False
        # a given number of rounds is what was asked for, until the run is taken up again
        may = self._plan.rounds is None or self._earlier is not None
        if not self._plan.confirm and not (may and self._doubtful(self.record("unfinished"))):
            return False
        self._confirming_from = self._next
        return True

    def record(self, stop_reason: str) -> Record:
        """Return what was measured until now as a record."""
        warnings = remarks.of_contenders(self._roster.contenders)
        if self._roster.timed:
            warnings += remarks.of_rounds(self._launches, self._standing().kept)
        warnings += [*remarks.of_cooling(self._cooling_s), *self._troubles]
        warnings += remarks.of_machine(limits(Tree(self._root)), self._plan.threads, self._launches)
        return Record(
            created=self._created,
            command=tuple(sys.argv),
            seed=SEED,
            machine=machine(),
            board=self._board,
            sittings=1 if self._earlier is None else self._earlier.sittings + 1,
            config=self._config(),
            contenders=tuple(self._roster.contenders),
            launches=tuple(self._launches),
            memory=tuple(self._roster.memory),
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
            inputs=self._inputs,
            precision=self._plan.precision,
            margin=self._plan.margin,
            noise_floor=self._plan.noise_floor,
            rate_per_s=self._plan.scenario.rate_per_s,
            target_ns=self._plan.scenario.target_ns,
            workers=self._plan.scenario.workers,
        )

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
        self._tell(entry, told or kind, round_index)
        return self._launcher.launch(entry, kind, {"seed": self._next, **more}, timeout_s=timeout_s, heard=heard)

    def _tell(self, entry: Entry, kind: str, round_index: int | None) -> None:
        standing = self._standing()
        self._progress(
            Progress(
                kind=kind,
                contender=entry.name,
                round=round_index,
                rounds=standing.most,
                elapsed_s=standing.elapsed_s,
                budget_s=self._plan.budget_s,
                launches=sum(bool(launch.block_ns) for launch in self._launches),
                estimate=standing.estimate(entry.name),
                left_s=standing.left_s(),
            )
        )

    def _standing(self) -> Standing:
        return Standing(
            plan=self._plan,
            names=[entry.name for entry in self._roster.timed],
            launches=self._launches,
            rounds=self._rounds,
            confirming_from=self._confirming_from,
            elapsed_s=self._elapsed_s(),
            round_s=self._round_s,
        )

    def _elapsed_s(self) -> float:
        return time.monotonic() - self._begin
