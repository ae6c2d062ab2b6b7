"""What each of several records is called, so that no two are called the same."""

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath

from edge_runtime.measured import MeasuredArtifact
from edge_runtime.record import Record
from edge_runtime.units import count, visible

OWN = "edge"


def own_of(record: Record) -> str:
    """Return the contender that the others are baselines of: ours, or the first."""
    found = [one.name for one in record.contenders]
    return OWN if OWN in found or not found else found[0]


def one_line(text: str) -> str:
    """Return text without line breaks and control characters, as a row or a sentence has room for."""
    return " ".join(visible(text).split())


def model_of(artifact: MeasuredArtifact) -> str:
    """Return an artifact's name, with its variant where that is not the reference."""
    return visible(artifact.name if artifact.variant == "fp32" else f"{artifact.name} ({artifact.variant})")


def titles(records: Sequence[tuple[str, Record]]) -> tuple[str, ...]:
    """Return a name a record, given with the names of their files: model and threads, and what else tells them apart.

    Of those that are alike in all of scenario, machine and time of day the file's name tells which is which.
    """
    parts = [
        (
            f"{_model(record)}, {count(record.config.threads, 'thread')}",
            "" if record.config.scenario == "single" else record.config.scenario,
            visible(record.machine.model),
            visible(record.created[:10]),
            visible(record.created),
            visible(PurePath(name).name),
            f"record {index + 1}",
        )
        for index, (name, record) in enumerate(records)
    ]
    told = [own[0] if not own[1] else f"{own[0]}, {own[1]}" for own in parts]
    for place in range(2, len(parts[0]) if parts else 0):
        again = Counter(told)
        # what all of those alike share tells nothing
        alike = {
            name: len({own[place] for one, own in zip(told, parts, strict=True) if one == name})
            for name, number in again.items()
            if number > 1
        }
        told = [
            f"{name}, {own[place]}" if alike.get(name, 1) > 1 else name for name, own in zip(told, parts, strict=True)
        ]
    return tuple(told)


def _model(record: Record) -> str:
    return model_of(record.contenders[0].artifact) if record.contenders else "no contender"
