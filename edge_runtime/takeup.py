"""An earlier record taken up by a run that goes on with it: whether it fits, and where it ends."""

import math
from collections.abc import Sequence

from edge_runtime.errors import UsageError
from edge_runtime.measured import MeasuredContender
from edge_runtime.plan import ATTEMPTS, Entry
from edge_runtime.record import Config, Record

HINT = "resume with what it was begun with, or begin a record of its own with -o"


def refuse_unlike(earlier: Record, entries: Sequence[Entry], config: Config, machine_key: str) -> None:
    """Raise UsageError naming whatever of this run is not as it was: launches of both would be pooled.

    Precision, margin, rounds and budget may differ: they say when to stop, and how to judge.
    """
    artifacts = {entry.name: entry.artifact.variant(entry.variant).files[0].sha256 for entry in entries}
    pairs: list[tuple[str, object, object]] = [
        ("the machine", earlier.machine.key, machine_key),
        ("threads", earlier.config.threads, config.threads),
        ("CPUs", list(earlier.config.cpus), list(config.cpus)),
        ("scenario", _scenario(earlier.config), _scenario(config)),
        ("shapes", _shapes(earlier.config), _shapes(config)),
    ]
    known = [one.name for one in earlier.contenders]
    strangers = [name for name in known if name not in artifacts]
    if strangers or (earlier.launches and len(known) < len(artifacts)):
        pairs.append(("contenders", known, list(artifacts)))
    pairs += [
        (f"{one.name}'s model", one.artifact.sha256[:12], artifacts[one.name][:12])
        for one in earlier.contenders
        if one.name in artifacts
    ]
    unlike = [f"{what}: {before} then, {now} now" for what, before, now in pairs if before != now]
    if unlike:
        raise UsageError(f"the record is of another run ({'; '.join(unlike)})", "--resume", HINT)


def refuse_other_engine(earlier: Record, name: str, engine: str) -> None:
    """Raise UsageError when a contender's engine is another version than the earlier launches'."""
    known = contender_of(earlier, name)
    if known is not None and known.engine != engine:
        raise UsageError(f"{name} was {known.engine} in the record and is {engine} now", "--resume", HINT)


def refuse_other_inputs(earlier: Record, count: int) -> None:
    """Raise UsageError when another number of inputs takes turns than in the earlier launches."""
    if any(launch.block_ns for launch in earlier.launches) and earlier.config.inputs != count:
        what = f"{earlier.config.inputs} inputs took turns in the record, and {count} do now"
        raise UsageError(what, "--resume", HINT)


def contender_of(earlier: Record, name: str) -> MeasuredContender | None:
    """Return a contender of the record by its name, or None."""
    return next((one for one in earlier.contenders if one.name == name), None)


def whole_rounds(earlier: Record, batches: Sequence[int | None]) -> frozenset[int]:
    """Return the rounds that have a block of every contender that answers right, at every batch size.

    A round that was broken off in the middle is none: its launches keep their place, and pair with nobody. A contender
    that left the race is missed neither in its last round nor afterwards.
    """
    full = {one.name for one in earlier.contenders if one.ranked}
    left = {name: _left_in(earlier, name) for name in full}
    taken = {(launch.round, launch.contender, launch.batch) for launch in earlier.launches if launch.block_ns}
    return frozenset(
        index
        for index in {launch.round for launch in earlier.launches}
        if all((index, name, batch) in taken or index >= left[name] for name in full for batch in batches)
    )


def _left_in(earlier: Record, name: str) -> float:
    """Return the round in which a contender left the race, infinite when it stayed: its last launches are lost."""
    own = [launch for launch in earlier.launches if launch.contender == name]
    gone = len(own) >= ATTEMPTS and not any(launch.block_ns for launch in own[-ATTEMPTS:])
    return own[-1].round if gone else math.inf


def next_round(earlier: Record) -> int:
    """Return the index of the first round that the record has no launch of."""
    return max((launch.round for launch in earlier.launches), default=-1) + 1


def _scenario(config: Config) -> tuple[object, ...]:
    return config.scenario, config.rate_per_s, config.target_ns, config.workers


def _shapes(config: Config) -> dict[str, list[int]]:
    return {name: list(shape) for name, shape in sorted(config.shapes.items())}
