"""A budget file, read strictly: which figure of which contender may be how large.

::

    [[budget]]
    model = "digits"          # patterns as of a shell; what is left out matches all
    board = "local"           # also: variant, scenario, threads, contender (otherwise "edge")
    metric = "p99"
    max = "30 ms"             # absolute
    confidence = 0.99         # of p99; otherwise 0.95

    [[budget]]
    metric = "p50"
    than = "torch"            # relative to another contender of the same record ...
    min_speedup = 2.0

    [[budget]]
    metric = "p50"
    max_growth = "5 %"        # ... or to the record given with --baseline
"""

import re
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from bench.errors import BudgetError
from edge_runtime import decode, files
from edge_runtime.measured import MeasuredContender
from edge_runtime.record import Record

MAX_BYTES, MAX_RULES = 2**20, 1000
UNITS = {
    "ns": {"ns": 1.0, "us": 1e3, "ms": 1e6, "s": 1e9},
    "bytes": {"B": 1.0, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30, "kB": 1e3, "MB": 1e6, "GB": 1e9},
    "uJ": {"uJ": 1.0, "mJ": 1e3, "J": 1e6},
    "": {"": 1.0},
}
# what can be limited, and the unit it is in
METRICS = {
    "p50": "ns",
    "p90": "ns",
    "p99": "ns",
    "mean": "ns",
    "cold_start": "ns",
    "start_warm": "ns",
    "start_evicted": "ns",
    "total_peak": "bytes",
    "model_steady": "bytes",
    "resident": "bytes",
    "fit": "bytes",
    "file_size": "bytes",
    "energy": "uJ",
    "max_abs": "",
}
RELATIVE = ("p50", "cold_start")  # what `edge compare` has intervals for; sizes are compared as they are
EXACT = ("total_peak", "model_steady", "resident", "file_size")
PATTERNS = ("board", "model", "variant", "scenario", "contender")
AMOUNT = re.compile(r"([0-9]+(?:\.[0-9]+)?(?:e-?[0-9]+)?) ?([A-Za-z%]*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One limit. Exactly one of limit, min_speedup and max_growth is not None.

    limit: in the metric's unit.   min_speedup: over the contender `than`.   max_growth: a share of the baseline's.
    """

    number: int
    board: str = "*"
    model: str = "*"
    variant: str = "*"
    scenario: str = "*"
    contender: str = "edge"
    threads: int | None = None
    metric: str
    limit: float | None = None
    confidence: float = 0.95
    than: str | None = None
    min_speedup: float | None = None
    max_growth: float | None = None

    def matches(self, record: Record, one: MeasuredContender) -> bool:
        """Return whether this rule is about that contender; a board goes by its name or its machine's model."""
        return (
            any(fnmatchcase(name, self.board) for name in (record.board, record.machine.model))
            and fnmatchcase(one.artifact.name, self.model)
            and fnmatchcase(one.artifact.variant, self.variant)
            and fnmatchcase(record.config.scenario, self.scenario)
            and fnmatchcase(one.name, self.contender)
            and self.threads in {None, record.config.threads}
        )


def load_budget(path: Path) -> tuple[Rule, ...]:
    """Read a budget file; raises BudgetError naming the file and the field."""
    content = files.read_bytes(path, limit_bytes=MAX_BYTES, error=BudgetError)
    try:
        document = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise BudgetError(f"no TOML: {problem}", str(path), "see docs/ci.md for a budget that works") from problem
    fields = decode.Fields(document, str(path), "", BudgetError)
    if not fields.has("budget"):
        fields.refuse("budget", "is missing", "write at least one [[budget]] with a metric and a limit")
    rules = tuple(_rule(number, one) for number, one in enumerate(fields.children("budget", limit=MAX_RULES), start=1))
    fields.finish()
    if not rules:
        fields.refuse("budget", "is empty", "write at least one [[budget]] with a metric and a limit")
    return rules


def _rule(number: int, fields: decode.Fields) -> Rule:
    patterns = {name: fields.string(name, limit=500) for name in PATTERNS if fields.has(name)}
    metric = fields.string("metric", choices=tuple(METRICS))
    rule = Rule(
        number=number,
        metric=metric,
        threads=fields.integer("threads", low=1) if fields.has("threads") else None,
        limit=_amount(fields, "max", METRICS[metric]) if fields.has("max") else None,
        confidence=fields.number("confidence", low=0.5, high=0.999999) if fields.has("confidence") else 0.95,
        than=fields.string("than", limit=200) if fields.has("than") else None,
        min_speedup=fields.number("min_speedup", low=1e-6, high=1e6) if fields.has("min_speedup") else None,
        max_growth=_amount(fields, "max_growth", "%") if fields.has("max_growth") else None,
        **patterns,
    )
    fields.finish()
    given = [name for name in ("limit", "min_speedup", "max_growth") if getattr(rule, name) is not None]
    if len(given) != 1:
        fields.refuse("", "needs exactly one of max, min_speedup and max_growth", "see docs/ci.md")
    if (rule.min_speedup is None) != (rule.than is None):
        fields.refuse("than", "and min_speedup belong together", 'say than = "torch" and min_speedup = 2.0')
    if rule.min_speedup is not None and metric != "p50":
        fields.refuse("metric", f"is {metric}, and speed-ups are those of p50", 'say metric = "p50"')
    if rule.max_growth is not None and metric not in (*RELATIVE, *EXACT):
        fields.refuse("metric", f"is {metric}, which can't be held against a baseline", "give it a max instead")
    return rule


def _amount(fields: decode.Fields, key: str, unit: str) -> float:
    """Return an amount in `unit`: ``"30 ms"``, ``"64 MiB"``, ``"5 %"``, or a number where there is no unit."""
    if not unit:
        return fields.number(key, low=0)
    text = fields.string(key, limit=50)
    units = {"%": 0.01} if unit == "%" else UNITS[unit]
    found = AMOUNT.fullmatch(text)
    if found is None or found[2] not in units:
        fields.refuse(key, f"is {text!r}, expected a number with one of {', '.join(units)}", 'as in max = "30 ms"')
    return float(found[1]) * units[found[2]]
