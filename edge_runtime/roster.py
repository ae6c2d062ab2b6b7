"""Who takes part in a measurement: each started outside of the rounds, its memory measured, its answers judged.

Who can't run here is skipped, who answers wrongly is never timed, and who is wrong later leaves.
"""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from edge_runtime import takeup, told
from edge_runtime.errors import BoardError, Unsupported
from edge_runtime.launch import LOSSES
from edge_runtime.measured import MeasuredContender, failure_of
from edge_runtime.plan import MEMORY_LAUNCHES, MEMORY_SHARE, Entry
from edge_runtime.record import Record

if TYPE_CHECKING:
    from edge_runtime.samples import MemoryLaunch

Launch = Callable[[Entry, str], told.Events]  # starts a worker of an entry for a kind of job


class Roster:
    """The contenders as they are known so far, those that are still timed, and their memory."""

    def __init__(
        self, entries: Sequence[Entry], launch: Launch, *, save: Callable[[], None], trouble: Callable[[str], None]
    ) -> None:
        self._entries, self._launch, self._save, self._trouble = entries, launch, save, trouble
        self._earlier: Record | None = None
        self.contenders: list[MeasuredContender] = []
        self.timed: list[Entry] = []
        self.memory: list[MemoryLaunch] = []

    def take_up(self, earlier: Record) -> None:
        """Begin with what an earlier record knows of the same entries."""
        self._earlier, self.memory = earlier, list(earlier.memory)

    def introduce(self) -> None:
        """Start every contender, measure its memory once, and settle who answers right and is timed."""
        for entry in self._entries:
            known = None if self._earlier is None else takeup.contender_of(self._earlier, entry.name)
            if known is not None and not known.ranked:
                self.contenders.append(known)
                continue
            try:
                found = self._introduced(entry, known)
            except (BoardError, Unsupported) as error:
                if entry is self._entries[0] or known is not None:
                    raise
                found = replace(told.unmeasured(entry), failure=failure_of(error))
            self.contenders.append(found)
            if found.ranked:
                self.timed.append(entry)
            self._save()

    def measure_memory(self, budget_s: float) -> None:
        """Measure memory again, in turns, as often as its spread needs and a share of the budget allows."""
        begin, longest_s = time.monotonic(), 0.0
        for count in range(2, MEMORY_LAUNCHES + 1):
            for entry in tuple(self.timed):
                if sum(one.contender == entry.name for one in self.memory) >= count:
                    continue
                started = time.monotonic()
                if started - begin + longest_s > MEMORY_SHARE * budget_s:
                    return
                try:
                    events = self._launch(entry, "memory")
                except LOSSES as error:  # one reading is there, and the race goes on
                    self._trouble(f"no further memory of {entry.name}: {error}")
                    continue
                if self.is_right(entry, [events]):
                    self.memory.append(told.memory(events, entry.name))
                else:
                    self.leave({entry.name})
                longest_s = max(longest_s, time.monotonic() - started)
                self._save()

    def is_right(self, entry: Entry, events_of_all: Sequence[told.Events]) -> bool:
        """Return whether all workers of a contender answered right; one that didn't is wrong in the record."""
        wrong = [one for events in events_of_all if (one := told.answers(events, entry.name)).agree is False]
        if wrong:
            # right once and wrong later is wrong: its samples judge nobody
            self.contenders = [
                replace(one, answers=wrong[0]) if one.name == entry.name else one for one in self.contenders
            ]
        return not wrong

    def leave(self, names: Collection[str]) -> None:
        """Time these no more."""
        self.timed = [entry for entry in self.timed if entry.name not in names]

    def _introduced(self, entry: Entry, known: MeasuredContender | None) -> MeasuredContender:
        """Start an entry: what it is, what its first start took, how it answers, its memory."""
        first_start_ns = None
        if entry.warm:
            # what is measured is a start as all but the first after an update are: from what that one has kept
            first_start_ns = told.phases(self._launch(entry, "warm"), entry.name)
        if known is not None:
            return known
        events = self._launch(entry, "memory")
        found = told.contender(entry, events, first_start_ns)
        if found.ranked:
            self.memory.append(told.memory(events, entry.name))
        return found
