"""What a measurement is to be: its contenders, how long, how precise, and in which order they take turns."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_runtime import energy
from edge_runtime.artifact import Artifact
from edge_runtime.environment import available_cpus
from edge_runtime.errors import UsageError
from edge_runtime.launch import Command
from edge_runtime.scenarios import Scenario
from edge_runtime.stats import Interval
from edge_runtime.timing import BlockPlan

MIN_ROUNDS, MAX_ROUNDS = 6, 15  # below 6 the t interval covers too rarely, above 15 it hardly narrows
MAX_STARTS = 100  # of each contender in each state of the page cache; an interval hardly narrows above 15
MEMORY_LAUNCHES = 3  # of each contender; figures are their medians
MEMORY_SHARE = 0.1  # of the budget, for those after the first: latencies are what most runs are for
ATTEMPTS = 2  # of a launch whose worker is lost: an accident may happen once, what happens twice is the contender's
SEED = 0  # of the variants of inputs; the rest that is random draws by the round
LAUNCH_TIMEOUT_S = 300.0  # torch on a slow board takes a minute to import; a hang must end all the same
MAX_SUSTAINED_S = 24 * 3600.0
SUSTAINABLE = ("single", "periodic")  # scenarios whose calls can go on for ever
OWN_CONTENDER = "edge_runtime.contender:open_contender"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One contender of a run: its name, how its worker starts, what it loads."""

    name: str
    contender: str  # module:factory, or /path/file.py:factory
    command: Command
    artifact: Artifact
    variant: str = "auto"
    options: Mapping[str, str] = field(default_factory=dict)
    warm: bool = False  # whether its first start leaves something behind that later ones find
    timed: Artifact | None = None  # whose golden cases are timed, where it is not its own artifact's


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a run is taken. rounds: how many, or None to go on until the precision is reached.

    budget_s: no round is begun that would pass it.   precision: the half-width, as a share, of the interval of every
    speed-up (of the p50 where one is alone) at which an open-ended run stops.   margin: differences up to it count as
    none.   noise_floor: what the machine's calibration found, for the record.   energy_s: where the machine has a
    meter, end with a launch of each contender that rests for so long, and calls for so long, beyond the budget; None
    measures no energy, `energy.INTERVAL_S` is long enough for every meter.   fit: also find the smallest memory limit
    under which each contender runs, beyond the budget too; fit_bytes: only try this one.   confirm: whether a
    second batch of rounds follows whatever the first one says; else only where ours is slower (`confirmation`) and
    rounds are open.
    starts: how often each contender is started with its files in the page cache, and as often with them evicted, after
    the rounds and beyond the budget.   operators: whether our own contenders are profiled after the rounds; None where
    the budget leaves time. Of the scenario single alone: a profile is of one call after the other.   sustained_s: at
    last call each without a pause, or at the scenario's rate, for so long, beyond the budget.
    """

    rounds: int | None = None
    budget_s: float = 300.0
    precision: float = 0.01
    margin: float = 0.02
    noise_floor: float | None = None
    threads: int = 1
    energy_s: float | None = None
    fit: bool = False
    fit_bytes: int | None = None
    confirm: bool = False
    starts: int = 0
    operators: bool | None = False
    sustained_s: float | None = None
    block: BlockPlan = field(default_factory=BlockPlan)
    scenario: Scenario = field(default_factory=Scenario)

    def __post_init__(self) -> None:
        """Refuse a plan that can't be carried out on this machine."""
        cpus = len(available_cpus())
        if not 1 <= self.threads <= cpus:
            raise UsageError(f"{self.threads} threads on {cpus} CPUs", "the plan", f"ask for 1 to {cpus}")
        if self.rounds is not None and self.rounds < 1:
            raise UsageError(f"{self.rounds} rounds", "the plan", "ask for at least one")
        if self.fit_bytes is not None and self.fit_bytes < 1:
            raise UsageError(f"a memory limit of {self.fit_bytes} bytes", "--fit", "give one such as 256M")
        if not 0 <= self.starts <= MAX_STARTS:
            raise UsageError(f"{self.starts} starts", "the plan", f"ask for 0 to {MAX_STARTS}")
        if self.operators and self.scenario.name != "single":
            raise UsageError(
                f"operators in the scenario {self.scenario.name}",
                "the plan",
                "profiles are of one call after the other: leave out one of the two",
            )
        if self.sustained_s is not None:
            if not 0 < self.sustained_s <= MAX_SUSTAINED_S:
                raise UsageError(f"a run of {self.sustained_s} s", "--sustained", "give a time such as 10m, up to 24 h")
            if self.scenario.name not in SUSTAINABLE:
                what = f"a sustained run in the scenario {self.scenario.name}"
                raise UsageError(what, "--sustained", f"it goes with {' and '.join(SUSTAINABLE)}")
        # written this way round, NaN is refused too
        seconds = energy.INTERVAL_S if self.energy_s is None else self.energy_s
        if not all(0 < value < math.inf for value in (self.budget_s, self.precision, self.margin, seconds)):
            raise UsageError(
                "a budget, precision, margin or interval that is not above zero and finite",
                "the plan",
                "give positive numbers",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What a run tells while it goes on.

    kind: warm, memory, cool (waiting for the machine to), time, profile, peaks, files, start, fit, energy or sustained;
    round is None but for cool and time.
    launches: how many have timed a block so far.   estimate: the contender's p50 in nanoseconds, as known by now.
    left_s: how long the run will probably go on; None before the first round has shown how long one takes.
    """

    kind: str
    contender: str
    round: int | None
    rounds: int | None
    elapsed_s: float
    budget_s: float
    launches: int = 0
    estimate: Interval | None = None
    left_s: float | None = None


def turning_order(count: int, round_index: int) -> tuple[int, ...]:
    """Return the order of `count` contenders in a round: turned by one each round (AB BA AB …, ABC BCA CAB …).

    Over `count` rounds each contender stands in each place once. With three or more, every other such cycle runs
    backwards, so that nobody always follows the same neighbour.
    """
    order = [(round_index + place) % count for place in range(count)]
    backwards = count > 2 and (round_index // count) % 2 == 1  # noqa: PLR2004 - two have no neighbours to swap
    return tuple(reversed(order)) if backwards else tuple(order)
