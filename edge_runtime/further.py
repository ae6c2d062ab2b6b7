"""What a run measures after its rounds: profiles while the budget lasts; beyond it limits, starts, energy, long runs.

The latencies are there already: whatever fails here costs its own figure, and is told.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from edge_runtime import energy, fitness, fitting, throttling
from edge_runtime.confinement import open_confinement
from edge_runtime.environment import machine
from edge_runtime.errors import EdgeError, WorkerLost
from edge_runtime.operator_profiles import OperatorProfiles, has_profile
from edge_runtime.plan import LAUNCH_TIMEOUT_S, Entry, Plan
from edge_runtime.record import Record
from edge_runtime.samples import EnergyLaunch, MemoryLaunch, energy_of_worker
from edge_runtime.start_ladder import StartLadder
from edge_runtime.sustained import MAX_WINDOWS, Sustained, Window, window_of_worker
from edge_runtime.tree import Tree
from edge_runtime.units import count

if TYPE_CHECKING:
    from edge_runtime.fits import Fit
    from edge_runtime.launch import Heard
    from edge_runtime.operators import OperatorTimes
    from edge_runtime.peaks import Peaks
    from edge_runtime.starts import Start

WINDOW_S, LEAST_WINDOWS = 60.0, 10
COOLING_S = 300.0
CLOSED_LOOP = {"rate_per_s": None, "target_ns": None, "seed": 0}


class Launch(Protocol):
    """How a run starts a worker outside of its rounds, as `race` does it."""

    def __call__(
        self,
        entry: Entry,
        kind: str,
        more: Mapping[str, Any] = ...,
        *,
        told: str = ...,
        timeout_s: float = ...,
        heard: "Heard" = ...,
    ) -> dict[str, dict[str, Any]]:
        """Start a worker; told: what progress calls it, the job's kind when empty."""


