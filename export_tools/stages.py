"""The one way to tell how far an export is: a stage begins, steps through its cases, and is done, with its effect."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from export_tools.graph_file import GraphSize


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of an export: told when it begins, at each case of those that run cases, and when it is done.

    seconds: None until it is done.   before, after: the graph, of stages that make or change one.   step: the cases
    done, and how many there are.
    """

    name: str
    detail: str
    seconds: float | None = None
    before: GraphSize | None = None
    after: GraphSize | None = None
    step: tuple[int, int] | None = None


Progress = Callable[[Stage], None]


class Telling:
    """One stage while it runs: what its last line will say."""

    def __init__(self, progress: Progress, name: str, detail: str) -> None:
        self._progress, self._stage = progress, Stage(name, detail)
        self._seconds: float | None = None

    def says(self, detail: str) -> None:
        """Let the last line say this."""
        self._stage = replace(self._stage, detail=detail)

    def did(self, before: GraphSize | None, after: GraphSize) -> None:
        """Let the last line say what became of the graph."""
        self._stage = replace(self._stage, before=before, after=after)

    def took(self, seconds: float) -> None:
        """Let the last line tell another process's time, which is not how long we waited for it."""
        self._seconds = seconds

    def step(self, done: int, of: int) -> None:
        """Tell that one more case is done."""
        self._progress(replace(self._stage, step=(done, of)))

    def end(self, seconds: float) -> None:
        """Tell the last line."""
        self._progress(replace(self._stage, seconds=seconds if self._seconds is None else self._seconds))


@contextmanager
def stage(progress: Progress, name: str, detail: str) -> Iterator[Telling]:
    """Tell that a stage begins and, unless it fails, that it is done."""
    begin, telling = time.monotonic(), Telling(progress, name, detail)
    progress(Stage(name, detail))
    yield telling
    telling.end(time.monotonic() - begin)
