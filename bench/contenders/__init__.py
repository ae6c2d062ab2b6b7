"""Who can be measured: one table from name to file and place, and contenders of the user's own."""

from dataclasses import dataclass
from pathlib import Path

from bench.errors import UnknownContender
from edge_runtime.rounds import OWN_CONTENDER

HERE = Path(__file__).parent
FACTORY = "open_contender"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One contender. file: what travels to the board, else `module` is there already.

    host: whether it runs with the machine's own interpreter, because a board's payload doesn't hold its engine.
    """

    name: str
    module: str = ""
    file: Path | None = None
    factory: str = FACTORY
    host: bool = False


KINDS = {
    kind.name: kind
    for kind in (
        Kind(name="edge", module=OWN_CONTENDER.partition(":")[0]),
        Kind(name="onnxruntime", file=HERE / "plain_onnxruntime.py"),
        Kind(name="torch", module="bench.contenders.torch", host=True),
    )
}


def find(name: str) -> Kind:
    """Return the contender of a name, or the user's own for ``FILE.py:factory``, which is named by its file.

    Raises UnknownContender listing the known ones.
    """
    if name in KINDS:
        return KINDS[name]
    place, _, factory = name.rpartition(":")
    if place.endswith(".py"):
        file = Path(place)
        if not file.is_file():
            raise UnknownContender("no such file", place, "give the path of a contender: FILE.py:factory")
        return Kind(name=file.stem, file=file, factory=factory)
    raise UnknownContender(
        f"no contender {name!r}", "--against", f"known are {', '.join(KINDS)}, and your own as FILE.py:factory"
    )
