"""The line of a figure over records, with its steps.

Record files are the truth; `edge-history.sqlite` beside them only spares reading them again. It is made anew when it is
missing, damaged or of another version, and a record that changed on disk is read again.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench import steps
from bench.errors import NoHistory
from bench.suspicion import Flag, Suspicion, suspicions
from edge_runtime import summary
from edge_runtime.errors import RecordError
from edge_runtime.record import Record, load_record
from edge_runtime.stats import Interval

KIND, SCHEMA, INDEX = "edge-history", 1, "edge-history.sqlite"
EVERY = "SELECT * FROM figures ORDER BY created, path"
VERSION = 2  # of the index: another one is thrown away and made anew
LATELY = 60  # points of a line that are looked at for suspicions
TIMES = ("p50", "p90", "cold_start")  # figures that a machine's state moves
METRICS = ("p50", "p90", "cold_start", "total_peak", "model_steady")
FIGURES = (
    "created",
    "model",
    "contender",
    "variant",
    "setting",
    "machine",
    "engine",
    "artifact",
    "kernel",
    "governor",
    "margin",
)
COLUMNS = (*FIGURES, *(f"{name}{part}" for name in METRICS for part in ("", "_low", "_high")))
EXPLAINS = ("engine: ", "artifact: ")  # marks after which a step is the software's own
MARKS = ("engine", "artifact", "kernel", "governor")  # what breaks a line softly: shown, never a line of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One record's figure. marks: what is not as it was in the record before."""

    path: str
    created: str
    value: float
    low: float | None
    high: float | None
    marks: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One contender on one model in one setting (machine, threads, scenario, shapes), in order of time."""

    model: str
    contender: str
    setting: str
    points: tuple[Point, ...]
    segments: tuple[steps.Segment, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What `history` found. unread: files that are no records, each with the reason.

    suspicions: when a machine of these lines moved the figures of several lines, of this or other artifacts, one way.
    """

    name: str
    metric: str
    lines: tuple[Line, ...]
    suspicions: tuple[Suspicion, ...]
    unread: tuple[str, ...]

    def to_document(self) -> dict[str, Any]:
        """Return the JSON document that ``edge history --json`` prints."""
        return {"kind": KIND, "schema": SCHEMA, **asdict(self)}


def history(
    name: str, folder: Path, *, metric: str = "p50", contender: str | None = None, margin: float | None = None
) -> History:
    """Return the lines of one artifact's figure over the records below a folder.

    margin: steps up to it count as none; the largest of the records' own when None.
    Raises NoHistory when no record there has that artifact.
    """
    every, unread = _indexed(folder)
    rows = [
        row
        for row in every
        if row["model"] == name and row[metric] is not None and contender in {None, row["contender"]}
    ]
    if not rows:
        raise NoHistory(
            f"no record of {name!r} with a {metric}", str(folder), "name the folder that edge bench -o writes to"
        )
    lines = []
    for key in dict.fromkeys((row["contender"], row["setting"]) for row in rows):
        own = [row for row in rows if (row["contender"], row["setting"]) == key]
        lines.append(_line(own, metric, max(row["margin"] for row in own) if margin is None else margin))
    machines = {row["machine"] for row in rows}
    flags = [flag for flag in _flags(every, margin) if flag.machine in machines]
    return History(name=name, metric=metric, lines=tuple(lines), suspicions=suspicions(flags), unread=tuple(unread))


def _flags(rows: Sequence[sqlite3.Row], margin: float | None) -> Iterator[Flag]:
    """Yield the steps of every line of times that neither another engine nor another artifact explains."""
    lines: dict[tuple[str, str, str], list[sqlite3.Row]] = {}
    for row in rows:
        lines.setdefault((row["model"], row["contender"], row["setting"]), []).append(row)
    for (model, contender, _), own in lines.items():
        for metric in TIMES:
            known = [row for row in own if row[metric] is not None][-LATELY:]
            if len(known) < 2 * steps.MIN_SEGMENT:
                continue
            line = _line(known, metric, max(row["margin"] for row in known) if margin is None else margin)
            for before, after in pairwise(line.segments):
                point, when = line.points[after.start], _moment(line.points[after.start].created)
                if when is not None and not any(mark.startswith(EXPLAINS) for mark in point.marks):
                    machine = known[after.start]["machine"]
                    yield Flag(when, machine, f"{model}, {contender}, {metric}", after.level > before.level)


