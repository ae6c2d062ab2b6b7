"""Records made up, not measured: what a report shows of them is known to the digit."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from edge_runtime.environment import Conditions, Machine
from edge_runtime.fits import Fit, FitTry
from edge_runtime.measured import PHASES, Answers, MeasuredArtifact, MeasuredContender
from edge_runtime.operators import NodeTime, OperatorTimes
from edge_runtime.peaks import Peaks
from edge_runtime.record import Config, Record
from edge_runtime.samples import POINTS, Launch, MemoryLaunch
from edge_runtime.sensors import Memory
from edge_runtime.starts import EVICTED, WARM, Start
from edge_runtime.sustained import Sustained, Window

MIB = 2**20


def make_record(
    p50_us: Mapping[str, float] | None = None,
    *,
    wrong: tuple[str, ...] = (),
    rounds: int = 6,
    samples: int = 120,
    model: str = "digits",
    threads: int = 1,
    seed: int = 0,
) -> Record:
    """Return a record of contenders whose medians are near p50_us, with memory and a machine that has sensors."""
    random = np.random.default_rng(seed)
    known = p50_us or {"edge": 100.0, "torch": 400.0}
    artifact = MeasuredArtifact(name=model, sha256="ab" * 32, variant="fp32", bytes=3 * MIB)
    launches = []
    for number in range(rounds):
        order = list(known)[:: 1 if number % 2 else -1]
        for place, name in enumerate(order):
            block = known[name] * 1000 * random.normal(1, 0.003) * random.lognormal(0, 0.02, samples)
            block[0] *= 20
            at = Conditions(frequency_khz=1_800_000 - 1000 * number, temperature_millicelsius=50_000 + 100 * number)
            launches.append(
                Launch(
                    contender=name,
                    round=number,
                    order=place,
                    phases_ns={phase: 40_000_000 + index for index, phase in enumerate(PHASES)},
                    warmup_ns=(int(known[name] * 2000),) * 10,
                    block_ns=tuple(map(int, block)),
                    calls_per_sample=1,
                    cut=5,
                    steady=True,
                    before=at,
                    after=at,
                    valid=True,
                    reasons=(),
                )
            )
    memory = tuple(
        MemoryLaunch(
            contender=name,
            points={
                point: Memory(resident=m * MIB, proportional=m * MIB, private=m * MIB, peak=(m + 5) * MIB)
                for point, m in zip(POINTS, (30, 40, 42, 43), strict=True)
            },
            load_peak_bytes=12 * MIB,
            run_peak_bytes=14 * MIB,
        )
        for name in known
    )
    return Record(
        created="2026-01-01T00:00:00Z",
        command=("/somewhere/edge_runtime/__main__.py", "bench", "the digits.edge"),
        seed=1,
        machine=Machine(key="k" * 16, model="Board 5", cores=4, ram_bytes=4 * 2**30, kernel="6.1", libc="glibc 2.36"),
        board="local",
        config=Config(threads=threads, cpus=(0,), scenario="single", shapes={"x": (1, 3)}, precision=0.01, margin=0.02),
        contenders=tuple(
            MeasuredContender(
                name=name,
                engine="onnxruntime 1.32.0",
                artifact=artifact,
                answers=Answers(agree=name not in wrong, max_abs=1e-6, max_rel=1e-6, problem=""),
            )
            for name in known
        ),
        launches=tuple(launches),
        memory=memory,
        stop_reason="rounds",
        warnings=(),
    )


def with_everything(record: Record) -> Record:
    """Return the record with all that is measured only when it is asked for, made up for each of its contenders.

    Probes of 3 ms of which one launch's is 20 % slower; starts whose loading takes eight times as long when evicted; a
    smallest limit of 48 MiB; a profile of five nodes; ten minutes in which the clock falls by a third at half time.
    """
    names = [one.name for one in record.contenders]
    probed = [
        replace(one, probe_before_ns=3_000_000, probe_after_ns=3_600_000 if index == 2 else 3_030_000)
        for index, one in enumerate(record.launches)
    ]
    return replace(
        record,
        launches=tuple(probed),
        starts=tuple(start for name in names for start in _starts(name)),
        fits=tuple(_fit(name) for name in names),
        operators=tuple(_profile(name) for name in names),
        peaks=Peaks(
            threads=1,
            copy_bytes=2**27,
            copy_bytes_per_s=20 * 10**9,
            float32_operations_per_s=100 * 10**9,
            int8_operations_per_s=200 * 10**9,
        ),
        sustained=tuple(_ten_minutes(name, 1 + index) for index, name in enumerate(names)),
    )


def _starts(name: str) -> list[Start]:
    return [
        Start(
            contender=name,
            cache=cache,
            resident_share=share,
            phases_ns=dict(zip(PHASES, (30_000_000, 90_000_000, load, 5_000_000), strict=True)),
        )
        for cache, share, load in ((WARM, 1.0, 40_000_000), (EVICTED, 0.02, 320_000_000))
        for _ in range(3)
    ]


def _fit(name: str) -> Fit:
    tried = (
        FitTry(limit_bytes=96 * MIB, ran=True, p50_ns=100_000, reason=""),
        FitTry(limit_bytes=48 * MIB, ran=True, p50_ns=101_000, reason=""),
        FitTry(limit_bytes=24 * MIB, ran=False, p50_ns=None, reason="killed: out of memory"),
    )
    return Fit(contender=name, mechanism="cgroup", limit_bytes=48 * MIB, tried=tried)


def _profile(name: str) -> OperatorTimes:
    nodes = [
        NodeTime(name=f"/{index}/{kind}", operator=kind, calls=1, ns=ns, operations=work, bytes=moved, least_ns=least)
        for index, (kind, ns, work, moved, least) in enumerate(
            (
                ("Conv", 40_000, 3_000_000, 60_000, 30_000.0),
                ("Conv", 30_000, 1_500_000, 60_000, 15_000.0),
                ("Gemm", 20_000, 400_000, 200_000, 10_000.0),
                ("Relu", 5_000, 10_000, 80_000, 4_000.0),
                ("Reshape", 1_000, None, None, None),
            )
        )
    ]
    return OperatorTimes(contender=name, runs=50, p50_ns=100_000, profiled_ns=110_000, nodes=tuple(nodes))


def _ten_minutes(name: str, slowness: int) -> Sustained:
    minute = 60 * 10**9
    windows = [
        Window(
            begin_ns=index * minute,
            elapsed_ns=minute,
            calls=100_000,
            p50_ns=slowness * (150_000 if late else 100_000),
            p90_ns=slowness * (170_000 if late else 110_000),
            max_ns=slowness * 900_000,
            frequency_khz=1_200_000 if late else 1_800_000,
            temperature_millicelsius=50_000 + 4_000 * index,
            throttled=late,
        )
        for index in range(10)
        for late in (index >= 5,)
    ]
    return Sustained(contender=name, rate_per_s=None, windows=tuple(windows))
