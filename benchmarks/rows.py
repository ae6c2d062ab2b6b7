"""The table: one row a figure, ours beside theirs, the ratio with its interval, the target, and whether it holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import median

from edge_runtime.console import table
from edge_runtime.stats import Interval, launch_interval
from edge_runtime.units import Text

TITLES = ("what", "ours", "theirs", "ratio", "95 % interval", "target", "holds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure. target: the most that the ratio may be, or None where nothing was promised.

    holds: judged by the estimate; the interval beside it says how far to trust that.
    """

    what: str
    ours: str
    theirs: str
    ratio: Interval | None = None
    target: str = ""
    holds: bool | None = None

    def cells(self) -> tuple[str, ...]:
        """Return the row's text, column by column."""
        ratio, limits = "", ""
        if self.ratio is not None:
            ratio = f"{self.ratio.estimate:.3f}"
            if self.ratio.low is not None and self.ratio.high is not None:
                limits = f"{self.ratio.low:.3f} to {self.ratio.high:.3f}"
        verdict = {True: "yes", False: "NO", None: ""}[self.holds]
        return self.what, self.ours, self.theirs, ratio, limits, self.target, verdict


def compared(
    what: str,
    ours: Sequence[Sequence[float]],
    theirs: Sequence[Sequence[float]],
    *,
    unit: Text,
    target: float | None = None,
) -> Row:
    """Return the row of two contenders that were measured side by side.

    ours, theirs: one list for each start of the processes, and in it one value for each round of blocks. A ratio is
    taken round by round; the median of a list is one sample of the estimate and its interval.
    """
    ratios = [
        median(one / other for one, other in zip(*blocks, strict=True)) for blocks in zip(ours, theirs, strict=True)
    ]
    ratio = launch_interval(ratios)
    return Row(
        what=what,
        ours=unit(median(chain.from_iterable(ours))),
        theirs=unit(median(chain.from_iterable(theirs))),
        ratio=ratio,
        target="" if target is None else f"<= {target:.2f}",
        holds=None if target is None else ratio.estimate <= target,
    )


def single(values: Sequence[float]) -> list[list[float]]:
    """Return values of launches, which have one round each, as `compared` takes them."""
    return [[value] for value in values]


def counted(what: str, found: str, *, target: str, holds: bool) -> Row:
    """Return the row of something counted, which has nothing beside it."""
    return Row(what=what, ours=found, theirs="", target=target, holds=holds)


def text(sections: Sequence[tuple[str, Sequence[Row]]]) -> str:
    """Return all sections as one table."""
    cells: list[Sequence[str]] = [TITLES]
    for title, rows in sections:
        cells += [("",), (title,), *((f"  {first}", *rest) for first, *rest in (row.cells() for row in rows))]
    return table(cells, "<>>>>>>")
