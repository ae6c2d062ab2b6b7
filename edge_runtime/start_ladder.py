"""Starts under way: every contender in turn, first with its files evicted from the page cache, then with them warm.

A warm start follows an evicted one of the same contender, which has just read all it needs: what the others' evictions
took away is back. Each leaves when a start of it is lost; where the page cache can't be emptied that is told, and only
warm starts are taken.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edge_runtime import page_cache, units
from edge_runtime.errors import EdgeError
from edge_runtime.page_cache import Residency
from edge_runtime.plan import Entry, turning_order
from edge_runtime.starts import EVICTED, WARM, Start, files_of_worker, start_of_worker

MOST_LEFT = 0.5  # of the bytes: with more of them in the cache, a start says more of the cache than of the drive

Launch = Callable[[Entry, str], Mapping[str, Mapping[str, Any]]]  # an entry and a kind of job; the worker's events


class StartLadder:
    """Adds starts to a list; those that are there already, of an earlier sitting, count.

    save: called after each start.   trouble: told in a sentence what kept others from being taken.
    """

    def __init__(
        self,
        launch: Launch,
        starts: list[Start],
        *,
        save: Callable[[], None],
        trouble: Callable[[str], None],
        evict: Callable[[Sequence[str]], Residency] = page_cache.evict,
    ) -> None:
        self._launch, self._starts, self._evict = launch, starts, evict
        self._save, self._trouble = save, trouble
        self._files: dict[str, tuple[str, ...]] = {}
        self._out: set[str] = set()  # contenders that were lost
        self._warm_only: set[str] = set()

    def climb(self, entries: Sequence[Entry], count: int) -> None:
        """Start every contender until each has `count` starts in each state."""
        for index in range(count):
            for place in turning_order(len(entries), index):
                entry = entries[place]
                for cache in (EVICTED, WARM):
                    taken = sum((one.contender, one.cache) == (entry.name, cache) for one in self._starts)
                    if taken <= index and entry.name not in self._out:
                        self._start(entry, cache)

    def _start(self, entry: Entry, cache: str) -> None:
        try:
            if entry.name not in self._files:
                self._files[entry.name] = files_of_worker(self._launch(entry, "files"), where=entry.name)
            if cache == WARM:
                share = page_cache.residency(self._files[entry.name]).share
            elif entry.name in self._warm_only:
                return
            else:
                left = self._evict(self._files[entry.name])
                share = left.share
                if share is None or share > MOST_LEFT:
                    self._warm_only.add(entry.name)
                    self._trouble(f"{entry.name} was not started evicted: {_why(left)}")
                    return
            self._starts.append(start_of_worker(entry.name, cache, share, self._launch(entry, "start")))
            self._save()
        except EdgeError as error:  # the latencies are there already, and worth keeping without starts
            self._out.add(entry.name)
            self._trouble(f"no more starts of {entry.name}: {error}")


def _why(left: Residency) -> str:
    """Return why files count as not evicted."""
    if left.share is None:
        return "not possible here, this kernel doesn't tell what is in the page cache"
    amount = f"{left.share:.0%} of {units.size(left.total_bytes)}"
    if not page_cache.is_told_of(left.largest):
        return (
            f"it can't be told here, for {amount} is in files that this user neither owns nor may write, such as "
            f"{left.largest}, of which the kernel says that they are in memory"
        )
    where = f"{left.largest} ({page_cache.filesystem(left.largest) or 'file system unknown'})"
    return f"not possible here, {amount} stayed in memory, most of it {where}"
