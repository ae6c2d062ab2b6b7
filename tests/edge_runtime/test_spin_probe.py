"""A fixed piece of work as a thermometer: the least of several counts, and a slow one among many is told."""

from edge_runtime.fitness import of_probes
from edge_runtime.spin_probe import REPEATS, spin_ns
from tests.fakes import FakeClock


def test_the_least_of_the_repeats_counts() -> None:
    clock = FakeClock()
    costs = [900, 700, 5_000, 800, 750]
    assert len(costs) == REPEATS
    assert spin_ns(clock, clock.costing(costs)) == 700


def test_the_work_itself_takes_time() -> None:
    assert spin_ns() > 10_000


def test_a_launch_whose_probe_is_slower_than_the_best_is_told() -> None:
    steady = [(1000, 1000), (1010, 1090), (None, None)]
    assert of_probes(steady) == []
    (told,) = of_probes([*steady, (1000, 1500)])
    assert told.startswith("a fixed piece of work took up to 1.50 times as long as at best")
    assert told.endswith("(around 1 of 4 launches)")
    assert of_probes([]) == []
