"""Records made up, not measured: what a report shows of them is known to the digit."""

from collections.abc import Mapping

import numpy as np

from edge_runtime.environment import Conditions, Machine
from edge_runtime.measured import PHASES, Answers, MeasuredArtifact, MeasuredContender
from edge_runtime.record import Config, Record
from edge_runtime.samples import POINTS, Launch, MemoryLaunch
from edge_runtime.sensors import Memory

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
