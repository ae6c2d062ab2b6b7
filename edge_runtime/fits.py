"""The smallest memory limit under which a contender still runs, as a record keeps it."""

from dataclasses import dataclass

from edge_runtime import decode

CGROUP, ADDRESS_SPACE = "cgroup", "address-space"
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
