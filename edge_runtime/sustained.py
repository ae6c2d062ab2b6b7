"""A contender under load for minutes, window by window, as a record keeps it."""

from dataclasses import dataclass

from edge_runtime import decode

MAX_WINDOWS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One stretch of a long run; times in nanoseconds, begin_ns since the run began.

    p50_ns, p90_ns, max_ns: of the calls within it.   frequency_khz, temperature_millicelsius, throttled: the machine's
    at its end, None where it doesn't tell.
    """

    begin_ns: int
    elapsed_ns: int
    calls: int
    p50_ns: int
    p90_ns: int
    max_ns: int
    frequency_khz: int | None
    temperature_millicelsius: int | None
    throttled: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sustained:
    """A long run of one contender. rate_per_s: of its calls, None where each followed the one before."""

    contender: str
    rate_per_s: float | None
    windows: tuple[Window, ...]


def read(fields: decode.Fields) -> Sustained:
    """Read the long run of one contender of a record."""
    found = Sustained(
        contender=fields.string("contender", limit=200),
        rate_per_s=fields.optional("rate_per_s", lambda key: fields.number(key, low=0)),
        windows=tuple(map(_window, fields.children("windows", limit=MAX_WINDOWS))),
    )
    fields.finish()
    return found


def _window(fields: decode.Fields) -> Window:
    window = Window(
        begin_ns=fields.integer("begin_ns"),
        elapsed_ns=fields.integer("elapsed_ns", low=1),
        calls=fields.integer("calls", low=1),
        p50_ns=fields.integer("p50_ns", low=1),
        p90_ns=fields.integer("p90_ns", low=1),
        max_ns=fields.integer("max_ns", low=1),
        frequency_khz=fields.optional("frequency_khz", fields.integer),
        temperature_millicelsius=fields.optional(
            "temperature_millicelsius", lambda key: fields.integer(key, low=-300_000, high=10_000_000)
        ),
        throttled=fields.optional("throttled", fields.boolean),
    )
    fields.finish()
    return window
