"""A round in which contenders take turns piece by piece, so that what disturbs one disturbs all alike.

A neighbour on the same core, or a clock that moves, comes and goes within a second or two: as long as a block takes.
On such a machine one block after the other compares one second's luck with the next one's. So each contender is started
in a fresh process of its own, loads, warms up, and is stopped (SIGSTOP, its threads too); then each goes on for some
hundredths of a second at a time, in turning order. One runs at any time.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack

from edge_runtime.environment import meminfo_bytes
from edge_runtime.errors import EdgeError, WorkerLost
from edge_runtime.launch import LOSSES, Worker
from edge_runtime.plan import ATTEMPTS, Entry, turning_order
from edge_runtime.samples import MemoryLaunch
from edge_runtime.told import Events
from edge_runtime.tree import Tree
from edge_runtime.units import size

MEMORY_SHARE = 0.8  # of what is available: what all contenders together may take at most


def in_lockstep(
    entries: Sequence[Entry],
    start: Callable[[Entry], Worker],
    slices: int,
    *,
    on_loss: Callable[[Entry, EdgeError], object],
) -> tuple[dict[str, Events], dict[str, EdgeError]]:
    """Let every entry take one block in so many pieces, in turns; return what each told, and who was lost for good.

    start: starts the worker of an entry, which says "ready" when it is warm, and "slice" after each piece.
    on_loss: is told of each. When one is lost all begin anew, once: a block taken without it is a pair of none.
    What a worker raises that is no loss of it (`launch.LOSSES`) goes through, and ends the others.
    """
    for _ in range(ATTEMPTS):
        told, lost = _attempt(entries, start, slices)
        for entry in entries:
            if entry.name in lost:
                on_loss(entry, lost[entry.name])
        if not lost:
            break
    return told, lost


def too_large(names: Sequence[str], memory: Sequence[MemoryLaunch], tree: Tree) -> str:
    """Return why these contenders can't be alive at once, "" when they can as far as is known."""
    peaks = {
        one.contender: max(point.peak for point in one.points.values() if point.peak is not None)
        for one in memory
        if one.contender in names and any(point.peak is not None for point in one.points.values())
    }
    available = meminfo_bytes(tree, "MemAvailable")
    if available is None or sum(peaks.values()) <= MEMORY_SHARE * available:
        return ""
    needed, there = size(sum(peaks.values())), size(available)
    return f"blocks were taken one after the other: together the contenders need {needed} of the {there} available"


def _attempt(
    entries: Sequence[Entry], start: Callable[[Entry], Worker], slices: int
) -> tuple[dict[str, Events], dict[str, EdgeError]]:
    told: dict[str, Events] = {}
    lost: dict[str, EdgeError] = {}
    workers: dict[str, Worker] = {}
    with ExitStack() as alive:
        for entry in entries:
            try:
                worker = alive.enter_context(start(entry))
                if worker.wait_for("ready"):
                    worker.pause()
                    workers[entry.name] = worker
                else:  # it answers wrongly, has said so, and has left
                    told[entry.name] = worker.finish()
            except LOSSES as error:
                lost[entry.name] = error
        names = list(workers)
        for index in range(slices):
            for name in (names[place] for place in turning_order(len(names), index)):
                if name in workers:
                    _go_on(name, workers, lost)
        for name, worker in workers.items():
            worker.resume()
            try:
                worker.ask("timing")
                told[name] = worker.finish()
            except LOSSES as error:
                lost[name] = error
    return told, lost


def _go_on(name: str, workers: dict[str, Worker], lost: dict[str, EdgeError]) -> None:
    """Let one worker take its next piece; one that is lost leaves the others their turns."""
    worker = workers[name]
    worker.resume()
    try:
        if not worker.ask("slice"):
            raise WorkerLost("it left before its last piece", f"worker of {name}", "see what it says on stderr")
        worker.pause()
    except LOSSES as error:
        lost[name] = error
        del workers[name]
