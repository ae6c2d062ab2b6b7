"""One measurement as evidence: plan, raw samples, environment, warnings, as versioned JSON.

Statistics are not stored: `summary` computes them when a record is read. Kind "edge-record", schema 4;
older ones are upgraded step by step as they are read.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edge_runtime import decode, files, fits, measured, operators, peaks, starts, sustained, validity
from edge_runtime.environment import Machine
from edge_runtime.errors import RecordError
from edge_runtime.fits import Fit
from edge_runtime.measured import MeasuredContender
from edge_runtime.operators import OperatorTimes
from edge_runtime.peaks import Peaks
from edge_runtime.samples import (
    SINCE_3,
    EnergyLaunch,
    Launch,
    MemoryLaunch,
    launch_document,
    read_energy,
    read_launch,
    read_memory,
)
from edge_runtime.starts import Start
from edge_runtime.sustained import Sustained

KIND, SCHEMA = "edge-record", 4
MAX_BYTES = 64 * 2**20  # 15 launches of 5 contenders with 2,000 samples take 2 MB
MAX_LAUNCHES, MAX_CONTENDERS = 10_000, 100
SCENARIOS = ("single", "periodic", "offline", "server", "multi")
# "unfinished" is what a record kept after each launch says: the run was still going on, or was cut short
STOP_REASONS = ("rounds", "precision", "max_rounds", "budget", "invalid", "failed", "interrupted", "unfinished")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How it was measured. shapes: by input name, the sizes that were timed.

    margin: differences up to it count as none; at least 1.5 times the noise_floor, how far the machine's contenders
    are from themselves as a share, None where that was never calibrated.
    rate_per_s, target_ns, workers: of the scenarios periodic, server and multi, else None.
    inputs: how many different inputs took turns in a block.
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
    inputs: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One run, whole. sittings: how many times it was begun or resumed.

    starts, fits, operators, sustained: what else was asked for, empty where it was not.   peaks: the machine's, which
    operators are held against, None where they were not measured.   confirming_from: the round where a second batch
    began, to confirm a slower verdict; None where there was none.
    """

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
    starts: tuple[Start, ...] = ()
    fits: tuple[Fit, ...] = ()
    operators: tuple[OperatorTimes, ...] = ()
    peaks: Peaks | None = None
    sustained: tuple[Sustained, ...] = ()
    confirming_from: int | None = None
    stop_reason: str
    warnings: tuple[str, ...]

    def launches_of(self, name: str) -> tuple[Launch, ...]:
        """Return a contender's launches that count, in order of rounds: see `validity`."""
        return tuple(launch for launch in validity.counted(self.launches) if launch.contender == name)

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
            "launches": [launch_document(launch) for launch in self.launches],
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
            "starts": [starts.document(one) for one in self.starts],
            "fits": [asdict(one) for one in self.fits],
            "operators": [asdict(one) for one in self.operators],
            "peaks": None if self.peaks is None else asdict(self.peaks),
            "sustained": [asdict(one) for one in self.sustained],
            "confirming_from": self.confirming_from,
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
    if written < 4:  # noqa: PLR2004 - as above
        _upgrade_from_3(fields, config, launches)
    record = Record(
        created=fields.string("created", limit=40),
        command=fields.strings("command", limit=1000),
        seed=fields.optional("seed", fields.integer),
        machine=_machine(fields.child("machine")),
        board=fields.string("board", limit=500),
        sittings=fields.integer("sittings", low=1),
        config=_config(config),
        contenders=tuple(measured.contender(part) for part in contenders),
        launches=tuple(map(read_launch, launches)),
        memory=tuple(map(read_memory, fields.children("memory", limit=MAX_LAUNCHES))),
        energy=tuple(map(read_energy, fields.children("energy", limit=MAX_CONTENDERS))),
        starts=tuple(map(starts.read, fields.children("starts", limit=MAX_LAUNCHES))),
        fits=tuple(map(fits.read, fields.children("fits", limit=MAX_CONTENDERS))),
        operators=tuple(map(operators.read, fields.children("operators", limit=MAX_CONTENDERS))),
        peaks=fields.optional("peaks", lambda key: peaks.parse(fields.child(key))),
        sustained=tuple(map(sustained.read, fields.children("sustained", limit=MAX_CONTENDERS))),
        confirming_from=fields.optional("confirming_from", fields.integer),
        stop_reason=fields.string("stop_reason", choices=STOP_REASONS),
        warnings=fields.strings("warnings", limit=1000),
    )
    fields.finish()
    names = [contender.name for contender in record.contenders]
    if len(set(names)) != len(names):
        fields.refuse("contenders", "names one twice")
    for key in ("launches", "memory", "energy", "starts", "fits", "operators", "sustained"):
        strangers = [one.contender for one in getattr(record, key) if one.contender not in names]
        if strangers:
            fields.refuse(key, f"name {strangers[0][:80]!r}, which is no contender of this record")
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


def _upgrade_from_3(fields: decode.Fields, config: decode.Fields, launches: Iterable[decode.Fields]) -> None:
    """Add what schema 4 brought: measurements beside the rounds, and blocks in pieces, of which there were none."""
    for launch in launches:
        launch.supply("slices", [])
    config.supply("inputs", 1)
    for key in ("starts", "fits", "operators", "sustained"):
        fields.supply(key, [])
    fields.supply("peaks", None)
    fields.supply("confirming_from", None)


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
        inputs=fields.integer("inputs", low=1),
    )
    shapes.finish()
    fields.finish()
    return config
