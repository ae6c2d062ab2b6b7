"""The table: one row a figure, ours beside theirs, the ratio with its interval, the target, and whether it holds."""

from collections.abc import Sequence
from dataclasses import dataclass

from edge_runtime.console import table
from edge_runtime.stats import Interval, launch_interval, paired_ratio
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
    what: str, ours: Sequence[float], theirs: Sequence[float], *, unit: Text, target: float | None = None
) -> Row:
    """Return the row of two contenders measured in the same rounds, one value a round each."""
    ratio = paired_ratio(ours, theirs)
    return Row(
        what=what,
        ours=unit(launch_interval(ours).estimate),
        theirs=unit(launch_interval(theirs).estimate),
        ratio=ratio,
        target="" if target is None else f"<= {target:.2f}",
        holds=None if target is None else ratio.estimate <= target,
    )


def counted(what: str, found: str, *, target: str, holds: bool) -> Row:
    """Return the row of something counted, which has nothing beside it."""
    return Row(what=what, ours=found, theirs="", target=target, holds=holds)


def text(sections: Sequence[tuple[str, Sequence[Row]]]) -> str:
    """Return all sections as one table."""
    cells: list[Sequence[str]] = [TITLES]
    for title, rows in sections:
        cells += [("",), (title,), *((f"  {first}", *rest) for first, *rest in (row.cells() for row in rows))]
    return table(cells, "<>>>>>>")
