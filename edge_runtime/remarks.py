"""What a record says of itself in sentences: who is missing, what was lost or dropped, how the machine was."""

from collections.abc import Sequence

from edge_runtime import fitness, validity
from edge_runtime.limits import Limits
from edge_runtime.measured import MeasuredContender
from edge_runtime.plan import MIN_ROUNDS
from edge_runtime.samples import Launch
from edge_runtime.units import count


def of_contenders(contenders: Sequence[MeasuredContender]) -> list[str]:
    """Return a sentence on each contender that answers wrongly, and on each that could not run or was lost."""
    wrong = [
        f"{one.name} answers wrongly and is not ranked: {one.answers.problem}"
        for one in contenders
        if one.answers.agree is False
    ]
    return wrong + [f"{one.name} was {one.failure.kind}: {one.failure.reason}" for one in contenders if one.failure]


def of_rounds(launches: Sequence[Launch], rounds: int) -> list[str]:
    """Return what is to be said of the launches. rounds: how many count."""
    found = []
    if rounds < MIN_ROUNDS:
        found.append(f"{rounds} rounds are few: intervals need {MIN_ROUNDS} to be trusted")
    counted = validity.counted(launches)
    restless = [launch.contender for launch in counted if launch.steady is False]
    if restless:
        names = ", ".join(sorted(set(restless)))
        found.append(
            f"{len(restless)} of {len(counted)} blocks were not steady ({names}): their level changed late or drifted, "
            "so their median is of several levels"
        )
    lost = [launch for launch in launches if not launch.block_ns]
    if lost:
        names = ", ".join(sorted({launch.contender for launch in lost}))
        found.append(f"{len(lost)} of {len(launches)} launches were lost ({names}): {lost[0].reasons[0]}")
    return [*found, *validity.told(launches)]


def of_cooling(waited_s: Sequence[float]) -> list[str]:
    """Return that launches waited for the machine to cool down, and how long in all; nothing where none did."""
    before = count(len(waited_s), "launch")
    return [f"before {before} the machine was given {sum(waited_s):.0f} s in all to cool down"] if waited_s else []


def of_machine(limits: Limits, threads: int, launches: Sequence[Launch]) -> list[str]:
    """Return what limits the process, and what of the machine around the launches that count is worth a doubt."""
    blocks = [(launch.before, launch.after) for launch in validity.counted(launches)]
    return [*map(str, fitness.of_limits(limits, threads)), *fitness.of_launches(blocks)]
