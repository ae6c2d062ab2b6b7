"""Whether steps say more of the machine than of the software: many at once, over several lines, all one way.

Software changes help some figures and hurt others; a machine that is hotter, busier or set otherwise moves all of them
to one side. Six steps of six to one side are chance in one case of thirty-two.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

LEAST = 6  # steps, in at least two lines
WINDOW = timedelta(days=7)  # a machine in a bad state is noticed within days; over longer, software changes too


@dataclass(frozen=True, slots=True, order=True)
class Flag:
    """One step that nothing explains: neither the engine nor the artifact changed there.

    when: of the first record after it.   line: which model, contender, setting and figure.   up: to a larger figure.
    """

    when: datetime
    machine: str
    line: str
    up: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspicion:
    """A machine whose figures all moved one way. since, until: of the first and last step, ISO 8601, UTC."""

    machine: str
    since: str
    until: str
    steps: int
    lines: tuple[str, ...]
    up: bool


def suspicions(flags: Iterable[Flag]) -> tuple[Suspicion, ...]:
    """Return the stretches of time in which a machine, rather than what ran on it, is to be doubted."""
    found: list[Suspicion] = []
    by_machine: dict[str, list[Flag]] = {}
    for flag in sorted(flags):
        by_machine.setdefault(flag.machine, []).append(flag)
    for machine, own in by_machine.items():
        start = 0
        while start < len(own):
            near = [flag for flag in own[start:] if flag.when - own[start].when <= WINDOW]
            lines = tuple(dict.fromkeys(flag.line for flag in near))
            if len(near) < LEAST or len(lines) < 2 or len({flag.up for flag in near}) > 1:  # noqa: PLR2004 - see above
                start += 1
                continue
            since, until = near[0].when.isoformat(), near[-1].when.isoformat()
            found.append(
                Suspicion(machine=machine, since=since, until=until, steps=len(near), lines=lines, up=near[0].up)
            )
            start += len(near)
    return tuple(found)
