"""The smallest memory limit under which a contender still runs, as a record keeps it."""

from collections.abc import Sequence
from dataclasses import dataclass

from edge_runtime import decode
from edge_runtime.units import size

CGROUP, ADDRESS_SPACE = "cgroup", "address-space"
COUNTED = {
    CGROUP: "memory limits by control group, without swap: memory used",
    ADDRESS_SPACE: "memory limits by address space (ulimit -v): all that is mapped, used or not, of which engines map "
    "far more than they use; no control group could be made here, whose figures would be others",
}
MAX_TRIES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class FitTry:
    """One launch under a limit in bytes. ran: right answers, and near its usual speed; else the reason says what not.

    p50_ns: of its block, None where there was none.
    """

    limit_bytes: int
    ran: bool
    p50_ns: int | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What the tries of one contender found.

    mechanism: a control group limits the memory that is used, an address space what is mapped, which is more: figures
    of the two can't be compared.   limit_bytes: the smallest limit that it ran under; None where it ran under none.
    """

    contender: str
    mechanism: str
    limit_bytes: int | None
    tried: tuple[FitTry, ...]


def lines(fits: Sequence[Fit]) -> tuple[str, ...]:
    """Return the fits in words: a line for each mechanism that says what it counts, then one for each contender."""
    told = []
    for mechanism in dict.fromkeys(fit.mechanism for fit in fits):
        told.append(COUNTED[mechanism])
        told += [f"  {fit.contender}: {_told(fit)}" for fit in fits if fit.mechanism == mechanism]
    return tuple(told)


def _told(fit: Fit) -> str:
    failed = [one for one in fit.tried if not one.ran]
    if fit.limit_bytes is None:
        most = max(fit.tried, key=lambda one: one.limit_bytes)
        return f"does not run within {size(most.limit_bytes)}: {most.reason}"
    below = [one for one in failed if one.limit_bytes < fit.limit_bytes]
    if not below:
        return f"runs within {size(fit.limit_bytes)}"
    next_below = max(below, key=lambda one: one.limit_bytes)
    return f"runs within {size(fit.limit_bytes)}, not within {size(next_below.limit_bytes)}: {next_below.reason}"


def read(fields: decode.Fields) -> Fit:
    """Read what a record says of one contender."""
    fit = Fit(
        contender=fields.string("contender", limit=200),
        mechanism=fields.string("mechanism", choices=(CGROUP, ADDRESS_SPACE)),
        limit_bytes=fields.optional("limit_bytes", lambda key: fields.integer(key, low=1)),
        tried=tuple(map(_try, fields.children("tried", limit=MAX_TRIES))),
    )
    fields.finish()
    if fit.limit_bytes not in {None, *(one.limit_bytes for one in fit.tried if one.ran)}:
        fields.refuse("limit_bytes", "is of no try that ran")
    return fit


def _try(fields: decode.Fields) -> FitTry:
    tried = FitTry(
        limit_bytes=fields.integer("limit_bytes", low=1),
        ran=fields.boolean("ran"),
        p50_ns=fields.optional("p50_ns", lambda key: fields.integer(key, low=1)),
        reason=fields.string("reason", limit=2000),
    )
    fields.finish()
    return tried
