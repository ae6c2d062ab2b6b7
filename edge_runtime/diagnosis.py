"""One machine examined: can it run, is it fit to measure, and what to change. `edge doctor` is this with a face."""

import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge_runtime import energy, fitness, graph_cache, processors, throttling
from edge_runtime.environment import HERE, Conditions, Machine, available_cpus, conditions, machine, meminfo_bytes
from edge_runtime.fitness import Finding, Severity
from edge_runtime.limits import Limits, limits
from edge_runtime.processes import Busy, busy, processes
from edge_runtime.processors import Cluster
from edge_runtime.tree import Tree

KIND, SCHEMA = "edge-doctor", 1
PAUSE_S = 1.0  # between the two looks that show who is busy; ticks of 10 ms make it exact to a per cent
IMPORT_TIMEOUT_S = 120.0  # a first import from a slow card compiles numpy's bytecode
OLDEST_PYTHON, OLDEST_GLIBC = (3, 11), (2, 28)
LEAST_MEMORY_BYTES = 96 * 2**20  # what onnxruntime takes before any model, at worst
SMALL_MEMORY_BYTES = 256 * 2**20
LEAST_DISK_BYTES = 100 * 2**20
ORDER: tuple[Severity, ...] = ("blocked", "unfit", "note")

# each line tells how far it came: a crash says nothing by itself
IMPORTS = """\
import numpy; print("numpy", numpy.__version__, flush=True)
from edge_runtime.session import ENGINE; print(ENGINE, flush=True)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Software:
    """What would run a model here; versions are None where the import fails.

    failure: how importing ended, in words; empty when it went well.
    """

    python: str
    implementation: str
    bits: int
    architecture: str
    libc: str | None
    numpy: str | None
    onnxruntime: str | None
    failure: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """All that was found. software: None when another machine's files were examined.

    energy_rail: what the machine's meter measures.   energy_missing: why there is none; one of the two is None.
    """

    machine: Machine
    os: str | None
    clusters: tuple[Cluster, ...]
    flags: tuple[str, ...]
    available_bytes: int | None
    swap_bytes: int | None
    limits: Limits
    conditions: Conditions
    others: tuple[Busy, ...]
    energy_rail: str | None
    energy_missing: str | None
    software: Software | None
    findings: tuple[Finding, ...]

    @property
    def worst(self) -> Severity:
        """The gravest finding's severity; "note" when there is none."""
        return next((severity for severity in ORDER if any(one.severity == severity for one in self.findings)), "note")

    def to_document(self) -> dict[str, Any]:
        """Return the JSON document; see docs/formats.md."""
        bits = self.conditions.throttled_bits
        return {
            "kind": KIND,
            "schema": SCHEMA,
            "verdict": {"note": "fit", "unfit": "unfit", "blocked": "blocked"}[self.worst],
            **asdict(self),
            "throttled": None
            if bits is None
            else {"now": throttling.now(bits), "since_boot": throttling.since_boot(bits)},
        }


def diagnose(
    tree: Tree = HERE,
    *,
    python: Sequence[str] = (sys.executable, "-P"),
    cache: Path | None = None,
    pause_s: float = PAUSE_S,
) -> Diagnosis:
    """Examine the machine that a tree shows.

    Of a replayed tree only what its files tell is judged: who runs this is another machine. python: the interpreter
    whose imports are tried.   cache: the folder for compiled graphs, by default ours.
    """
    cpus = available_cpus() if tree.live else processors.cpus(tree)
    before, running = conditions(cpus, tree), processes(tree)
    begin = time.monotonic()
    if tree.live:
        time.sleep(pause_s)
    elapsed_ms = round((time.monotonic() - begin) * 1000)
    after = conditions(cpus, tree)
    others = busy(running, processes(tree), elapsed_ms=elapsed_ms, without=os.getpid())
    clusters, allowed = processors.clusters(tree), limits(tree)
    found = fitness.of_machine(clusters, allowed, len(cpus), others, throttling.headroom_millicelsius(tree))
    named = any(one.code == "busy-others" for one in found)  # says more than a sum, but misses the short-lived
    found += [one for one in fitness.of_block(before, after) if not (named and one.code == "others")]
    available = meminfo_bytes(tree, "MemAvailable")
    found += _of_memory(available, allowed)
    software = None
    if tree.live:
        software = examine_software(python)
        found += _of_software(software, musl=bool(tree.names("lib", "ld-musl-*")))
        found += _of_cache(cache or graph_cache.folder())
    source = energy.find(tree)
    return Diagnosis(
        machine=machine(tree),
        os=_os(tree),
        clusters=clusters,
        flags=processors.flags(tree),
        available_bytes=available,
        swap_bytes=meminfo_bytes(tree, "SwapTotal"),
        limits=allowed,
        conditions=after,
        others=others[:10],
        energy_rail=None if source is None else source.rail,
        energy_missing=None if source is not None else energy.why_none(tree),
        software=software,
        findings=tuple(sorted(found, key=lambda one: ORDER.index(one.severity))),
    )


