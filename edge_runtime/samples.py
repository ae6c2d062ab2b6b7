"""What launches told: raw samples of a block, memory by phases, energy; and reading them, strictly, from JSON.

A record is made of these (`record`). From files and from workers alike they are untrusted until read here.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from dataclasses import fields as fields_of
from itertools import accumulate, pairwise
from typing import Any

from edge_runtime import decode
from edge_runtime.environment import Conditions
from edge_runtime.errors import WorkerLost
from edge_runtime.measured import PHASES
from edge_runtime.sensors import Memory

MAX_SAMPLES = 1_000_000
POINTS = ("base", "loaded", "first", "steady")
TERMS = ("batch", "rate_per_s", "worker", "proportional_bytes")  # of launches in other scenarios than single
SINCE_3 = (*TERMS, "probe_before_ns", "probe_after_ns")  # keys of a launch that schema 3 brought
MAX_SLICES = 10_000
# of `Conditions`: whatever is a count, a time or a size
COUNTS = tuple(
    one.name
    for one in fields_of(Conditions)
    if one.name not in {"governor", "temperature_millicelsius", "undervoltage"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One fresh process that loaded the artifact and timed one block; all times in nanoseconds.

    A launch that is not valid counts for nobody, and its reasons say why. Where the machine was not fit, its samples
    are kept as evidence; where its worker was lost it has no phases and no samples.
    block_ns: one value a sample, each the time of a call (of a group of `calls_per_sample` divided by it); in the
    scenarios periodic and server it counts from when the call was due.
    cut: samples at its beginning that belong to the warm-up.   steady: whether the rest keeps its level; None where
    there are too few to tell. Both are `warmup.judge`'s, kept so that a record shows what its figures leave out.
    batch: the size, in the scenario offline.   rate_per_s: the largest that met the target, in the scenario server, 0
    where none did.   worker: which of the processes at once, in the scenario multi, and proportional_bytes: its Pss
    after the block.   slices: how many samples each piece of the block has, where all contenders of a round took turns
    piece by piece; empty where the block was taken in one.   probe_before_ns, probe_after_ns: what a fixed piece of
    work took around the block (`spin_probe`).
    """

    contender: str
    round: int
    order: int
    phases_ns: Mapping[str, int]
    warmup_ns: tuple[int, ...]
    block_ns: tuple[int, ...]
    calls_per_sample: int
    cut: int | None
    steady: bool | None
    before: Conditions
    after: Conditions
    valid: bool
    reasons: tuple[str, ...]
    batch: int | None = None
    rate_per_s: float | None = None
    worker: int | None = None
    proportional_bytes: int | None = None
    probe_before_ns: int | None = None
    probe_after_ns: int | None = None
    slices: tuple[int, ...] = ()

    @property
    def steady_ns(self) -> tuple[int, ...]:
        """The samples after the warm-up: what every figure of latency is computed from."""
        return self.block_ns[self.cut or 0 :]

    @property
    def pieces(self) -> tuple[tuple[int, ...], ...]:
        """The samples of a block taken in several pieces, piece by piece; what of them was warm-up is among them."""
        ends = tuple(accumulate(self.slices))
        return tuple(self.block_ns[begin:end] for begin, end in pairwise((0, *ends)))


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryLaunch:
    """Memory by phases, from a launch of its own; peaks are above the resident base."""

    contender: str
    points: Mapping[str, Memory]
    load_peak_bytes: int | None
    run_peak_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyLaunch:
    """Energy from a launch of its own: the loaded engine at rest, then call after call.

    rail: what the meter measures.   calls: made within block_ns.   samples: readings of the meter within the block.
    """

    contender: str
    rail: str
    calls: int
    idle_ns: int
    idle_uj: int
    block_ns: int
    block_uj: int
    samples: int


def launch_of_worker(document: Mapping[str, Any], *, where: str) -> Launch:
    """Read a launch as a worker told it; raises WorkerLost when it is not what a worker says."""
    return read_launch(decode.Fields(document, where, "timing", WorkerLost))


def memory_of_worker(document: Mapping[str, Any], *, where: str) -> MemoryLaunch:
    """Read a memory launch as a worker told it; raises WorkerLost when it is not what a worker says."""
    return read_memory(decode.Fields(document, where, "memory", WorkerLost))


def energy_of_worker(document: Mapping[str, Any], *, where: str) -> EnergyLaunch:
    """Read an energy launch as a worker told it; raises WorkerLost when it is not what a worker says."""
    return read_energy(decode.Fields(document, where, "energy", WorkerLost))


