"""The proof in another release of onnxruntime than this host's: the one that a target has.

The release comes from `throwaway`, runs in a process of its own (`bare_runtime`) with nothing of this environment, and
its answers are held against the same ones within the same tolerances. The processor is still this machine's.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edge_runtime import npz
from edge_runtime.errors import InvalidModel, UnsupportedModel
from edge_runtime.npz import Array
from export_tools import bare_runtime, throwaway
from export_tools.cases import Case
from export_tools.errors import NoWheel, ParityLost, SourceLost
from export_tools.noise import Answers, Granted
from export_tools.torch_process import TorchProcess
from export_tools.verify import OPTIMISED, STORED, Verification, departed, held, threads

TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class Proven:
    """How a target's release was asked. version: what ran, as ``1.15.1``; None where only the table was.

    cases: golden cases replayed.   of_tolerance: the worst error, as a share of its tolerance.   why: why none ran.
    """

    version: str | None
    cases: int = 0
    of_tolerance: float = 0.0
    why: str = ""

    def __str__(self) -> str:
        if self.version is None:
            return f"checked by table only: {self.why}"
        worst = f"worst error {self.of_tolerance:.1%} of its tolerance"
        return f"{self.cases} golden cases run in onnxruntime {self.version}, {worst}"


@dataclass(frozen=True, slots=True)
class Fetched:
    """A release to prove with. folder: None where this Python has no wheel of it, as `why` says."""

    release: str
    folder: Path | None
    why: str = ""


def fetched(release: str) -> Fetched:
    """Fetch a release unless it is kept. Raises UnsupportedSystem when it can't be fetched: no network, say."""
    try:
        return Fetched(release, throwaway.environment(release))
    except NoWheel as problem:
        return Fetched(release, None, problem.what)


def proven(
    ready: Fetched,
    model: Path,
    cases: Sequence[Case],
    answers: Sequence[Answers],
    granted: Sequence[Mapping[str, Granted]],
    *,
    where: str,
    work: Path,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> Proven:
    """Replay cases in a release of onnxruntime; where this Python has no wheel of it, say so.

    Raises UnsupportedModel when that release refuses the model or crashes on it, ParityLost when it answers
    differently.
    """
    if ready.folder is None:
        return Proven(None, why=ready.why)
    with runtime(ready.folder, ready.release, where=where, work=work) as opened:
        found = held(
            model,
            cases,
            answers,
            granted,
            threads=threads(),
            where=where,
            reference=STORED,
            opener=opened.open,
            progress=progress,
        )
        if found.wrong:
            raise elsewhere(departed(found, cases, model, where), opened.engine)
    return Proven(opened.version, len(cases), found.worst.difference.ratio)


def elsewhere(problem: ParityLost, engine: str) -> ParityLost:
    """Return the error for answers that departed in another engine: tracing is not to blame for these."""
    hint = f"try another --opset or --exporter, or have another release there than {engine}"
    told = ParityLost(problem.what, f"{problem.where}, in {engine}", hint)
    told.failing = problem.failing
    return told


def replayed(
    found: Verification, cases: Sequence[Case], answers: Sequence[Answers], names: Sequence[str]
) -> tuple[tuple[Case, ...], tuple[Answers, ...], tuple[Mapping[str, Granted], ...]]:
    """Return the named cases, their answers and tolerances, as a board replays them: each by itself."""
    limits: dict[str, dict[str, Granted]] = {}
    for row in found.rows:
        limits.setdefault(row.case, {})[row.output] = Granted(row.tolerance, row.relative)
    chosen = [(case, answer) for case, answer in zip(cases, answers, strict=True) if case.name in names]
    return (
        tuple(Case(case.name, case.inputs, case.sizes) for case, _ in chosen),
        tuple(answer for _, answer in chosen),
        tuple(limits[case.name] for case, _ in chosen),
    )


class Runtime:
    """An onnxruntime in a process of its own. version: as it names itself, once a model was open."""

    def __init__(self, child: TorchProcess, folder: Path, release: str, *, where: str, work: Path) -> None:
        self._child, self._folder, self._where, self._work = child, folder, where, work
        self.version = release

    @property
    def engine(self) -> str:
        """What it is called."""
        return f"onnxruntime {self.version}"

    def open(self, model: Path, graph: str) -> Callable[[Case], dict[str, Array]]:
        """Open one of a model's two graphs; return what runs a case on it. Raises UnsupportedModel."""
        answer = self._asked(
            {
                "do": "open",
                "folder": str(self._folder),
                "model": str(model.absolute()),
                "optimised": graph == OPTIMISED,
                "threads": threads(),
                # of address space, of which threads reserve more than they ever use
                "memory_bytes": 2 * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
            }
        )
        if "failed" in answer:
            raise UnsupportedModel(
                f"{self.engine} refuses the model: {_text(answer['failed'])}",
                self._where,
                "export with a lower --opset, or for a newer onnxruntime: --target",
            )
        self.version = _text(answer.get("onnxruntime"))
        names = answer.get("outputs")
        if not isinstance(names, list):
            raise UnsupportedModel(f"{self.engine} names no outputs", self._where, f"remove {self._folder}")
        return lambda case: self._run(case, names)

    def _run(self, case: Case, names: Sequence[str]) -> dict[str, Array]:
        given, got = self._work / "given.npz", self._work / "got.npz"
        npz.write(given, case.inputs)
        answer = self._asked({"do": "run", "inputs": str(given), "outputs": str(got)})
        if "failed" in answer:
            raise InvalidModel(f"{self.engine}: {_text(answer['failed'])}", self._where, "see: edge check")
        arrays = npz.read(got)
        return {name: arrays[str(place)] for place, name in enumerate(names)}

    def _asked(self, command: Mapping[str, object]) -> dict[str, object]:
        try:
            self._child.ask(command)
            return self._child.answer()
        except SourceLost as problem:
            raise UnsupportedModel(f"{self.engine} fails on it: {problem.what}", self._where, problem.hint) from problem


@contextmanager
def runtime(folder: Path, release: str, *, where: str, work: Path, timeout_s: float = TIMEOUT_S) -> Iterator[Runtime]:
    """Yield the onnxruntime of a folder. timeout_s: for each case."""
    place = work.absolute() / "runtime"
    place.mkdir(exist_ok=True)
    script = Path(bare_runtime.__file__)
    with TorchProcess(where, cwd=str(place), timeout_s=timeout_s, script=script) as child:
        yield Runtime(child, folder, release, where=where, work=place)


def _text(value: object) -> str:
    return " ".join(str(value).split())[:600]
