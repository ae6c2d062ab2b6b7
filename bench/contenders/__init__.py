"""Who can be measured: one table from name to file and place, and contenders of the user's own."""

from dataclasses import dataclass
from pathlib import Path

from bench.errors import UnknownContender
from edge_runtime.rounds import OWN_CONTENDER

HERE = Path(__file__).parent
FACTORY = "open_contender"
OWN = "edge"
OWN_MODULE = OWN_CONTENDER.partition(":")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One contender. file: what travels to the board, else `module` is there already.

    host: whether it runs with the machine's own interpreter, because a board's payload doesn't hold its engine.
    source: whether it needs the module that the artifact was exported from.   cache: whether it gets a folder that is
    kept from run to run, and a first start that fills it.
    """

    name: str
    module: str = ""
    file: Path | None = None
    factory: str = FACTORY
    variant: str = "auto"
    host: bool = False
    source: bool = False
    cache: bool = False


KINDS = {
    kind.name: kind
    for kind in (
        Kind(name=OWN, module=OWN_MODULE),
        Kind(name=f"{OWN}:call", module=OWN_MODULE, factory="open_checked_call"),
        Kind(name="onnxruntime", file=HERE / "plain_onnxruntime.py"),
        Kind(name="torch", module="bench.contenders.torch", host=True, source=True),
        Kind(name="torchscript", module="bench.contenders.torchscript", host=True, source=True),
        Kind(name="torch-compile", module="bench.contenders.torch_compile", host=True, source=True, cache=True),
        Kind(name="torch-int8", module="bench.contenders.torch_int8", host=True, source=True),
        Kind(name="openvino", module="bench.contenders.openvino", host=True, cache=True),
        Kind(name="mnn", module="bench.contenders.mnn", host=True, cache=True),
        Kind(name="ncnn", module="bench.contenders.ncnn", host=True, cache=True),
        Kind(name="tract", module="bench.contenders.tract", host=True),
        Kind(name="executorch", module="bench.contenders.executorch", host=True, source=True, cache=True),
        Kind(name="litert", module="bench.contenders.litert", host=True, source=True, cache=True),
    )
}


def find(name: str) -> Kind:
    """Return the contender of a name.

    ``edge:VARIANT`` is our own runtime on that variant, ``FILE.py:factory`` the user's own, named by its file.
    Raises UnknownContender listing the known ones.
    """
    if name in KINDS:
        return KINDS[name]
    place, _, factory = name.rpartition(":")
    if place == OWN and factory:
        return Kind(name=name, module=OWN_MODULE, variant=factory)
    if place.endswith(".py"):
        file = Path(place)
        if not file.is_file():
            raise UnknownContender("no such file", place, "give the path of a contender: FILE.py:factory")
        return Kind(name=file.stem, file=file, factory=factory)
    raise UnknownContender(
        f"no contender {name!r}",
        "--against",
        f"known are {', '.join(KINDS)}, {OWN}:VARIANT, and your own as FILE.py:factory",
    )
