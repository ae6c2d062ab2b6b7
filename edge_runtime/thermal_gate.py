"""A pause before a launch, while the machine is warmer than it was in the first round.

A later launch that begins warmer has less room before its clock is lowered, and would be slower for no fault of its
own. A machine that tells no temperature is not made to wait: a pause that nothing ends is no cooling (the spin probe
still shows a lowered clock, see `validity`).
"""

import time
from collections.abc import Callable, Sequence

from edge_runtime import throttling
from edge_runtime.fitness import WARMER_MILLICELSIUS
from edge_runtime.samples import Launch
from edge_runtime.tree import Tree
from edge_runtime.validity import dropped_rounds

MOST_S = 120.0  # a board that has not cooled down by then is heated by something else than us
POLL_S = 1.0


def limit_millicelsius(launches: Sequence[Launch], round_index: int) -> int | None:
    """Return how warm a launch of a round may begin: somewhat above the warmest start of the first of the launches.

    launches: of this sitting, since another day's air may be warmer. None while the first round that counts is not
    over, and where no temperature is told.
    """
    dropped = dropped_rounds(launches)
    rounds = {one.round for one in launches if one.valid and one.round not in dropped and one.round < round_index}
    first = [one.before for one in launches if one.valid and one.round == min(rounds, default=None)]
    known = [start.temperature_millicelsius for start in first if start.temperature_millicelsius is not None]
    return max(known) + WARMER_MILLICELSIUS if known else None


def is_above(limit_millicelsius: int | None, tree: Tree) -> bool:
    """Return whether the hottest zone is warmer than the limit; False where either is unknown."""
    now = None if limit_millicelsius is None else throttling.hottest_millicelsius(tree)
    return now is not None and limit_millicelsius is not None and now > limit_millicelsius


def wait(
    limit_millicelsius: int | None,
    tree: Tree,
    *,
    most_s: float = MOST_S,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> float:
    """Wait until the hottest zone is at most that warm, or `most_s` have passed; return the seconds waited.

    Without a limit, or a temperature to read, nothing is waited for.
    """
    begin, waited = clock(), 0.0
    while waited < most_s and is_above(limit_millicelsius, tree):
        sleep(min(POLL_S, most_s - waited))
        waited = clock() - begin
    return waited
