"""One measurement as evidence: plan, raw samples, environment, warnings, as versioned JSON.

Statistics are not stored: `summary` computes them when a record is read. Kind "edge-record", schema 3;
older ones are upgraded step by step as they are read.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from dataclasses import fields as fields_of
from pathlib import Path
from typing import Any

from edge_runtime import decode, files, measured
from edge_runtime.environment import Conditions, Machine
from edge_runtime.errors import RecordError, WorkerLost
from edge_runtime.measured import PHASES, MeasuredContender
from edge_runtime.sensors import Memory

KIND, SCHEMA = "edge-record", 3
MAX_BYTES = 64 * 2**20  # 15 launches of 5 contenders with 2,000 samples take 2 MB
MAX_LAUNCHES, MAX_SAMPLES, MAX_CONTENDERS = 10_000, 1_000_000, 100
POINTS = ("base", "loaded", "first", "steady")
TERMS = ("batch", "rate_per_s", "worker", "proportional_bytes")  # of launches in other scenarios than single
SINCE_3 = (*TERMS, "probe_before_ns", "probe_after_ns")  # keys of a launch that schema 3 brought
SCENARIOS = ("single", "periodic", "offline", "server", "multi")
# of `Conditions`: whatever is a count, a time or a size
COUNTS = tuple(
    one.name
    for one in fields_of(Conditions)
    if one.name not in {"governor", "temperature_millicelsius", "undervoltage"}
)
# "unfinished" is what a record kept after each launch says: the run was still going on, or was cut short
STOP_REASONS = ("rounds", "precision", "max_rounds", "budget", "invalid", "failed", "interrupted", "unfinished")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How it was measured. shapes: by input name, the sizes that were timed.

    margin: differences up to it count as none; at least 1.5 times the noise_floor, how far the machine's contenders
    are from themselves as a share, None where that was never calibrated.
    rate_per_s, target_ns, workers: of the scenarios periodic, server and multi, else None.
    """

    threads: int
    cpus: tuple[int, ...]
    scenario: str
    shapes: Mapping[str, tuple[int, ...]]
    precision: float
    margin: float
    noise_floor: float | None = None
    rate_per_s: float | None = None
    target_ns: int | None = None
    workers: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One fresh process that loaded the artifact and timed one block; all times in nanoseconds.

    A launch whose worker was lost is not valid, has no phases and no samples, and its reasons say why.
    block_ns: one value a sample, each the time of a call (of a group of `calls_per_sample` divided by it); in the
    scenarios periodic and server it counts from when the call was due.
    cut: samples at its beginning that belong to the warm-up.   steady: whether the rest keeps its level; None where
    there are too few to tell. Both are `warmup.judge`'s, kept so that a record shows what its figures leave out.
    batch: the size, in the scenario offline.   rate_per_s: the largest that met the target, in the scenario server, 0
    where none did.   worker: which of the processes at once, in the scenario multi, and proportional_bytes: its Pss
    after the block.   probe_before_ns, probe_after_ns: what a fixed piece of work took around the block
    (`spin_probe`).
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

    @property
    def steady_ns(self) -> tuple[int, ...]:
        """The samples after the warm-up: what every figure of latency is computed from."""
        return self.block_ns[self.cut or 0 :]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One run, whole. sittings: how many times it was begun or resumed."""

    created: str
    command: tuple[str, ...]
    seed: int | None
    machine: Machine
    board: str
    sittings: int = 1
    config: Config
    contenders: tuple[MeasuredContender, ...]
    launches: tuple[Launch, ...]
    memory: tuple[MemoryLaunch, ...]
    energy: tuple[EnergyLaunch, ...] = ()
    stop_reason: str
    warnings: tuple[str, ...]

    def launches_of(self, name: str) -> tuple[Launch, ...]:
        """Return a contender's valid launches, in order of rounds."""
        return tuple(launch for launch in self.launches if launch.contender == name and launch.valid)

    def to_document(self) -> dict[str, Any]:
        """Return the JSON document, as it is stored."""
        return {
            "kind": KIND,
            "schema": SCHEMA,
            "created": self.created,
            "command": list(self.command),
            "seed": self.seed,
            "machine": asdict(self.machine),
            "board": self.board,
            "sittings": self.sittings,
            "config": {
                **asdict(replace(self.config, shapes={})),
                "cpus": list(self.config.cpus),
                "shapes": {name: list(shape) for name, shape in self.config.shapes.items()},
            },
            "contenders": [asdict(contender) for contender in self.contenders],
            "launches": [_launch_document(launch) for launch in self.launches],
            "memory": [
                {
                    "contender": reading.contender,
                    "points": {name: asdict(point) for name, point in reading.points.items()},
                    "load_peak_bytes": reading.load_peak_bytes,
                    "run_peak_bytes": reading.run_peak_bytes,
                }
                for reading in self.memory
            ],
            "energy": [asdict(reading) for reading in self.energy],
            "stop_reason": self.stop_reason,
            "warnings": list(self.warnings),
        }

    def save(self, path: Path) -> None:
        """Write the record whole or not at all; raises Unwritable."""
        files.write_whole(path, decode.as_json(self.to_document()).encode())


def load_record(path: str | Path) -> Record:
    """Read a record strictly; raises RecordError for anything that is not one this version can read."""
    content = files.read_bytes(Path(path), limit_bytes=MAX_BYTES, error=RecordError)
    return parse(content, where=str(path))


