"""Profiles beside the rounds: where the time of our own contenders goes, one launch for each model that they run.

Contenders that call one model in two ways run the same kernels, so one profile serves both, each scaled to its own p50.
The profile's session is opened as ours is, so other engines, and plain onnxruntime with options of its own, have none.
"""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge_runtime.errors import WorkerLost
from edge_runtime.kernel_runs import MIN_RUNS, WARMUP_RUNS
from edge_runtime.node_shares import ProfiledRuns, node_shares, read_profile
from edge_runtime.operators import MAX_NODES, NodeTime, OperatorTimes
from edge_runtime.peaks import Peaks, known_or_measured
from edge_runtime.plan import OWN_CONTENDER, Entry
from edge_runtime.timing import BlockPlan

PROFILED_S = 0.5  # of runs: of a call of 1 ms 500, whose medians are steady to the profile's tick
# before the profiler starts the processor has to be awake; what the block times is thrown away
AWAKE = BlockPlan(warmup_s=0.2, block_s=0.0, min_samples=1, max_samples=1)
START_S = 2.0  # of a launch on a desktop: engine, two sessions, two files to read; the first one's own time replaces it

Launch = Callable[[Entry, str, Mapping[str, Any]], Mapping[str, Mapping[str, Any]]]  # entry, kind, more → events


def has_profile(entry: Entry) -> bool:
    """Return whether an entry is our own runtime, called in whichever way."""
    return entry.contender.partition(":")[0] == OWN_CONTENDER.partition(":")[0]


class OperatorProfiles:
    """Takes profiles, and remembers those of each model.

    peaks: the machine's, None until one was profiled.
    """

    def __init__(
        self, launch: Launch, *, machine_key: str, threads: int, cpus: Sequence[int], peaks: Peaks | None = None
    ) -> None:
        self.peaks = peaks
        self._launch, self._machine, self._threads, self._cpus = launch, machine_key, threads, tuple(cpus)
        self._known: dict[str, ProfiledRuns] = {}  # by the model's hash
        self._taken: dict[str, tuple[str, float]] = {}  # by contender: its model and its p50
        self._engine = ""
        self._sure = False  # whether the peaks were measured again
        self._longest_s = START_S

    @property
    def found(self) -> list[OperatorTimes]:
        """The profiles that were taken, held against the peaks as they are known by now."""
        best = self.peaks
        if best is None:
            return []
        return [_times(name, self._known[model], p50_ns, best) for name, (model, p50_ns) in self._taken.items()]

    def seconds(self, p50_ns: float) -> float:
        """Return about how long the next profile takes, of a model whose call takes `p50_ns`."""
        return self._longest_s + PROFILED_S + (WARMUP_RUNS + MIN_RUNS) * p50_ns / 1e9

    def take(self, entry: Entry, p50_ns: float) -> None:
        """Profile an entry, whose call takes `p50_ns` without a profiler.

        Raises what its worker raises, and WorkerLost where that told no profile.
        """
        model, begin = entry.artifact.variant(entry.variant).files[0].sha256, time.monotonic()
        if model not in self._known:
            self._known[model] = self._profiled(entry)
        if self.peaks is None:
            self.peaks = self._measured_peaks(entry)
        self._taken[entry.name] = model, p50_ns
        if not self._sure and any(_exceeds(one) for one in self.found):
            # a machine that was busy when its peaks were measured can do more than they say
            self._sure = True
            self.peaks = self._measured_peaks(entry, again=True)
        self._longest_s = max(self._longest_s, time.monotonic() - begin)

    def _measured_peaks(self, entry: Entry, *, again: bool = False) -> Peaks:
        return known_or_measured(
            self._machine,
            engine=self._engine,
            threads=self._threads,
            cpus=self._cpus,
            run=lambda: self._launch(entry, "peaks", {}),
            again=again,
        )

    def _profiled(self, entry: Entry) -> ProfiledRuns:
        where = f"{entry.artifact.path} ({entry.variant})"
        with tempfile.TemporaryDirectory(prefix="edge-profile-") as folder:
            more = {"folder": folder, "runs": None, "profile_s": PROFILED_S, "block": asdict(AWAKE)}
            events = self._launch(entry, "profile", more)
            if "profile" not in events:
                raise WorkerLost("it told no profile", where, "run: edge check")
            self._engine = str(events.get("loaded", {}).get("engine", ""))[:200]
            return read_profile(Path(folder), events["profile"], where=where)


def _exceeds(profile: OperatorTimes) -> bool:
    return sum(node.least_ns or 0.0 for node in profile.nodes) > profile.p50_ns


def _times(contender: str, read: ProfiledRuns, p50_ns: float, best: Peaks) -> OperatorTimes:
    shares = node_shares(read.runs, read.work, best)
    return OperatorTimes(
        contender=contender,
        runs=len(read.runs),
        p50_ns=max(1, round(p50_ns)),
        profiled_ns=max(1, read.profiled_ns),
        nodes=tuple(
            NodeTime(
                name=share.name[:2000],
                operator=share.operator,
                calls=share.calls,
                ns=share.ns,
                operations=share.work.operations,
                bytes=share.work.bytes,
                least_ns=share.least_ns,
            )
            for share in shares[:MAX_NODES]
        ),
    )
