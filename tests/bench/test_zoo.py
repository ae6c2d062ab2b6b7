"""Which records of a run over the zoo are gone on with."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from benchmarks.zoo import is_whole
from edge_runtime.record import Record

Make = Callable[..., Record]


@pytest.mark.parametrize(
    ("reason", "rounds", "whole"),
    [
        ("precision", 6, True),
        ("max_rounds", 15, True),
        ("invalid", 0, True),
        ("budget", 6, True),
        ("budget", 5, False),
        ("interrupted", 9, False),
        ("unfinished", 9, False),
    ],
)
def test_a_record_is_whole_when_it_ended_by_itself_or_has_the_rounds_that_intervals_need(
    reason: str, rounds: int, whole: bool, make_record: Make
) -> None:
    record = make_record()
    launches = tuple(replace(one, round=index) for index in range(rounds) for one in record.launches if one.round == 0)
    assert is_whole(replace(record, stop_reason=reason, launches=launches)) is whole
