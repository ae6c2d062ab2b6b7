"""Who takes part in a run, by name: our own runtime on one artifact or on several, and its rivals."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from bench import contenders
from bench.contenders import OWN
from edge_runtime.artifact import Artifact
from edge_runtime.errors import UsageError

MAX_LABEL = 150  # characters of an artifact's path in a contender's name


def rivals(against: Iterable[str]) -> list[contenders.Kind]:
    """Return the rivals, each name once; raises UsageError where two have one name."""
    kinds = [contenders.find(OWN)]
    for name in against:
        kind = contenders.find(name)
        if kind in kinds:
            raise UsageError(f"the contender {kind.name!r} is there twice", "--against", "edge takes part by itself")
        kinds.append(kind)
    names = [kind.name for kind in kinds]
    if len(set(names)) != len(names):
        raise UsageError(f"two contenders have one name: {', '.join(names)}", "--against", "rename one of the files")
    return kinds[1:]


def own_names(artifacts: Sequence[Artifact]) -> tuple[str, ...]:
    """Return what our runtime is called on each artifact: ``edge``, or ``edge@NAME`` where there are several.

    NAME is the folder's, without ``.edge``, with as many folders before it as tell all of them apart.
    Raises UsageError for one artifact given twice, and for artifacts that don't take the same inputs.
    """
    if len(artifacts) == 1:
        return (OWN,)
    for other in artifacts[1:]:
        _refuse_other_inputs(artifacts[0], other)
    paths = [artifact.path.resolve() for artifact in artifacts]
    if len(set(paths)) != len(paths):
        raise UsageError("one artifact is there twice", ", ".join(map(str, paths)), "give each once")
    return tuple(f"{OWN}@{label[-MAX_LABEL:]}" for label in _labels(paths))


def _labels(paths: Sequence[Path]) -> list[str]:
    parts = [(*path.parts[:-1], path.name.removesuffix(".edge")) for path in paths]
    deepest = max(map(len, parts))
    for depth in range(1, deepest + 1):
        labels = ["/".join(part[-depth:]) for part in parts]
        if len(set(labels)) == len(labels):
            return labels
    return [str(path) for path in paths]  # a.edge beside a folder a


def _refuse_other_inputs(first: Artifact, other: Artifact) -> None:
    """Raise UsageError unless both take the same: one set of arrays is timed on all."""
    mine, theirs = (
        {port.name: (port.dtype, port.shape) for port in artifact.manifest.inputs} for artifact in (first, other)
    )
    if mine != theirs:
        unlike = sorted(name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name))
        told = ", ".join(f'"{name}" is {_port(mine, name)} there, {_port(theirs, name)} here' for name in unlike)
        raise UsageError(
            f"the artifacts don't take the same inputs: {told}",
            f"{first.path} and {other.path}",
            "measure them in runs of their own",
        )


def _port(ports: dict[str, tuple[str, tuple[int | str, ...]]], name: str) -> str:
    if name not in ports:
        return "missing"
    dtype, shape = ports[name]
    return f"{dtype}[{', '.join(map(str, shape))}]"
