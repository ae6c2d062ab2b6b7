"""What `make power-test` makes of its verdicts; the runs themselves are its own business."""

from benchmarks.power import Tally, holds, shown


def tally(faster: int = 0, slower: int = 0, same: int = 0) -> Tally:
    return Tally("x", ("faster",) * faster + ("slower",) * slower + ("same",) * same)


def test_the_promise_holds_while_it_lies_inside_the_bounds_of_what_was_seen() -> None:
    assert holds(tally(same=20), tally(slower=20))
    assert holds(tally(faster=2, slower=1, same=17), tally(slower=16, same=4)), "3 of 20 may be luck at 5 %"
    assert not holds(tally(faster=2, slower=3, same=15), tally(slower=20)), "5 of 20 are not"
    assert not holds(tally(same=20), tally(slower=13, same=7)), "13 of 20 found are too few"


def test_a_slowed_contender_called_faster_is_not_found() -> None:
    assert tally(faster=20).rate("slower").estimate == 0


def test_the_table_has_the_rates_with_their_bounds() -> None:
    told = shown(tally(faster=1, same=19), tally(slower=20), 0.05)
    assert "| equal | 20 | 1 | 0 | 19 | 0 | 0.050 wrong | 0.001 to 0.249 |" in told
    assert "| 5% slower | 20 | 0 | 20 | 0 | 0 | 1.000 found | 0.832 to 1.000 |" in told
