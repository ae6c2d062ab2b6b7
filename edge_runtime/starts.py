"""Starts of a process up to its first answer, in two states of the page cache, as a record keeps them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge_runtime import decode
from edge_runtime.errors import WorkerLost
from edge_runtime.measured import phases, phases_of_worker

WARM, EVICTED = CACHES = ("warm", "evicted")
MAX_FILES = 100_000  # torch reads four thousand


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """One fresh process that loaded the model and answered once; phases in nanoseconds (`measured.PHASES`).

    cache: whether the files it reads were in the page cache, as the start before left them, or were evicted.
    resident_share: of those files' bytes, what the cache still held right before the start; None where it wasn't asked.
    """

    contender: str
    cache: str
    resident_share: float | None
    phases_ns: Mapping[str, int]


def start_of_worker(
    contender: str, cache: str, resident_share: float | None, events: Mapping[str, Mapping[str, Any]]
) -> Start:
    """Return a start as its worker told it; raises WorkerLost when its phases are not what a worker says."""
    told = events.get("loaded", {}).get("phases_ns", {})
    return Start(
        contender=contender,
        cache=cache,
        resident_share=resident_share,
        phases_ns=phases_of_worker(told, where=contender),
    )


def files_of_worker(events: Mapping[str, Mapping[str, Any]], *, where: str) -> tuple[str, ...]:
    """Return the files that a start reads, as a worker told them; raises WorkerLost when it did not."""
    told = {key: value for key, value in events.get("files", {}).items() if key != "event"}
    fields = decode.Fields(told, where, "files", WorkerLost)
    paths = fields.strings("paths", limit=MAX_FILES)
    fields.finish()
    return paths


def document(start: Start) -> dict[str, Any]:
    """Return the JSON document of a start, as it is stored."""
    return {
        "contender": start.contender,
        "cache": start.cache,
        "resident_share": start.resident_share,
        "phases_ns": dict(start.phases_ns),
    }


def read(fields: decode.Fields) -> Start:
    """Read a start of a record."""
    start = Start(
        contender=fields.string("contender", limit=200),
        cache=fields.string("cache", choices=CACHES),
        resident_share=fields.optional("resident_share", lambda key: fields.number(key, low=0, high=1)),
        phases_ns=phases(fields.child("phases_ns")),
    )
    fields.finish()
    return start
