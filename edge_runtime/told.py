"""What workers told of their launches, as parts of a record: a contender described, a block judged, a loss."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from edge_runtime import decode, warmup
from edge_runtime.environment import Conditions
from edge_runtime.errors import EdgeError, WorkerLost
from edge_runtime.measured import (
    Answers,
    MeasuredArtifact,
    MeasuredContender,
    answers_of_worker,
    configuration_of_worker,
    phases_of_worker,
    unasked,
)
from edge_runtime.plan import Entry
from edge_runtime.samples import (
    EnergyLaunch,
    Launch,
    MemoryLaunch,
    energy_of_worker,
    launch_of_worker,
    memory_of_worker,
)
from edge_runtime.units import visible

Events = Mapping[str, Mapping[str, Any]]  # by name, each as the worker sent it
# what a worker can't know of its launch
UNJUDGED: Mapping[str, Any] = {"cut": None, "steady": None, "valid": True, "reasons": []}


def unmeasured(entry: Entry) -> MeasuredContender:
    """Return an entry before any worker of it has told anything."""
    variant = entry.artifact.variant(entry.variant)
    artifact = MeasuredArtifact(
        name=entry.artifact.manifest.name,
        sha256=variant.files[0].sha256,
        variant=variant.name,
        bytes=entry.artifact.size_bytes(variant),
    )
    return MeasuredContender(name=entry.name, engine="", artifact=artifact, answers=unasked())


def contender(entry: Entry, events: Events, first_start_ns: Mapping[str, int] | None) -> MeasuredContender:
    """Return an entry as its first worker told it: engine, configuration, and how it answers."""
    settings = events.get("loaded", {}).get("configuration", {})
    return replace(
        unmeasured(entry),
        engine=engine(events),
        configuration=configuration_of_worker(settings, where=entry.name),
        first_start_ns=first_start_ns,
        answers=answers(events, entry.name),
    )


def engine(events: Events) -> str:
    """Return the engine's name and version."""
    return str(events.get("loaded", {}).get("engine", "unknown"))[:200]


def answers(events: Events, name: str) -> Answers:
    """Return how the contender of this name answered the golden cases."""
    return answers_of_worker(_content(events, "answers"), where=name)


def inputs(events: Events, name: str) -> int:
    """Return how many different inputs took turns in the block."""
    told = {"inputs": events.get("loaded", {}).get("inputs", 1)}
    return decode.Fields(told, name, "loaded", WorkerLost).integer("inputs", low=1)


def phases(events: Events, name: str) -> dict[str, int]:
    """Return the phases of the start, in nanoseconds."""
    return phases_of_worker(events.get("loaded", {}).get("phases_ns", {}), where=name)


def memory(events: Events, name: str) -> MemoryLaunch:
    """Return the memory by phases."""
    return memory_of_worker({**_content(events, "memory"), "contender": name}, where=name)


def energy(events: Events, name: str) -> EnergyLaunch:
    """Return the energy of a rest and of a block of calls."""
    return energy_of_worker({**_content(events, "energy"), "contender": name}, where=name)


def block(
    events: Events, name: str, *, round_index: int, order: int, batch: int | None = None, worker: int | None = None
) -> Launch:
    """Return a timed block with its place in the run, the warm-up in it marked."""
    place = {"contender": name, "round": round_index, "order": order, "batch": batch, "worker": worker}
    phases_ns = events.get("loaded", {}).get("phases_ns")
    launch = launch_of_worker({**_content(events, "timing"), "phases_ns": phases_ns, **place, **UNJUDGED}, where=name)
    # a server's block is three runs of random arrivals after a search: no beginning of it is a warm-up
    found = warmup.judge(() if launch.rate_per_s is not None else launch.block_ns)
    return replace(launch, cut=found.cut, steady=found.steady)


def loss(name: str, error: EdgeError, *, round_index: int, order: int, batch: int | None = None) -> Launch:
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
        batch=batch,
    )


def _content(events: Events, name: str) -> dict[str, Any]:
    return {key: value for key, value in events.get(name, {}).items() if key != "event"}
