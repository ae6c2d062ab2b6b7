"""Starts in turn, with workers and a page cache that answer as they are told."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from edge_runtime import page_cache
from edge_runtime.artifact import open_artifact
from edge_runtime.errors import WorkerLost
from edge_runtime.launch import Command
from edge_runtime.page_cache import Residency
from edge_runtime.plan import Entry
from edge_runtime.start_ladder import StartLadder
from edge_runtime.starts import EVICTED, WARM, Start

PHASES = {"spawn": 1, "import": 2, "load": 3, "first": 4}
EMPTY = Residency(total_bytes=100, resident_bytes=10, largest="/lib/libc.so")

Script = Callable[[str, str], Mapping[str, Mapping[str, Any]]]


@pytest.fixture
def entries(tiny_edge: Path) -> list[Entry]:
    artifact = open_artifact(tiny_edge)
    return [Entry(name=name, contender="none", command=Command((), {}), artifact=artifact) for name in ("a", "b")]


class Told:
    """A log of what was done, by workers and to the page cache; each contender reads one file of its own name."""

    def __init__(self, tmp_path: Path, *, left: Residency = EMPTY, lost: str = "") -> None:
        self.log: list[str] = []
        self.starts: list[Start] = []
        self.saved: list[int] = []
        self.troubles: list[str] = []
        self._folder, self._left, self._lost = tmp_path, left, lost

    def ladder(self) -> StartLadder:
        return StartLadder(
            self.launch,
            self.starts,
            save=lambda: self.saved.append(len(self.starts)),
            trouble=self.troubles.append,
            evict=self.evict,
        )

    def launch(self, entry: Entry, kind: str) -> Mapping[str, Mapping[str, Any]]:
        self.log.append(f"{kind} {entry.name}")
        if kind == "files":
            (self._folder / entry.name).write_bytes(b"x")
            return {"files": {"event": "files", "paths": [str(self._folder / entry.name)]}}
        if self._lost and self.log.count(f"start {entry.name}") > 1 and entry.name == self._lost:
            raise WorkerLost("the worker was ended by SIGSEGV", "worker", "look")
        return {"loaded": {"event": "loaded", "phases_ns": PHASES}}

    def evict(self, paths: Sequence[str]) -> Residency:
        self.log.append(f"evict {Path(paths[0]).name}")
        return self._left


def test_each_is_started_evicted_and_then_warm_in_turning_order(entries: list[Entry], tmp_path: Path) -> None:
    told = Told(tmp_path)
    told.ladder().climb(entries, 2)
    assert told.log == [
        "files a", "evict a", "start a", "start a", "files b", "evict b", "start b", "start b",
        "evict b", "start b", "start b", "evict a", "start a", "start a",
    ]  # fmt: skip
    assert [(one.contender, one.cache) for one in told.starts] == [
        (name, cache) for name in "abba" for cache in (EVICTED, WARM)
    ]
    assert told.saved == [1, 2, 3, 4, 5, 6, 7, 8]
    assert told.troubles == []
    evicted, warm = told.starts[:2]
    assert evicted == Start(contender="a", cache=EVICTED, resident_share=0.1, phases_ns=PHASES)
    assert warm.resident_share == 1.0  # its one file was written a moment ago


@pytest.mark.parametrize(
    ("left", "why"),
    [
        (Residency(total_bytes=100, resident_bytes=51, largest="/"), "51% of 100 B stayed in memory, most of it /"),
        (Residency(total_bytes=100, resident_bytes=None), "doesn't tell what is in the page cache"),
    ],
)
def test_where_files_stay_no_start_is_called_evicted_and_the_reason_is_told_once(
    left: Residency, why: str, entries: list[Entry], tmp_path: Path
) -> None:
    told = Told(tmp_path, left=left)
    told.ladder().climb(entries[:1], 3)
    assert [one.cache for one in told.starts] == [WARM] * 3
    (trouble,) = told.troubles
    assert trouble.startswith("a was not started evicted: not possible here")
    assert why in trouble
    assert told.log.count("evict a") == 1


def test_what_this_user_may_not_know_is_told_as_that(
    entries: list[Entry], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_cache, "is_told_of", lambda _: False)
    told = Told(tmp_path, left=Residency(total_bytes=100, resident_bytes=90, largest="/lib/libc.so"))
    told.ladder().climb(entries[:1], 1)
    (trouble,) = told.troubles
    assert "90% of 100 B is in files that this user neither owns nor may write, such as /lib/libc.so" in trouble


def test_half_of_the_files_may_stay(entries: list[Entry], tmp_path: Path) -> None:
    told = Told(tmp_path, left=Residency(total_bytes=100, resident_bytes=50, largest="/"))
    told.ladder().climb(entries[:1], 1)
    assert [(one.cache, one.resident_share) for one in told.starts] == [(EVICTED, 0.5), (WARM, 1.0)]


def test_one_that_is_lost_leaves_and_the_others_go_on(entries: list[Entry], tmp_path: Path) -> None:
    told = Told(tmp_path, lost="a")
    told.ladder().climb(entries, 2)
    assert [(one.contender, one.cache) for one in told.starts] == [
        ("a", EVICTED), ("b", EVICTED), ("b", WARM), ("b", EVICTED), ("b", WARM),
    ]  # fmt: skip
    (trouble,) = told.troubles
    assert trouble.startswith("no more starts of a: ")
    assert "SIGSEGV" in trouble


def test_what_an_earlier_sitting_started_counts(entries: list[Entry], tmp_path: Path) -> None:
    first, second = Told(tmp_path), Told(tmp_path)
    first.ladder().climb(entries, 1)
    first.starts.pop()  # broken off before the last one
    second.starts += first.starts
    second.ladder().climb(entries, 1)
    assert second.log == ["files b", "start b"]
    assert second.starts[:3] == first.starts
    assert [(one.contender, one.cache) for one in second.starts[3:]] == [("b", WARM)]


@pytest.mark.parametrize(
    "events",
    [
        {},
        {"files": {"event": "files", "paths": [7]}, "loaded": {"phases_ns": PHASES}},
        {"files": {"event": "files", "paths": [], "more": 1}, "loaded": {"phases_ns": PHASES}},
        {"files": {"event": "files", "paths": []}, "loaded": {"phases_ns": {**PHASES, "first": -1}}},
        {"files": {"event": "files", "paths": []}, "loaded": {}},
    ],
)
def test_what_no_worker_says_makes_no_start(events: Mapping[str, Any], entries: list[Entry]) -> None:
    starts: list[Start] = []
    troubles: list[str] = []
    ladder = StartLadder(
        lambda _entry, _kind: events, starts, save=lambda: None, trouble=troubles.append, evict=lambda _: EMPTY
    )
    ladder.climb(entries[:1], 1)
    assert starts == []
    assert len(troubles) == 1
