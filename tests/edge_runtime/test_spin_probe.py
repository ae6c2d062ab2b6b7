"""A fixed piece of work as a thermometer: the least of several counts, and a slow one among many is told."""

from edge_runtime.fitness import of_probe
from edge_runtime.spin_probe import REPEATS, spin_ns
from tests.fakes import FakeClock


def test_the_least_of_the_repeats_counts() -> None:
    clock = FakeClock()
    costs = [900, 700, 5_000, 800, 750]
    assert len(costs) == REPEATS
    assert spin_ns(clock, clock.costing(costs)) == 700


def test_the_work_itself_takes_time() -> None:
    assert spin_ns() > 10_000


def test_probes_slower_than_the_median_by_more_than_a_tenth_are_told() -> None:
    steady = [1000] * 8 + [990, 1010] * 4
    assert of_probe(1100, 1100, steady) == []
    assert of_probe(None, None, steady) == []
    assert of_probe(1500, 1000, steady) == [], "a slow moment is no slow block"
    (told,) = of_probe(1500, 1600, steady)
    assert (told.code, told.what) == (
        "slower-probe",
        "a fixed piece of work took 1.50 times as long as around other blocks",
    )
    assert of_probe(1101, 1101, steady) != []


def test_of_few_blocks_and_where_all_are_restless_none_stands_out() -> None:
    assert of_probe(5000, 5000, [1000] * 11) == []
    restless = [900, 1000, 1300, 1600, 1100, 1000] * 4
    assert of_probe(1600, 1600, restless) == []
    assert of_probe(3000, 3000, restless) != []
