"""Six steps to one side within a week, over more than one line: rather the machine than the software."""

from datetime import UTC, datetime, timedelta

from bench.suspicion import LEAST, Flag, suspicions

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)


def flags(count: int, *, up: bool = True, lines: int = 3, days: float = 1.0, machine: str = "m") -> list[Flag]:
    return [Flag(MONDAY + timedelta(days=days * i), machine, f"line {i % lines}", up) for i in range(count)]


def test_six_to_one_side_are_suspect_and_five_are_not() -> None:
    (found,) = suspicions(flags(LEAST))
    assert (found.steps, found.lines, found.up) == (6, ("line 0", "line 1", "line 2"), True)
    assert (found.since, found.until) == ("2026-01-05T00:00:00+00:00", "2026-01-10T00:00:00+00:00")
    assert suspicions(flags(LEAST - 1)) == ()


def test_one_to_the_other_side_clears_the_machine() -> None:
    against = Flag(MONDAY + timedelta(days=3), "m", "line 1", False)
    assert suspicions([*flags(LEAST), against]) == ()


def test_one_line_alone_or_several_machines_or_a_month_are_no_reason() -> None:
    assert suspicions(flags(LEAST, lines=1)) == ()
    assert suspicions([*flags(3), *flags(3, machine="other")]) == ()
    assert suspicions(flags(LEAST, days=5.0)) == ()


def test_each_stretch_is_told_once() -> None:
    later = [Flag(f.when + timedelta(days=60), f.machine, f.line, False) for f in flags(8, days=0.5)]
    found = suspicions([*flags(8, days=0.5), *later])
    assert [(one.steps, one.up) for one in found] == [(8, True), (8, False)]