def parse(text: str | bytes, *, where: str) -> Record:
    """Read a record from JSON text; raises RecordError naming `where` and the field."""
    fields = decode.document(text, where=where, error=RecordError)
    fields.leave("summary")  # what `--json` adds on stdout, and people redirect into a file: it is computed anew
    written = decode.envelope(fields, kind=KIND, schema=SCHEMA, what="record")
    config, launches = fields.child("config"), fields.children("launches", limit=MAX_LAUNCHES)
    contenders = fields.children("contenders", limit=MAX_CONTENDERS)
    if written < 2:  # noqa: PLR2004 - the schema that brought it
        _upgrade_from_1(fields, config)
    if written < 3:  # noqa: PLR2004 - as above
        _upgrade_from_2(config, launches)
        for part in contenders:
            measured.upgrade_from_2(part)
    record = Record(
        created=fields.string("created", limit=40),
        command=fields.strings("command", limit=1000),
        seed=fields.optional("seed", fields.integer),
        machine=_machine(fields.child("machine")),
        board=fields.string("board", limit=500),
        sittings=fields.integer("sittings", low=1),
        config=_config(config),
        contenders=tuple(measured.contender(part) for part in contenders),
        launches=tuple(map(_launch, launches)),
        memory=tuple(_memory_launch(part) for part in fields.children("memory", limit=MAX_LAUNCHES)),
        energy=tuple(_energy_launch(part) for part in fields.children("energy", limit=MAX_CONTENDERS)),
        stop_reason=fields.string("stop_reason", choices=STOP_REASONS),
        warnings=fields.strings("warnings", limit=1000),
    )
    fields.finish()
    names = [contender.name for contender in record.contenders]
    if len(set(names)) != len(names):
        fields.refuse("contenders", "names one twice")
    told = (record.launches, record.memory, record.energy)
    for name in (one.contender for part in told for one in part):
        if name not in names:
            fields.refuse("launches", f"name {name[:80]!r}, which is no contender of this record")
    return record


def _upgrade_from_1(fields: decode.Fields, config: decode.Fields) -> None:
    """Add what schema 2 brought."""
    fields.supply("sittings", 1)
    config.supply("noise_floor", None)


def _upgrade_from_2(config: decode.Fields, launches: Iterable[decode.Fields]) -> None:
    """Add what schema 3 brought: the terms of scenarios; until then there was one, single, which has none."""
    for key in ("rate_per_s", "target_ns", "workers"):
        config.supply(key, None)
    for launch in launches:
        for key in SINCE_3:
            launch.supply(key, None)


def launch_of_worker(document: Mapping[str, Any], *, where: str) -> Launch:
    """Read a launch as a worker told it; raises WorkerLost when it is not what a worker says."""
    return _launch(decode.Fields(document, where, "timing", WorkerLost))


def memory_of_worker(document: Mapping[str, Any], *, where: str) -> MemoryLaunch:
    """Read a memory launch as a worker told it; raises WorkerLost when it is not what a worker says."""
    return _memory_launch(decode.Fields(document, where, "memory", WorkerLost))


def energy_of_worker(document: Mapping[str, Any], *, where: str) -> EnergyLaunch:
    """Read an energy launch as a worker told it; raises WorkerLost when it is not what a worker says."""
    return _energy_launch(decode.Fields(document, where, "energy", WorkerLost))


def _machine(fields: decode.Fields) -> Machine:
    machine = Machine(
        key=fields.string("key", limit=64),
        model=fields.string("model", limit=500),
        cores=fields.integer("cores", low=1),
        ram_bytes=fields.optional("ram_bytes", fields.integer),
        kernel=fields.string("kernel", limit=500),
        libc=fields.optional("libc", fields.string),
    )
    fields.finish()
    return machine


def _config(fields: decode.Fields) -> Config:
    shapes = fields.child("shapes")
    config = Config(
        threads=fields.integer("threads", low=1),
        cpus=fields.integers("cpus", limit=4096),
        scenario=fields.string("scenario", choices=SCENARIOS),
        shapes={name: shapes.integers(name, limit=32) for name in shapes.names()},
        precision=fields.number("precision", low=0),
        margin=fields.number("margin", low=0),
        noise_floor=fields.optional("noise_floor", lambda key: fields.number(key, low=0)),
        rate_per_s=fields.optional("rate_per_s", lambda key: fields.number(key, low=0)),
        target_ns=fields.optional("target_ns", lambda key: fields.integer(key, low=1)),
        workers=fields.optional("workers", lambda key: fields.integer(key, low=1)),
    )
    shapes.finish()
    fields.finish()
    return config


def _launch(fields: decode.Fields) -> Launch:
    phases, environment = fields.child("phases_ns"), fields.child("environment")
    valid = fields.boolean("valid")
    launch = Launch(
        contender=fields.string("contender", limit=200),
        round=fields.integer("round"),
        order=fields.integer("order"),
        phases_ns={name: phases.integer(name) for name in PHASES if valid},
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


def _energy_launch(fields: decode.Fields) -> EnergyLaunch:
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


def _memory_launch(fields: decode.Fields) -> MemoryLaunch:
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


def _launch_document(launch: Launch) -> dict[str, Any]:
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
    }
