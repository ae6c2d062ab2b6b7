"""How far apart one contender is from itself on a machine: below that, no difference is worth a verdict.

Measured by an A/A run (`edge bench --calibrate`), kept for each machine and thread count for `KEPT_DAYS`, and read by
every run on that machine: its margin is at least `SAFETY` times the floor.
"""

import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from edge_runtime import decode, files
from edge_runtime.errors import EdgeError
from edge_runtime.stats import Interval

KIND, SCHEMA = "edge-noise-floor", 1
MAX_BYTES = 4096
KEPT_DAYS = 30  # after which updates and dust have changed the machine (harness F6)
SAFETY = 1.5
ROUNDS = 10
TIME = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseFloor:
    """What an A/A run found. share: upper 95 % limit of the difference from itself.   created: UTC, as in records."""

    machine_key: str
    threads: int
    share: float
    rounds: int
    created: str

    @property
    def least_margin(self) -> float:
        """The smallest margin that this machine supports, as a share."""
        return SAFETY * self.share


def of_interval(ratio: Interval) -> float | None:
    """Return the noise floor that an A/A run's ratio shows, as a share; None where it has no interval.

    The upper 95 % limit of how far a contender is from itself: the interval's farther end, in logarithms.
    """
    if ratio.low is None or ratio.high is None:
        return None
    return max(ratio.high, 1 / ratio.low) - 1


def margin(wanted: float, floor: NoiseFloor | None) -> float:
    """Return the margin to judge by: what is wanted, and no less than the machine supports."""
    return wanted if floor is None else max(wanted, floor.least_margin)


def keep(folder: Path, floor: NoiseFloor) -> Path:
    """Keep a floor, in the place of an older one; raise Unwritable when the file system refuses."""
    path = _path(folder, floor.machine_key, floor.threads)
    with contextlib.suppress(OSError):  # what keeps the folder from being made keeps the file from being written
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    document = {
        "kind": KIND,
        "schema": SCHEMA,
        "machine_key": floor.machine_key,
        "threads": floor.threads,
        "share": floor.share,
        "rounds": floor.rounds,
        "created": floor.created,
    }
    files.write_whole(path, decode.as_json(document).encode())
    return path


def read(folder: Path, machine_key: str, threads: int, *, now: datetime | None = None) -> NoiseFloor | None:
    """Return the floor of a machine and thread count, or None: never measured, too old, from the future or damaged."""
    path = _path(folder, machine_key, threads)
    try:
        floor = parse(files.read_bytes(path, limit_bytes=MAX_BYTES), where=str(path))
        age = (now or datetime.now(UTC)) - datetime.strptime(floor.created, TIME).replace(tzinfo=UTC)
    except (EdgeError, ValueError):
        return None  # calibrated again and written anew
    right = (floor.machine_key, floor.threads) == (machine_key, threads)
    return floor if right and timedelta(0) <= age <= timedelta(days=KEPT_DAYS) else None


def parse(text: str | bytes, *, where: str) -> NoiseFloor:
    """Read a kept floor; raise InputError naming the field for anything amiss."""
    fields = decode.document(text, where=where)
    decode.envelope(fields, kind=KIND, schema=SCHEMA, what="noise floor")
    floor = NoiseFloor(
        machine_key=fields.string("machine_key", limit=64),
        threads=fields.integer("threads", low=1),
        share=fields.number("share", low=0),
        rounds=fields.integer("rounds", low=2),
        created=fields.string("created", limit=40),
    )
    fields.finish()
    return floor


def _path(folder: Path, machine_key: str, threads: int) -> Path:
    name = "".join(letter if letter.isalnum() else "-" for letter in machine_key)
    return folder / f"{name}-{threads}.json"