def _moment(created: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(created)
    except ValueError:  # what a record says of itself is anyone's text
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def lines(records: Sequence[tuple[str, Record]], *, metric: str = "p50") -> tuple[Line, ...]:
    """Return the lines of a figure over records that are there already, of every model, with the names of their files.

    Steps up to the largest margin of a line's records count as none.
    """
    rows = [dict(zip(("path", *COLUMNS), row, strict=True)) for path, record in records for row in _rows(record, path)]
    known = sorted((row for row in rows if row[metric] is not None), key=lambda row: (row["created"], row["path"]))
    found: dict[tuple[str, ...], list[sqlite3.Row | dict[str, Any]]] = {}
    for row in known:
        found.setdefault((row["model"], row["contender"], row["setting"]), []).append(row)
    return tuple(_line(own, metric, max(row["margin"] for row in own)) for own in found.values())


def _line(rows: Sequence[sqlite3.Row | dict[str, Any]], metric: str, margin: float) -> Line:
    points = tuple(
        Point(
            path=row["path"],
            created=row["created"],
            value=row[metric],
            low=row[f"{metric}_low"],
            high=row[f"{metric}_high"],
            marks=()
            if before is None
            else tuple(f"{mark}: {before[mark]} → {row[mark]}" for mark in MARKS if before[mark] != row[mark]),
        )
        for before, row in zip((None, *rows), rows, strict=False)
    )
    return Line(
        model=rows[0]["model"],
        contender=rows[0]["contender"],
        setting=rows[0]["setting"],
        points=points,
        segments=steps.segments([point.value for point in points], _weights(points), margin=margin),
    )


def _weights(points: Sequence[Point]) -> list[float]:
    """Return one over the width of each interval, within a factor of ten, since a lucky width is no certainty."""
    widths = [None if p.low is None or p.high is None else (p.high - p.low) / p.value for p in points]
    known = sorted(width for width in widths if width)
    if not known:
        return [1.0] * len(points)
    middle = known[len(known) // 2]
    return [min(10.0, max(0.1, middle / width)) if width else 0.1 for width in widths]


def _indexed(folder: Path) -> tuple[list[sqlite3.Row], list[str]]:
    try:
        with closing(_opened(folder)) as index:
            unread = _refresh(index, folder)
            return index.execute(EVERY).fetchall(), unread
    except sqlite3.DatabaseError as problem:
        if isinstance(problem, sqlite3.OperationalError) and not (folder / INDEX).exists():
            raise
        (folder / INDEX).unlink(missing_ok=True)  # damaged: the records are the truth
    with closing(_opened(folder)) as index:
        unread = _refresh(index, folder)
        return index.execute(EVERY).fetchall(), unread


def _opened(folder: Path) -> sqlite3.Connection:
    if not folder.is_dir():
        raise NoHistory("no such folder", str(folder), "name the folder that edge bench -o writes to")
    try:
        index = sqlite3.connect(folder / INDEX)
        index.execute("PRAGMA user_version").fetchone()
    except sqlite3.OperationalError:
        index = sqlite3.connect(":memory:")  # a folder that can't be written: read all of it each time
    index.row_factory = sqlite3.Row
    (version,) = index.execute("PRAGMA user_version").fetchone()
    if version != VERSION:
        index.executescript("DROP TABLE IF EXISTS figures; DROP TABLE IF EXISTS read;")
        index.execute(f"CREATE TABLE figures (path, {', '.join(COLUMNS)})")
        index.execute("CREATE TABLE read (path PRIMARY KEY, bytes, mtime_ns, problem)")
        index.execute(f"PRAGMA user_version = {VERSION}")
        index.commit()
    return index


def _refresh(index: sqlite3.Connection, folder: Path) -> list[str]:
    known = {row["path"]: row for row in index.execute("SELECT * FROM read")}
    found = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*.json")) if path.is_file()}
    with index:
        for gone in known.keys() - found.keys():
            _forget(index, gone)
        for relative, path in found.items():
            stat = path.stat()
            old = known.get(relative)
            if old is not None and (old["bytes"], old["mtime_ns"]) == (stat.st_size, stat.st_mtime_ns):
                continue
            _forget(index, relative)
            problem = ""
            try:
                rows = _rows(load_record(path), relative)
            except RecordError as error:
                rows, problem = [], error.what
            index.executemany(f"INSERT INTO figures VALUES ({', '.join('?' * (len(COLUMNS) + 1))})", rows)  # noqa: S608 - question marks
            index.execute("INSERT INTO read VALUES (?, ?, ?, ?)", (relative, stat.st_size, stat.st_mtime_ns, problem))
    return [
        f"{row['path']}: {row['problem']}"
        for row in index.execute("SELECT * FROM read WHERE problem != '' ORDER BY path")
    ]


def _forget(index: sqlite3.Connection, path: str) -> None:
    index.execute("DELETE FROM figures WHERE path = ?", (path,))
    index.execute("DELETE FROM read WHERE path = ?", (path,))


def _rows(record: Record, path: str) -> list[tuple[Any, ...]]:
    config = record.config
    shapes = ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in sorted(config.shapes.items()))
    governors = sorted({launch.before.governor or "unknown" for launch in record.launches})
    rows = []
    for standing in summary.standings(record):
        one, latency, memory = standing.contender, standing.latency, standing.memory
        if not one.ranked:
            continue
        setting = (
            f"{record.machine.model} ({record.machine.key}), {config.threads} threads, {config.scenario}, {shapes}"
        )
        figures: tuple[Interval | None, ...] = (
            latency.p50 if latency else None,
            latency.p90 if latency else None,
            standing.cold_start_ns,
            *(
                None if memory is None or value is None else Interval(value, None, None)
                for value in ((memory.total_peak, memory.model_steady) if memory else (None, None))
            ),
        )
        rows.append(
            (
                path,
                record.created,
                one.artifact.name,
                one.name,
                one.artifact.variant,
                f"{setting}, {one.artifact.variant}",
                record.machine.key,
                one.engine,
                one.artifact.sha256[:12],
                record.machine.kernel,
                ", ".join(governors),
                config.margin,
                *(part for f in figures for part in ((f.estimate, f.low, f.high) if f else (None, None, None))),
            )
        )
    return rows