def read_launch(fields: decode.Fields) -> Launch:
    """Read a launch of a record."""
    phases, environment = fields.child("phases_ns"), fields.child("environment")
    valid = fields.boolean("valid")
    launch = Launch(
        contender=fields.string("contender", limit=200),
        round=fields.integer("round"),
        order=fields.integer("order"),
        phases_ns={name: phases.integer(name) for name in PHASES if valid or phases.has(name)},
        warmup_ns=fields.integers("warmup_ns", limit=MAX_SAMPLES),
        block_ns=fields.integers("block_ns", limit=MAX_SAMPLES, low=1),
        calls_per_sample=fields.integer("calls_per_sample", low=1),
        cut=fields.optional("cut", fields.integer),
        steady=fields.optional("steady", fields.boolean),
        before=_conditions(environment.child("before")),
        after=_conditions(environment.child("after")),
        valid=valid,
        reasons=fields.strings("reasons", limit=100),
        batch=fields.optional("batch", lambda key: fields.integer(key, low=1)),
        rate_per_s=fields.optional("rate_per_s", lambda key: fields.number(key, low=0)),
        worker=fields.optional("worker", fields.integer),
        proportional_bytes=fields.optional("proportional_bytes", fields.integer),
        probe_before_ns=fields.optional("probe_before_ns", lambda key: fields.integer(key, low=1)),
        probe_after_ns=fields.optional("probe_after_ns", lambda key: fields.integer(key, low=1)),
        slices=fields.integers("slices", limit=MAX_SLICES, low=1),
    )
    for part in (phases, environment, fields):
        part.finish()
    if launch.valid and not launch.block_ns:
        fields.refuse("block_ns", "is empty in a valid launch")
    if launch.cut and launch.cut >= len(launch.block_ns):
        fields.refuse("cut", f"leaves none of the {len(launch.block_ns)} samples")
    return launch


def _conditions(fields: decode.Fields) -> Conditions:
    found = Conditions(
        governor=fields.optional("governor", fields.string),
        temperature_millicelsius=fields.optional(
            "temperature_millicelsius", lambda key: fields.integer(key, low=-300_000, high=10_000_000)
        ),
        undervoltage=fields.optional("undervoltage", fields.boolean),
        **{name: fields.optional(name, fields.integer) for name in COUNTS},
    )
    fields.finish()
    return found


def read_energy(fields: decode.Fields) -> EnergyLaunch:
    """Read an energy launch of a record."""
    reading = EnergyLaunch(
        contender=fields.string("contender", limit=200),
        rail=fields.string("rail", limit=500),
        calls=fields.integer("calls", low=1),
        idle_ns=fields.integer("idle_ns", low=1),
        idle_uj=fields.integer("idle_uj"),
        block_ns=fields.integer("block_ns", low=1),
        block_uj=fields.integer("block_uj"),
        samples=fields.integer("samples", low=2),
    )
    fields.finish()
    return reading


def read_memory(fields: decode.Fields) -> MemoryLaunch:
    """Read a memory launch of a record."""
    points = fields.child("points")
    reading = MemoryLaunch(
        contender=fields.string("contender", limit=200),
        points={name: _memory(points.child(name)) for name in POINTS},
        load_peak_bytes=fields.optional("load_peak_bytes", fields.integer),
        run_peak_bytes=fields.optional("run_peak_bytes", fields.integer),
    )
    points.finish()
    fields.finish()
    return reading


def _memory(fields: decode.Fields) -> Memory:
    reading = Memory(
        resident=fields.optional("resident", fields.integer),
        proportional=fields.optional("proportional", fields.integer),
        private=fields.optional("private", fields.integer),
        peak=fields.optional("peak", fields.integer),
    )
    fields.finish()
    return reading


def launch_document(launch: Launch) -> dict[str, Any]:
    """Return a launch's JSON document, as it is stored."""
    return {
        "contender": launch.contender,
        "round": launch.round,
        "order": launch.order,
        "phases_ns": dict(launch.phases_ns),
        "warmup_ns": list(launch.warmup_ns),
        "block_ns": list(launch.block_ns),
        "calls_per_sample": launch.calls_per_sample,
        "cut": launch.cut,
        "steady": launch.steady,
        "environment": {"before": asdict(launch.before), "after": asdict(launch.after)},
        "valid": launch.valid,
        "reasons": list(launch.reasons),
        **{name: getattr(launch, name) for name in SINCE_3},
        "slices": list(launch.slices),
    }
