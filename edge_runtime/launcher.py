"""How a measurement starts its workers: the job that each gets of the same plan, CPUs and inputs."""

import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

from edge_runtime.array_shapes import array_shapes
from edge_runtime.artifact import case_shapes
from edge_runtime.launch import Crew, Heard, Worker, run_worker
from edge_runtime.plan import LAUNCH_TIMEOUT_S, SEED, Entry, Plan

NOTHING: Mapping[str, Any] = MappingProxyType({})


class Launcher:
    """Starts workers of one measurement, alike for every contender.

    cpus: those that each worker is bound to.   inputs: an ``.npz`` of what is timed, None for the first golden case.
    root: where the files are that tell of limits and energy.
    """

    def __init__(self, plan: Plan, *, cpus: Sequence[int], inputs: Path | None, root: Path) -> None:
        self._plan, self._cpus, self._inputs, self._root = plan, tuple(cpus), inputs, root

    def launch(
        self,
        entry: Entry,
        kind: str,
        more: Mapping[str, Any] = NOTHING,
        *,
        timeout_s: float = LAUNCH_TIMEOUT_S,
        heard: Heard = lambda _: None,
        crew: Crew | None = None,
    ) -> dict[str, dict[str, Any]]:
        """Start one worker of an entry and return what it told, by event.

        kind: of job, see `worker`.   more: what this job has besides, or otherwise than the plan says; "seed" draws
        what is random in it.   heard, crew: as of `launch.run_worker`. Raises what that raises.
        """
        job = self._job(entry, kind, more)
        threads = self._plan.threads
        return run_worker(entry.command, job, threads=threads, timeout_s=timeout_s, heard=heard, crew=crew)

    def start(self, entry: Entry, kind: str, more: Mapping[str, Any] = NOTHING) -> Worker:
        """Start one worker of an entry that stays alive until it is asked to go on; as `launch` otherwise."""
        job = self._job(entry, kind, more)
        return Worker(entry.command, job, threads=self._plan.threads, timeout_s=LAUNCH_TIMEOUT_S)

    def _job(self, entry: Entry, kind: str, more: Mapping[str, Any]) -> dict[str, Any]:
        plan, other = self._plan, dict(more)
        return {
            "kind": kind,
            "contender": entry.contender,
            "artifact": str(entry.artifact.path.resolve()),
            "variant": entry.variant,
            "threads": plan.threads,
            "cpus": list(self._cpus),
            "options": dict(entry.options),
            "timed": None if entry.timed is None else str(entry.timed.path.resolve()),
            "inputs": None if self._inputs is None else str(self._inputs.resolve()),
            "turns": {"seed": SEED, "most": max(plan.scenario.batches, default=None)},
            "block": asdict(plan.block),
            "energy_s": plan.energy_s,
            "root": str(self._root),
            "scenario": {
                "rate_per_s": plan.scenario.rate_per_s,
                "target_ns": plan.scenario.target_ns,
                "seed": other.pop("seed", 0),
            },
            **other,
        }

    def launch_at_once(
        self, entry: Entry, kind: str, count: int, more: Mapping[str, Any] = NOTHING
    ) -> list[dict[str, dict[str, Any]]]:
        """Start so many workers of one entry, whose blocks begin together; return what each told.

        Raises what the first that fails raises, or KeyboardInterrupt, without waiting for the others: they are ended.
        """
        threads, crew = self._plan.threads, Crew()
        with tempfile.TemporaryDirectory(prefix="edge-start-") as folder, ThreadPoolExecutor(count) as pool:
            barrier = {"folder": folder, "count": count, "timeout_s": LAUNCH_TIMEOUT_S / 2}
            shares = [self._cpus[index * threads :][:threads] for index in range(count)]
            # with fewer CPUs than that, all share all: what happens then is what is asked
            cpus = shares if all(len(share) == threads for share in shares) else [self._cpus] * count
            try:
                running = [
                    pool.submit(self.launch, entry, kind, {**more, "barrier": barrier, "cpus": list(own)}, crew=crew)
                    for own in cpus
                ]
                for one in wait(running, return_when=FIRST_EXCEPTION).done:
                    one.result()
                return [one.result() for one in running]
            except BaseException:
                crew.end()
                raise

    def shapes(self, entry: Entry) -> dict[str, tuple[int, ...]]:
        """Return the shapes of what is timed, by input name; without numpy, see `array_shapes`."""
        if self._inputs is not None:
            return array_shapes(self._inputs)
        return case_shapes(entry.artifact, entry.artifact.variant(entry.variant))