class Further:
    """The figures that were asked for besides latencies, as far as there are any."""

    def __init__(
        self,
        plan: Plan,
        launch: Launch,
        *,
        cpus: Sequence[int],
        root: Path,
        save: Callable[[], None],
        trouble: Callable[[str], None],
    ) -> None:
        self._plan, self._launch, self._cpus, self._tree = plan, launch, tuple(cpus), Tree(root)
        self._save, self._trouble = save, trouble
        self.energy: list[EnergyLaunch] = []
        self.fits: list[Fit] = []
        self.starts: list[Start] = []
        self.operators: list[OperatorTimes] = []
        self.peaks: Peaks | None = None
        self.sustained: list[Sustained] = []

    def take_up(self, earlier: Record) -> None:
        """Begin with an earlier record's figures; those that are measured again take their place."""
        self.energy, self.fits, self.sustained = list(earlier.energy), list(earlier.fits), list(earlier.sustained)
        self.starts, self.operators, self.peaks = list(earlier.starts), list(earlier.operators), earlier.peaks

    def measure(
        self,
        entries: Sequence[Entry],
        memory: Sequence[MemoryLaunch],
        *,
        p50s_ns: Mapping[str, float],
        left_s: float,
    ) -> None:
        """Measure what the plan asks for.

        memory: readings of the same entries, to begin a search at.   p50s_ns: by contender, as far as it has one.
        left_s: of the budget.
        """
        if self._plan.operators is not False and self._plan.scenario.name == "single":
            self._profile(entries, p50s_ns, time.monotonic() + left_s)
        if self._plan.fit:
            self._measure_fits(entries, memory)
        StartLadder(self._launch, self.starts, save=self._save, trouble=self._trouble).climb(entries, self._plan.starts)
        if self._plan.energy_s is not None and energy.find(self._tree) is not None:
            for entry in entries:
                self._measure_energy(entry)
        if self._plan.sustained_s is not None:  # last: it leaves the machine hot
            cool = throttling.hottest_millicelsius(self._tree)
            for entry in entries:
                if cool is not None and entry is not entries[0]:
                    self._cool_down(entry, cool + fitness.WARMER_MILLICELSIUS)
                self._sustain(entry, self._plan.sustained_s)

    def _profile(self, entries: Sequence[Entry], p50s_ns: Mapping[str, float], end_s: float) -> None:
        profiles = OperatorProfiles(
            self._launch, machine_key=machine().key, threads=self._plan.threads, cpus=self._cpus, peaks=self.peaks
        )
        for entry in filter(has_profile, entries):
            p50_ns = p50s_ns.get(entry.name)
            if p50_ns is None:  # every round of it was dropped: there is nothing to scale a profile to
                continue
            if self._plan.operators is None and time.monotonic() + profiles.seconds(p50_ns) > end_s:
                return
            try:
                profiles.take(entry, p50_ns)
            except EdgeError as error:
                self._trouble(f"no operators of {entry.name}: {error}")
                continue
            found = profiles.found
            names = [one.contender for one in found]
            self.operators = [*(one for one in self.operators if one.contender not in names), *found]
            self.peaks = profiles.peaks
            self._save()

    def _measure_fits(self, entries: Sequence[Entry], memory: Sequence[MemoryLaunch]) -> None:
        try:
            with open_confinement(self._tree) as confinement:
                for entry in entries:
                    try:
                        fit = fitting.fit(
                            entry,
                            confinement,
                            self._launch_to_fit,
                            guess_bytes=_peak_bytes(memory, entry.name),
                            only=self._plan.fit_bytes,
                        )
                    except EdgeError as error:
                        self._trouble(f"no memory limit of {entry.name}: {error}")
                        continue
                    self.fits = [*(one for one in self.fits if one.contender != entry.name), fit]
                    self._save()
        except EdgeError as error:
            self._trouble(f"no memory limits: {error}")

    def _launch_to_fit(self, entry: Entry, timeout_s: float) -> Mapping[str, Mapping[str, Any]]:
        # one call after the other in every scenario, on one input: what is asked is whether it runs
        job = {"scenario": CLOSED_LOOP, "turns": {"count": 1}}
        return self._launch(entry, "time", job, told="fit", timeout_s=timeout_s)

    def _measure_energy(self, entry: Entry) -> None:
        try:
            events = self._launch(entry, "energy", timeout_s=LAUNCH_TIMEOUT_S)
        except EdgeError as error:
            self._trouble(f"no energy of {entry.name}: {error}")
            return
        if "energy" in events:
            told = {key: value for key, value in events["energy"].items() if key != "event"}
            reading = energy_of_worker({**told, "contender": entry.name}, where=entry.name)
            self.energy = [*(one for one in self.energy if one.contender != entry.name), reading]
            self._save()

    def _sustain(self, entry: Entry, total_s: float) -> None:
        windows: list[Window] = []
        others = [one for one in self.sustained if one.contender != entry.name]

        def heard(event: Mapping[str, Any]) -> None:
            if event.get("event") != "window":
                return
            if len(windows) == MAX_WINDOWS:
                raise WorkerLost("it tells windows without end", entry.name, "")
            windows.append(window_of_worker(event, where=entry.name))
            rate = self._plan.scenario.rate_per_s
            # at once: an interrupt keeps the windows that are done
            self.sustained = [*others, Sustained(contender=entry.name, rate_per_s=rate, windows=tuple(windows))]
            self._save()

        job = {"sustained": {"total_s": total_s, "window_s": min(WINDOW_S, total_s / LEAST_WINDOWS)}}
        try:
            told = self._launch(entry, "sustained", job, timeout_s=LAUNCH_TIMEOUT_S + total_s, heard=heard)
            if told.get("answers", {}).get("agree") is False:
                self._trouble(f"no sustained run of {entry.name}: it answers wrongly")
        except EdgeError as error:
            self._trouble(f"{entry.name}'s sustained run ended after {count(len(windows), 'window')}: {error}")

    def _cool_down(self, entry: Entry, limit_millicelsius: int) -> None:
        """Wait until the machine is about as cool as before the first long run, but not for ever."""
        deadline = time.monotonic() + COOLING_S
        while (now := throttling.hottest_millicelsius(self._tree)) is not None and now > limit_millicelsius:
            if time.monotonic() > deadline:
                self._trouble(
                    f"the sustained run of {entry.name} began at {now / 1000:.0f} °C, warmer than the first's"
                )
                return
            time.sleep(1)


def _peak_bytes(memory: Sequence[MemoryLaunch], name: str) -> int:
    peaks = [point.peak for one in memory if one.contender == name for point in one.points.values()]
    return max((peak for peak in peaks if peak is not None), default=fitting.GUESS_BYTES)
