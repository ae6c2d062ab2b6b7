"""When a run is over, and how long that will take: by its count or precision, its budget, or a machine that is not fit.

Pure: a run asks with its launches and the seconds spent.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from edge_runtime import stats, validity
from edge_runtime.plan import MAX_ROUNDS, MIN_ROUNDS, Plan
from edge_runtime.samples import Launch
from edge_runtime.scenarios import paired_logs, round_figures
from edge_runtime.stats import Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a run stands.

    names: who is in the race.   rounds: whole ones so far, the dropped ones too.   confirming_from: the first round of
    a second batch, None without one.   elapsed_s: since the begin.   round_s: how long each round of this sitting took.
    """

    plan: Plan
    names: Sequence[str]
    launches: Sequence[Launch]
    rounds: Collection[int]
    confirming_from: int | None
    elapsed_s: float
    round_s: Sequence[float]

    @property
    def kept(self) -> int:
        """How many rounds count."""
        return len(self._kept())

    @property
    def most(self) -> int:
        """How many rounds that count end the run at the latest; a second batch is as long as the shortest first one."""
        if self.confirming_from is not None:
            return sum(index < self.confirming_from for index in self._kept()) + MIN_ROUNDS
        return MAX_ROUNDS if self.plan.rounds is None else self.plan.rounds

    @property
    def is_spent(self) -> bool:
        """Whether another round would pass the budget; the first of a sitting is always begun."""
        return bool(self.round_s) and self.elapsed_s + max(self.round_s) > self.plan.budget_s

    def reason(self) -> str | None:
        """Return why no further round is begun, or None."""
        wanted, kept, most = self.plan.rounds, self.kept, self.most
        if len(validity.dropped_rounds(self.launches)) > validity.allowance(most):
            return "invalid"  # even with all the rounds that are still to come
        if self.confirming_from is None or kept >= most:
            if wanted is not None and kept >= wanted:
                return "rounds"
            if wanted is None and kept >= MIN_ROUNDS and self._precise() and not validity.is_unfit(self.launches):
                return "precision"
            if wanted is None and kept >= most:
                return "max_rounds"
        if self.is_spent:
            return "invalid" if validity.is_unfit(self.launches) else "budget"
        return None

    def estimate(self, name: str) -> Interval | None:
        """Return a contender's p50 in nanoseconds as it is known so far, or what its scenario has in its place."""
        figures = round_figures([one for one in validity.counted(self.launches) if one.contender == name])
        return stats.launch_interval(list(figures.values())) if figures else None

    def left_s(self) -> float | None:
        """Return how long the run will go on: what the precision, or the count, still needs, within the budget."""
        if not self.round_s:
            return None
        wanted = self.most
        if self.plan.rounds is None and self.confirming_from is None:
            # an interval narrows with the root of the rounds
            worst = self._worst()
            needed = MAX_ROUNDS if worst == math.inf else math.ceil(self.kept * (worst / self.plan.precision) ** 2)
            wanted = min(max(needed, MIN_ROUNDS), MAX_ROUNDS)
        rounds_s = max(0, wanted - self.kept) * sum(self.round_s) / len(self.round_s)
        return max(0.0, min(rounds_s, self.plan.budget_s - self.elapsed_s))

    def _kept(self) -> set[int]:
        return set(self.rounds) - validity.dropped_rounds(self.launches)

    def _precise(self) -> bool:
        return self._worst() <= self.plan.precision

    def _worst(self) -> float:
        """Return the widest half-width as a share: of the ratios to the first contender, or of one's own, if alone.

        A ratio is what a comparison is made for; on a machine that changes its speed, it is known long before each
        contender's own time is, which then says most of the machine.
        """
        if not self.names:
            return 0.0
        first, *others = self.names
        if not others:
            return stats.half_share(self.estimate(first))
        of = {name: [one for one in validity.counted(self.launches) if one.contender == name] for name in self.names}
        logs = [list(paired_logs(of[name], of[first]).values()) for name in others]
        return max(stats.half_share(stats.ratio_of_logs(one)) if one else math.inf for one in logs)
