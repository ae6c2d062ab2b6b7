"""The flags of a scenario, the same for every verb that measures."""

import argparse
import math

from edge_runtime.record import SCENARIOS
from edge_runtime.scenarios import BATCHES, Scenario

UNITS_NS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}  # the longest unit that fits is tried last


def add_scenario_flags(parser: argparse.ArgumentParser) -> None:
    """Add ``--scenario`` and the terms of each."""
    group = parser.add_argument_group("scenarios")
    group.add_argument(
        "--scenario",
        choices=SCENARIOS,
        help="single: one call after the other (default); periodic: --rate; offline: --batches; server: random "
        "arrivals, the largest rate with p99 within --target; multi: --workers at once",
    )
    group.add_argument("--rate", metavar="R", type=float, help="periodic: calls a second, such as 30")
    group.add_argument("--target", metavar="30ms", type=duration_ns, help="server: what p99 must keep within")
    sizes = ",".join(map(str, BATCHES))
    group.add_argument("--batches", metavar="LIST", type=_batches, help=f"offline: sizes to try (default: {sizes})")
    group.add_argument("--workers", metavar="N", type=int, help="multi: processes at once")


def scenario_of(options: argparse.Namespace) -> Scenario:
    """Return what the flags say; a term alone names its scenario. Raises UsageError where they contradict."""
    by_term = {
        "periodic": options.rate,
        "server": options.target,
        "offline": options.batches,
        "multi": options.workers,
    }
    name = options.scenario or next((name for name, term in by_term.items() if term is not None), "single")
    return Scenario(
        name=name,
        rate_per_s=options.rate,
        target_ns=options.target,
        batches=options.batches or (BATCHES if name == "offline" else ()),
        workers=options.workers,
    )


def duration_ns(text: str) -> int:
    """Return the nanoseconds of ``30ms``, ``500us`` or ``1.5s``."""
    for unit, factor in UNITS_NS.items():
        number = text.removesuffix(unit)
        if number != text:
            try:
                value = float(number) * factor
            except ValueError:
                continue  # 30ms ends with s too
            if math.isfinite(value) and value >= 1:
                return round(value)
    raise argparse.ArgumentTypeError(f"{text!r} is no time such as 30ms, 500us or 1.5s")


def _batches(text: str) -> tuple[int, ...]:
    sizes = text.split(",")
    if not all(size.isdecimal() for size in sizes):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of sizes such as 1,2,4")
    return tuple(int(size) for size in sizes)
