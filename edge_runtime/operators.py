"""Where a contender's time goes by node of its graph, as a record keeps it; taken as `profiling` takes it."""

from dataclasses import dataclass

from edge_runtime import decode

MAX_NODES = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeTime:
    """A node's time in one run, in nanoseconds, the median over runs.

    calls: of its kernel in one run.   operations, bytes: the work of one run at least, None where it can't be
    counted.   least_ns: the shortest time in which the machine's peaks allow that work.
    """

    name: str
    operator: str
    calls: int
    ns: int
    operations: int | None
    bytes: int | None
    least_ns: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorTimes:
    """A profile of one contender. p50_ns: a call without the profiler.   profiled_ns: a call with it."""

    contender: str
    runs: int
    p50_ns: int
    profiled_ns: int
    nodes: tuple[NodeTime, ...]


def read(fields: decode.Fields) -> OperatorTimes:
    """Read the profile of one contender of a record."""
    found = OperatorTimes(
        contender=fields.string("contender", limit=200),
        runs=fields.integer("runs", low=1),
        p50_ns=fields.integer("p50_ns", low=1),
        profiled_ns=fields.integer("profiled_ns", low=1),
        nodes=tuple(map(_node, fields.children("nodes", limit=MAX_NODES))),
    )
    fields.finish()
    return found


def _node(fields: decode.Fields) -> NodeTime:
    node = NodeTime(
        name=fields.string("name", limit=2000),
        operator=fields.string("operator", limit=200),
        calls=fields.integer("calls"),
        ns=fields.integer("ns"),
        operations=fields.optional("operations", fields.integer),
        bytes=fields.optional("bytes", fields.integer),
        least_ns=fields.optional("least_ns", lambda key: fields.number(key, low=0)),
    )
    fields.finish()
    return node
