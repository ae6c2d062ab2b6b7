"""The flags of what is measured after the rounds, the same for every verb that measures."""

import argparse
import math
import re
from typing import TypedDict

FACTORS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}
SIZE = re.compile(r"([0-9]{1,12})([KMG]?)(?:i?B)?")
SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0}
SEARCH = 0  # of --fit without a limit


class Further(TypedDict):
    """What the flags ask for, by the names that a plan has for it."""

    fit: bool
    fit_bytes: int | None
    sustained_s: float | None
    starts: int


def add_further_flags(parser: argparse.ArgumentParser) -> None:
    """Add ``--fit``, ``--starts`` and ``--sustained``."""
    group = parser.add_argument_group("afterwards, beyond the budget")
    group.add_argument(
        "--fit",
        metavar="256M",
        type=_size_bytes,
        nargs="?",
        const=SEARCH,
        help="the smallest memory limit it runs within; or only whether it runs within this one",
    )
    group.add_argument(
        "--starts", metavar="N", type=int, default=0, help="N starts with a warm and N with an evicted page cache"
    )
    group.add_argument(
        "--sustained", metavar="10m", type=seconds, help="calls without a pause, or at --rate, for so long"
    )


def further_of(options: argparse.Namespace) -> Further:
    """Return what the flags ask for."""
    limit = None if options.fit == SEARCH else options.fit
    return Further(fit=options.fit is not None, fit_bytes=limit, sustained_s=options.sustained, starts=options.starts)


def seconds(text: str) -> float:
    """Return the seconds of ``5m``, ``90s``, ``1h`` or ``300``."""
    factor = SECONDS.get(text[-1:])
    try:
        found = float(text if factor is None else text[:-1]) * (factor or 1.0)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 5m, 90s or 300")
    return found


def _size_bytes(text: str) -> int:
    """Return the bytes of ``256M`` or ``1GiB``: K, M and G are binary, as where memory is limited."""
    found = SIZE.fullmatch(text)
    if found is None or int(found[1]) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no size such as 256M (artifacts come before --fit)")
    return int(found[1]) * FACTORS[found[2]]
