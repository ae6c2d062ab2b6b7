"""A release of onnxruntime with its numpy, in a folder of its own: fetched by pip once, kept out of every environment.

Kept in ``$XDG_CACHE_HOME/edge/runtimes`` (``~/.cache/edge/runtimes``), private to the user, because it will be run;
``rm -r`` is all it takes to be rid of it. ``python -m export_tools.throwaway 1.15`` fetches one ahead.
"""

import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from edge_runtime.errors import EdgeError, UnsupportedSystem, Unwritable, UsageError
from export_tools.errors import NoWheel
from export_tools.remembered import cache_folder, is_private

WANTED = re.compile(r"onnxruntime *== *(?P<release>\d+\.\d+(?:\.\d+)?)(?:\.\*)?")
# Wheels before it were built for numpy 1 and crash or fail under 2. Source: release notes of onnxruntime 1.19.0
_NUMPY_2 = (1, 19)
_FETCH_S = 600.0
_LISTED = re.compile(r"requirement onnxruntime==\S+ \(from versions: (?P<versions>[^)]*)\)")
# How pip says that nobody answered
_OFFLINE = (
    "connection broken",
    "Could not fetch URL",
    "connection error",
    "ReadTimeoutError",
    "Network is unreachable",
)
# pip's own settings that would put the wheels elsewhere, or forbid them; its index, proxy and certificates stay
_SPOILING = ("CONSTRAINT", "DRY_RUN", "PREFIX", "REQUIREMENT", "REQUIRE_VIRTUALENV", "ROOT", "TARGET", "USER")


def parse(text: str) -> str:
    """Return the release of ``onnxruntime==1.16`` or ``onnxruntime==1.16.3``; raise UsageError."""
    found = WANTED.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{text[:80]!r} names no release to run", "--runtime", "onnxruntime==1.16 or ==1.16.3")
    return found["release"]


def environment(release: str, *, folder: Path | None = None) -> Path:
    """Return the folder that holds onnxruntime of a release (``1.16``: its last one, ``1.16.3``) and a fitting numpy.

    Raises NoWheel where this Python has none, UnsupportedSystem when it can't be fetched, Unwritable.
    """
    home = folder or cache_folder("runtimes")
    here = f"cp{sys.version_info.major}{sys.version_info.minor}-{platform.machine()}"
    ready = home / f"onnxruntime-{release}-{here}"
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not is_private(home):
            raise UnsupportedSystem("belongs to or can be written by others", str(home), f"remove it: rm -r {home}")
        if ready.is_dir():
            return ready
        made = Path(tempfile.mkdtemp(prefix=".new-", dir=home))
        try:
            _fetch(release, made)
            with suppress(FileExistsError, OSError):  # another process was as quick, and its folder is as good
                made.rename(ready)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    except OSError as problem:
        hint = "make room, or set XDG_CACHE_HOME to another place"
        raise Unwritable(f"no place for another onnxruntime: {problem.strerror}", str(home), hint) from problem
    return ready


def _fetch(release: str, folder: Path) -> None:
    numbers = tuple(map(int, release.split(".")))
    exact = release if len(numbers) > 2 else f"{release}.*"  # noqa: PLR2004 - with a patch level
    wheels = [f"onnxruntime=={exact}", "numpy<2" if numbers[:2] < _NUMPY_2 else "numpy"]
    command = (
        *(sys.executable, "-I", "-m", "pip", "install", "--target", str(folder), "--no-deps", "--only-binary=:all:"),
        *("--no-input", "--no-compile", "--disable-pip-version-check", "--retries", "1", "--progress-bar", "off"),
        *wheels,
    )
    code, said = _ran(command)
    if code == 0 and (folder / "onnxruntime").is_dir():
        return
    where = f"pip install {wheels[0]}"
    listed = _LISTED.search(said)
    versions = [] if listed is None or listed["versions"] == "none" else listed["versions"].split(", ")
    online = "go online once, then it is kept"
    if any(phrase in said for phrase in _OFFLINE) or (listed is not None and not versions):
        raise UnsupportedSystem(f"onnxruntime {release} can't be fetched: no package index answers", where, online)
    if versions:
        raise NoWheel(*_no_wheel(release, versions), f"choose another release, or another Python than {_python()}")
    errors = [line for line in said.splitlines() if line.startswith("ERROR")] or said.strip().splitlines()[-1:]
    why = (errors or ["it says nothing"])[0][:300]
    raise UnsupportedSystem(f"onnxruntime {release} can't be installed: {why}", where, f"{online}; or mend pip")


def _no_wheel(release: str, versions: list[str]) -> tuple[str, str]:
    plain = [one for one in versions if re.fullmatch(r"\d+(\.\d+)+", one)] or versions
    minor = f"{'.'.join(release.split('.')[:2])}."
    same = [one for one in plain if one.startswith(minor)]
    if same:
        there = f"there are {', '.join(same)}"
    elif _order(release) < _order(plain[0]):
        there = f"the oldest is {plain[0]}"
    else:
        there = f"there are {plain[0]} to {plain[-1]}"
    return f"no wheel of onnxruntime {release} for Python {_python()}; {there}", f"onnxruntime=={release}"


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def _python() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _ran(command: tuple[str, ...]) -> tuple[int, str]:
    """Run pip; return its exit code and all that it said."""
    # an empty value is none, whatever pip's own files say
    settings = {**os.environ, **{f"PIP_{name}": "" for name in _SPOILING}}
    with subprocess.Popen(
        command,
        env=settings,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            said, _ = process.communicate(timeout=_FETCH_S)
        except subprocess.TimeoutExpired:
            return 1, f"ERROR: connection broken: not done within {_FETCH_S:g} s"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, said


def main() -> None:
    """Fetch the releases that are named, ahead of their use."""
    for release in sys.argv[1:]:
        try:
            print(environment(parse(f"onnxruntime=={release}")))  # noqa: T201 - a script's answer
        except EdgeError as problem:
            raise SystemExit(f"throwaway: {problem}") from problem


if __name__ == "__main__":
    main()
