"""What ``--postprocess`` and ``--labels`` say: softmax, argmax or the top K of an output, and its classes' names.

All three work along the last axis. Text to checked values, nothing of torch: `folded` does the steps inside the graph.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edge_runtime import files
from edge_runtime.errors import InputError, UsageError
from edge_runtime.manifest import MAX_BYTES, MAX_LABELS, Port

FLAG = "--postprocess"
MAX_NAME = 500  # letters, as for every name in a manifest
_STEPS = re.compile(r"softmax|argmax|top([1-9]\d{0,5})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Postprocess:
    """The steps for one output. output: its final name, or "" for the only one.   top: how many.

    top gives two outputs in the place of the one: the scores, best first, and the indices of their classes.
    """

    output: str = ""
    softmax: bool = False
    argmax: bool = False
    top: int | None = None

    def __str__(self) -> str:
        """Return the text that `parse` reads back."""
        steps = [*(["softmax"] if self.softmax else []), *(["argmax"] if self.argmax else [])]
        steps += [f"top{self.top}"] if self.top else []
        return f"{self.output}:{','.join(steps)}" if self.output else ",".join(steps)


def parse(texts: Sequence[str]) -> Postprocess | None:
    """Read ``[OUTPUT:]softmax``, ``argmax``, ``top5`` or several with commas, in order; raise UsageError."""
    if not texts:
        return None
    outputs, steps = set(), []
    for text in texts:
        name, colon, listed = text.rpartition(":")
        outputs.add(name if colon else "")
        steps += listed.split(",")
    odd = [step for step in steps if not _STEPS.fullmatch(step)]
    if odd:
        raise UsageError(f"no step {odd[0]!r}", FLAG, "[OUTPUT:]softmax, argmax or topK, as softmax,top5")
    if len(outputs) > 1:
        raise UsageError(
            f"steps for {len(outputs)} outputs", FLAG, "one output can be postprocessed: name it each time"
        )
    kinds = ["top" if step.startswith("top") else step for step in steps]
    if kinds not in (["softmax"], ["argmax"], ["top"], ["softmax", "top"]):
        hint = "softmax, argmax, topK, or softmax,topK (argmax of a softmax is argmax)"
        raise UsageError(f"{', '.join(steps)} in this order", FLAG, hint)
    last = _STEPS.fullmatch(steps[-1])
    return Postprocess(
        output=outputs.pop(),
        softmax="softmax" in kinds,
        argmax="argmax" in kinds,
        top=int(last[1]) if last and last[1] else None,
    )


def read_labels(path: Path) -> tuple[str, ...]:
    """Return the names of the classes in their order: a line each, or a JSON list of strings.

    Raises InputError for a file that holds neither, or more than a manifest takes.
    """
    try:
        text = files.read_bytes(path, limit_bytes=MAX_BYTES, error=InputError).decode("utf-8-sig")
        names = json.loads(text) if path.suffix == ".json" else text.splitlines()
    except (ValueError, RecursionError) as problem:
        raise InputError(f"no list of names: {problem}", str(path), "a name a line, or a JSON list") from problem
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError("no list of names", str(path), 'a name a line, or a JSON list: ["cat", "dog"]')
    return checked_labels([name.strip() for name in names], str(path))


def checked_labels(names: Sequence[str], where: str) -> tuple[str, ...]:
    """Return the names of the classes; raise InputError for what a manifest doesn't take."""
    if not 0 < len(names) <= MAX_LABELS:
        raise InputError(f"{len(names)} names", where, f"1 to {MAX_LABELS}")
    for line, name in enumerate(names, start=1):
        if not name or not name.isprintable() or len(name) > MAX_NAME:
            raise InputError(f"name {line} is empty, too long or no plain text", where, "a name for each class")
    return tuple(names)


def refuse_labels(labels: Sequence[str], classes: int | None, outputs: Mapping[str, Port]) -> None:
    """Raise InputError when there isn't one name for each class.

    classes: the size of the last axis before top or argmax, or None without them; then an output has to have it.
    """
    found = {classes} if classes else {p.shape[-1] for p in outputs.values() if p.shape and p.dtype.startswith("float")}
    if len(labels) not in found:
        told = ", ".join(map(str, sorted(found, key=str))) or "none"
        raise InputError(
            f"{len(labels)} names for {told} classes", "--labels", "one name for each class, in their order"
        )


def described(port: Port, post: Postprocess | None, classes: int | None, *, place: int) -> Port:
    """Return an output with its meaning and range. place: 0 for the one that is postprocessed, 1 for the one after."""
    if post is None or place not in (0, 1):
        return port
    words = "probabilities of the classes (softmax)" if post.softmax else "scores of the classes"
    ends = (0.0, 1.0) if post.softmax else None
    index = (0.0, float(classes - 1)) if classes else None
    if post.top:
        if place:
            return replace(port, meaning=f"index of the class of each of the {post.top} scores", ranges=index)
        return replace(port, meaning=f"the {post.top} largest {words}, best first", ranges=ends)
    if place:
        return port
    if post.argmax:
        return replace(port, meaning="index of the class with the largest score", ranges=index)
    return replace(port, meaning=words, ranges=ends)
