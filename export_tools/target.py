"""What an export aims at: an onnxruntime version, a named board (`targets.toml`), or one that `edge doctor` described.

``onnxruntime==1.16``, ``onnxruntime>=1.16`` (its oldest counts), ``pi4``, ``pi4,ram=8GiB,onnxruntime==1.17``, or the
path of a file that ``edge doctor --json`` wrote.
"""

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

from edge_runtime import decode, files
from edge_runtime.errors import InputError, UsageError
from edge_runtime.units import size
from export_tools.errors import OpsetUnavailable
from export_tools.releases import Release, release_named, releases

DOCTOR = "edge-doctor"
DOCTOR_SCHEMA = 1
MAX_DOCTOR_BYTES = 2**20
MIB = 2**20
_RUNTIME = re.compile(r"onnxruntime *(?P<how>==|>=|~=) *(?P<release>\d+\.\d+)(?:\.(?:\d+|\*))*")
_MEMORY = re.compile(r"ram *= *(?P<number>\d+(?:\.\d+)?) *(?P<unit>[KMG])i?B?", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What an artifact is to run on.

    name: as a manifest tells it.   release: the onnxruntime there.   memory_bytes: what a model may take, None where
    nobody knows.   memory_told: how that comes about.   machine: ``aarch64``, ``x86_64`` or None.
    features: of the CPU, as Linux names them.
    """

    name: str
    title: str
    release: Release
    memory_bytes: int | None = None
    memory_told: str = ""
    machine: str | None = None
    features: tuple[str, ...] = ()

    def best_opset(self, usual: int) -> int:
        """Return the opset to write unless one is asked for: the usual one, or the highest that is read there."""
        return min(usual, self.release.opset)

    def refuse_opset(self, opset: int) -> None:
        """Raise OpsetUnavailable for one that the target's onnxruntime doesn't read."""
        if opset > self.release.opset:
            raise OpsetUnavailable(
                f"opset {opset} was asked for, onnxruntime {self.release.name} reads up to {self.release.opset}",
                f"--target {self.name}",
                f"ask for --opset {self.release.opset}, or leave it out",
            )


def parse(text: str) -> Target:
    """Read what `--target` says.

    Raises UsageError for a name or a version that is not known, InputError for a file that is no diagnosis, or not
    there.
    """
    first, *more = (part.strip() for part in text.split(","))
    if first.endswith(".json") or "/" in first:
        target = _described(Path(first))
    elif _RUNTIME.fullmatch(first):
        release = _release(first, text)
        target = Target(name=f"onnxruntime=={release.name}", title=f"onnxruntime {release.name}", release=release)
    else:
        target = _named(first)
    for part in more:
        if _RUNTIME.fullmatch(part):
            release = _release(part, text)
            target = replace(target, release=release, name=f"{target.name},onnxruntime=={release.name}")
        elif memory := _MEMORY.fullmatch(part):
            given = round(float(memory["number"]) * {"K": 2**10, "M": 2**20, "G": 2**30}[memory["unit"].upper()])
            target = _with_memory(target, given, part)
        else:
            raise UsageError(
                f"{part!r} says nothing of a target", f"--target {text}", "NAME,onnxruntime==1.17,ram=8GiB"
            )
    return target


def known() -> Mapping[str, Mapping[str, Any]]:
    """Return the named boards, as `targets.toml` has them."""
    return _boards()


def _named(name: str) -> Target:
    board = _boards().get(name)
    if board is None:
        near = difflib.get_close_matches(name, _boards(), n=1)
        guess = f"did you mean {near[0]}? " if near else ""
        raise UsageError(
            f"no target {name[:80]!r}",
            "--target",
            f"{guess}known are {', '.join(_boards())}, onnxruntime==1.17, and a file of edge doctor --json",
        )
    target = Target(
        name=name,
        title=board["title"],
        release=releases()[-1],
        machine=board["machine"],
        features=tuple(board["features"]),
    )
    return _with_memory(target, board["ram_mib"] * MIB, "") if "ram_mib" in board else target


def _with_memory(target: Target, ram: int, said: str) -> Target:
    reserve = _boards().get(target.name.partition(",")[0], {}).get("reserve_mib", 0) * MIB
    told = f"{size(ram)}, of which the system keeps {size(reserve)}" if reserve else size(ram)
    name = f"{target.name},{said}" if said else target.name
    return replace(target, name=name, memory_bytes=max(0, ram - reserve), memory_told=told)


def _release(text: str, whole: str) -> Release:
    found = _RUNTIME.fullmatch(text)
    assert found is not None  # noqa: S101 - the caller has looked
    release = release_named(found["release"])
    if release is None:
        oldest, newest = releases()[0].name, releases()[-1].name
        raise UsageError(
            f"onnxruntime {found['release']} is not among those that are known",
            f"--target {whole}",
            f"this version of edge knows {oldest} to {newest}",
        )
    return release


def _described(path: Path) -> Target:
    """Return the machine of a diagnosis. It may come from anywhere, so it is read as strictly as it is used."""
    text = files.read_bytes(path, limit_bytes=MAX_DOCTOR_BYTES, error=InputError)
    fields = decode.document(text, where=str(path))
    decode.envelope(fields, kind=DOCTOR, schema=DOCTOR_SCHEMA, what="diagnosis of edge doctor --json")
    machine = fields.child("machine")
    model = machine.string("model", limit=500) if machine.has("model") else "a machine"
    ram = machine.integer("ram_bytes") if machine.has("ram_bytes") else None
    free = fields.integer("available_bytes") if fields.has("available_bytes") else None
    release, architecture = releases()[-1], None
    if fields.has("software"):
        software = fields.child("software")
        architecture = software.string("architecture", limit=40) if software.has("architecture") else None
        if software.has("onnxruntime"):
            release = _release_of_machine(software.string("onnxruntime", limit=40), path)
    features = fields.strings("flags", limit=2000) if fields.has("flags") else ()
    told = "" if free is None else f"{size(free)} free" + ("" if ram is None else f" of {size(ram)}")
    return Target(
        name=path.name.removesuffix(".json")[:100] or "machine",
        title=model,
        release=release,
        memory_bytes=free if free is not None else ram,
        memory_told=told or ("" if ram is None else size(ram)),
        machine=architecture,
        features=features,
    )


def _release_of_machine(version: str, path: Path) -> Release:
    parts = version.split(".")
    release = release_named(".".join(parts[:2]))
    if release is not None:
        return release
    newest = releases()[-1]
    numbers = tuple(int(part) for part in parts[:2] if part.isdecimal())
    if len(numbers) == 2 and numbers > tuple(map(int, newest.name.split("."))):  # noqa: PLR2004 - major and minor
        return newest  # it reads what the newest known one reads, and more
    raise InputError(
        f"the machine has onnxruntime {version[:40]!r}",
        str(path),
        f"known are {releases()[0].name} to {newest.name}: install one of them there",
    )


@cache
def _boards() -> dict[str, dict[str, Any]]:
    return tomllib.loads(resources("export_tools").joinpath("targets.toml").read_text(encoding="utf-8"))