def examine_software(python: Sequence[str]) -> Software:
    """Import numpy and onnxruntime in a child, which may crash in our stead; return what was found."""
    told, failure = "", ""
    try:
        # the argv is ours
        done = subprocess.run(
            [*python, "-c", IMPORTS],
            capture_output=True,
            timeout=IMPORT_TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
            # where we find modules the child finds them, however we were started
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        told = done.stdout.decode(errors="replace")
        failure = _how_it_ended(done.returncode, done.stderr.decode(errors="replace"))
    except subprocess.TimeoutExpired:
        failure = f"no end after {IMPORT_TIMEOUT_S:.0f} s"
    except OSError as problem:
        failure = f"{python[0]} did not start: {problem.strerror}"
    versions = dict(re.findall(r"^(numpy|onnxruntime) (\S+)$", told, re.MULTILINE))
    return Software(
        python=platform.python_version(),
        implementation=platform.python_implementation(),
        bits=64 if sys.maxsize > 2**32 else 32,
        architecture=platform.machine(),
        libc=machine().libc,
        numpy=versions.get("numpy"),
        onnxruntime=versions.get("onnxruntime"),
        failure=failure,
    )


def _how_it_ended(status: int, stderr: str) -> str:
    if status == 0:
        return ""
    if status < 0:
        return f"ended by {signal.Signals(-status).name}"
    lines = stderr.strip().splitlines()
    return lines[-1][:500] if lines else f"ended with exit code {status}"


def _of_software(software: Software, *, musl: bool) -> list[Finding]:
    found = []
    if software.failure:
        name = "numpy" if software.numpy is None else "onnxruntime"
        illegal = "SIGILL" in software.failure
        mend = f"{sys.executable} -m pip install --force-reinstall numpy onnxruntime"
        if illegal:
            mend = f"on this machine: pip install --no-binary {name} {name}, or build it from its source"
        found.append(
            Finding(
                code="import",
                severity="blocked",
                what=f"importing {name} fails: {software.failure}",
                why="the build uses instructions this CPU lacks" if illegal else "nothing can run without it",
                mend=mend,
            )
        )
    # a distribution may have built what no wheel is published for: only a failed import makes these grave
    severity: Severity = "blocked" if software.failure else "note"
    wheels = "published wheels of onnxruntime are not for it"
    version = tuple(int(part) for part in software.python.split(".")[:2])
    if version < OLDEST_PYTHON or software.implementation != "CPython" or software.bits != 64:  # noqa: PLR2004 - bits
        what = f"the interpreter is {software.implementation} {software.python}, {software.bits} bit"
        mend = "install a 64-bit system with CPython 3.11 or newer"
        found.append(Finding(code="python", severity=severity, what=what, why=wheels, mend=mend))
    glibc = re.match(r"glibc (\d+)\.(\d+)", software.libc or "")
    if musl or (glibc and (int(glibc[1]), int(glibc[2])) < OLDEST_GLIBC):
        what = f"the C library is {software.libc or 'musl'}"
        mend = "use a system with glibc 2.28 or newer: Debian 10, Ubuntu 20.04, Raspberry Pi OS 10 or later"
        found.append(Finding(code="libc", severity=severity, what=what, why=wheels, mend=mend))
    return found


def _of_memory(available: int | None, allowed: Limits) -> list[Finding]:
    room = min((size for size in (available, allowed.memory_bytes) if size is not None), default=None)
    if room is None or room >= SMALL_MEMORY_BYTES:
        return []
    return [
        Finding(
            code="memory",
            severity="blocked" if room < LEAST_MEMORY_BYTES else "note",
            what=f"{room >> 20} MiB of memory are free",
            why=f"onnxruntime takes up to {LEAST_MEMORY_BYTES >> 20} MiB before any model",
            mend=fitness.MEMORY,
        )
    ]


def _of_cache(folder: Path) -> list[Finding]:
    place = next(place for place in (folder, *folder.parents) if place.is_dir())
    problem = ""
    if not os.access(place, os.W_OK | os.X_OK):
        problem = f"the cache {folder} can't be written"
    elif shutil.disk_usage(place).free < LEAST_DISK_BYTES:
        problem = f"there is hardly any space left for the cache {folder}"
    if not problem:
        return []
    why = "compiled graphs can't be kept, so each load compiles again"
    return [Finding(code="cache", severity="note", what=problem, why=why, mend=f"df -h {place}; ls -ld {place}")]


def _os(tree: Tree) -> str | None:
    found = re.search(r"^PRETTY_NAME=(.*)$", tree.text("etc/os-release") or "", re.MULTILINE)
    if found is None:
        return None
    try:
        return str(json.loads(found[1]))
    except ValueError:
        return found[1].strip("'\"")
