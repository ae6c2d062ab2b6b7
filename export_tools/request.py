"""What an export is asked to do: flags or arguments, checked once, then frozen."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from edge_runtime import decode
from edge_runtime.errors import UsageError
from edge_runtime.manifest import State, is_plain_name
from export_tools.errors import SourceError
from export_tools.postprocess import Postprocess
from export_tools.preprocess import Preprocess
from export_tools.target import Target

TRACER = "torchscript"  # which keeps what the example showed, and says nothing where values leave torch
EXPORTERS = ("dynamo", TRACER)
AUTO = "auto"
DEFAULT_OPSET = 18
LEAST_OPSET, LARGEST_OPSET = 7, 100  # torch writes nothing older; a typing error is caught before a child is started
DEFAULT_TIMEOUT_S = 600.0
STAGES = ("trace", "convert", "fold", "shapes", "strip", "check", "verify", "goldens", "package")
SWITCHED = ("fold", "shapes", "strip", "goldens")  # the others make the artifact, or make it a proven one
DTYPES = ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool")
MAX_EXAMPLE_ELEMENTS = 2**28  # 1 GiB of float32: a mistyped shape must not take the machine down

_DYNAMIC = re.compile(
    r"(?P<input>.+):(?P<axis>\d+)=(?P<name>[^:]+)(?::(?P<low>\d+)\.\.(?P<high>\d+)(?:/(?P<step>\d+))?)?"
)
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"(?P<input>.+)=(?P<low>{_NUMBER})\.\.(?P<high>{_NUMBER})")
_EXAMPLE = re.compile(r"(?P<name>[^=]+)=(?P<shape>\d+(?:x\d+)*|scalar):(?P<dtype>\w+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSpec:
    """How to get the module again: all that another process, or another day on this host, needs.

    entry: ``file.py:callable``, ``package.module:callable`` or the path of a whole-module pickle.   cwd: what
    relative paths start from, importable.   paths: further places of importable code, before the interpreter's own.
    pickle_sha256: of the file at `entry` when we wrote it ourselves; it is checked before it is opened.
    preprocess, postprocess: what was folded into the artifact around the module, as text, by final names.
    """

    entry: str
    weights: str | None = None
    import_from: str | None = None
    trust_pickle: bool = False
    cwd: str = field(default_factory=lambda: str(Path.cwd()))
    paths: tuple[str, ...] = ()
    pickle_sha256: str | None = None
    preprocess: tuple[str, ...] = ()
    postprocess: str | None = None

    def to_json(self) -> str:
        """Return one line of JSON that `from_json` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes, *, where: str = "source") -> "SourceSpec":
        """Read what `to_json` wrote, strictly; raise SourceError for anything else."""
        return cls.from_fields(decode.document(text, where=where, error=SourceError))

    @classmethod
    def from_fields(cls, fields: decode.Fields) -> "SourceSpec":
        """Read the object, strictly."""
        spec = cls(
            entry=fields.string("entry"),
            weights=fields.optional("weights", fields.string),
            import_from=fields.optional("import_from", fields.string),
            trust_pickle=fields.boolean("trust_pickle"),
            cwd=fields.string("cwd"),
            paths=fields.strings("paths", limit=1000),
            pickle_sha256=fields.optional("pickle_sha256", fields.string),
            # sources remembered by earlier versions have neither
            preprocess=fields.strings("preprocess", limit=1000) if "preprocess" in fields.names() else (),
            postprocess=fields.optional("postprocess", fields.string) if "postprocess" in fields.names() else None,
        )
        fields.finish()
        return spec

    @property
    def file_and_callable(self) -> tuple[str, str] | None:
        """The two halves of ``file.py:callable`` or ``package.module:callable``; None for the path of a pickle."""
        place, colon, name = self.entry.rpartition(":")
        if colon and place and all(part.isidentifier() for part in name.split(".")):
            return place, name
        return None

    @property
    def is_onnx(self) -> bool:
        """Whether it is an ONNX file, which is adopted, and no PyTorch module."""
        return self.file_and_callable is None and self.entry.endswith(".onnx")

    @property
    def origin(self) -> str:
        """The entry as a manifest may show it: without the folders of this machine."""
        split = self.file_and_callable
        if split is None:
            return Path(self.entry).name
        place, name = split
        return f"{Path(place).name if Path(place).is_absolute() else place}:{name}"

    @property
    def stem(self) -> str:
        """What an artifact is called unless it is named: ``nets/digits.py:build`` is ``digits``."""
        split = self.file_and_callable
        if split is not None and not split[0].endswith(".py"):
            return split[0].rpartition(".")[2]
        return Path(split[0] if split else self.entry).stem


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamicAxis:
    """One axis of an input whose size may vary: by name, from `low` to `high` in multiples of `step`."""

    input: str
    axis: int
    name: str
    low: int = 1
    high: int | None = None
    step: int = 1

    def __post_init__(self) -> None:
        where = f"--dynamic {self.input}:{self.axis}={self.name}"
        if not self.name.isidentifier():
            raise UsageError(f"{self.name!r} is no name for a dimension", where, "use letters, digits and _")
        if self.low < 1 or (self.high is not None and self.high < self.low):
            raise UsageError(f"the range {self.low}..{self.high} is empty", where, "give MIN..MAX with 1 <= MIN <= MAX")
        if self.step < 1 or self.low % self.step or (self.high is not None and self.high % self.step):
            raise UsageError(
                f"{self.low}..{self.high} does not begin and end with a multiple of {self.step}",
                where,
                "the step says that only its multiples are valid: 32..512/32",
            )

    def allows(self, size: int) -> bool:
        """Return whether the axis may have this size."""
        return size >= self.low and (self.high is None or size <= self.high) and size % self.step == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueRange:
    """The values that an input is meant to take, both ends included: ``image=0..1``."""

    input: str
    low: float
    high: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= self.high):
            where = f"--range {self.input}={self.low:g}..{self.high:g}"
            raise UsageError("the range is empty or has no end", where, "give finite LOW..HIGH with LOW <= HIGH")


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One input of an example that is described, not given: ``image=1x3x224x224:float32``."""

    name: str
    shape: tuple[int, ...]
    dtype: str


Example = Path | tuple[TensorSpec, ...]  # an .npz by input name, or a description of every input


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """One export. Names in `example`, `dynamic`, `ranges` and `data` are the final ones, after `input_names`.

    origin: what the manifest says of the source, for people.   data: an .npz, or a folder of them, of real inputs.
    keep_opset: nothing asks for `opset`, so an ONNX file keeps its own.   target: what it is to run on.
    prove_target: run it in the target's own onnxruntime too.
    state: outputs that are the next step's inputs.   preprocess, postprocess: steps inside the graph.   labels: names
    of the classes, in their order.
    allow_frozen_branch: export the example's path through a forward that decides by values.
    timeout_s: for each step of a torch process.   skip: stages to leave out, of `SWITCHED`.
    Raises UsageError at birth for what can't be meant.
    """

    source: SourceSpec
    output: Path
    name: str
    origin: str
    example: Example | None = None
    dynamic: tuple[DynamicAxis, ...] = ()
    ranges: tuple[ValueRange, ...] = ()
    input_names: tuple[str, ...] = ()
    output_names: tuple[str, ...] = ()
    opset: int = DEFAULT_OPSET
    keep_opset: bool = False
    target: Target | None = None
    prove_target: bool = False
    exporter: str = AUTO
    allow_frozen_branch: bool = False
    data: Path | None = None
    state: tuple[State, ...] = ()
    preprocess: tuple[Preprocess, ...] = ()
    postprocess: Postprocess | None = None
    labels: tuple[str, ...] | None = None
    version: str = "1"
    timeout_s: float = DEFAULT_TIMEOUT_S
    seed: int = 0
    skip: tuple[str, ...] = ()
    force: bool = False

    def __post_init__(self) -> None:
        if not is_plain_name(self.name):
            hint = "give one of letters, digits, '.', '_' and '-', beginning with a letter or digit: --name"
            raise UsageError(f"{self.name!r} can't be an artifact's name", str(self.output), hint)
        if not 0 < len(self.version) <= 100 or not self.version.isprintable():  # noqa: PLR2004 - the manifest's limit
            raise UsageError(f"the version {self.version[:40]!r}", "--version", "give a short word such as 1.2")
        if not LEAST_OPSET <= self.opset <= LARGEST_OPSET:
            hint = f"ask for {LEAST_OPSET} or later; onnxruntime 1.20 and later run all that torch writes"
            raise UsageError(f"opset {self.opset}", "--opset", hint)
        if self.exporter not in {AUTO, *EXPORTERS}:
            raise UsageError(f"no exporter {self.exporter!r}", "--exporter", f"one of {', '.join((AUTO, *EXPORTERS))}")
        if not 0 < self.timeout_s < 10**7:
            raise UsageError(f"a time limit of {self.timeout_s} s", "--timeout", "give seconds, more than 0")
        if self.seed < 0:
            raise UsageError(f"the seed {self.seed}", "--seed", "give an integer, 0 or more")
        self._check_names()
        self._check_dynamic()
        self._check_stages()
        named = [given.input for given in self.ranges]
        for name in named:
            if named.count(name) > 1:
                raise UsageError(f"{name} has two ranges", "--range", "give each input one")

    @property
    def all_ranges(self) -> tuple[ValueRange, ...]:
        """The declared ranges, and for the other raw inputs all that their dtype can hold."""
        declared = {one.input for one in self.ranges}
        raw = [one for one in self.preprocess if one.input not in declared]
        return (*self.ranges, *(ValueRange(input=o.input, low=o.values[0], high=o.values[1]) for o in raw))

    def _check_names(self) -> None:
        names = (*self.input_names, *self.output_names)
        for name in names:
            if not name or not name.isprintable() or name != name.strip():
                raise UsageError(f"{name!r} is no name", "--input-names, --output-names", "give a,b without blanks")
            if names.count(name) > 1:
                raise UsageError(f"the name {name!r} is there twice", "--input-names, --output-names", "name each once")

    def _check_stages(self) -> None:
        for name in self.skip:
            if name not in SWITCHED:
                known = f"{', '.join(SWITCHED)} may be left out"
                what = "is needed: an unverified artifact is no artifact" if name in STAGES else "is no stage"
                raise UsageError(f"{name!r} {what}", "--skip", known)
        if self.prove_target and self.target is None:
            raise UsageError("no target to prove it for", "--prove-target", "say which: --target onnxruntime==1.16")
        if self.prove_target and "goldens" in self.skip:
            raise UsageError("it replays the golden cases", "--prove-target", "leave out: --skip goldens")

    def _check_dynamic(self) -> None:
        axes = [(axis.input, axis.axis) for axis in self.dynamic]
        ranges: dict[str, tuple[int, int | None, int]] = {}
        for axis in self.dynamic:
            where = f"--dynamic {axis.input}:{axis.axis}={axis.name}"
            if axes.count((axis.input, axis.axis)) > 1:
                raise UsageError("the axis is there twice", where, "name each axis once")
            limits = (axis.low, axis.high, axis.step)
            if ranges.setdefault(axis.name, limits) != limits:
                raise UsageError(f"{axis.name} has two ranges", where, "equal names are equal sizes: give one range")


def opset_for(asked: int | None, target: Target | None) -> int:
    """Return the opset to write: the one asked for, else the usual one, or what the target reads of it."""
    if asked is not None:
        return asked
    return DEFAULT_OPSET if target is None else target.best_opset(DEFAULT_OPSET)


def wire_names(kind: str, count: int) -> tuple[str, ...]:
    """Return what an exporter is told that inputs or outputs are called, until its graph is read.

    The final names may be those of weights or inner values, which exporters mistake them for.
    """
    return tuple(f"__edge_{kind}_{index}" for index in range(count))


def parse_dynamic(text: str) -> DynamicAxis:
    """Read ``image:0=batch``, ``image:2=height:32..512`` or ``image:2=height:32..512/32``; raise UsageError."""
    found = _DYNAMIC.fullmatch(text)
    if found is None:
        raise UsageError(
            f"{text!r} is no dynamic axis", "--dynamic", "INPUT:AXIS=NAME[:MIN..MAX[/STEP]], as image:0=batch:1..64"
        )
    return DynamicAxis(
        input=found["input"],
        axis=int(found["axis"]),
        name=found["name"],
        low=int(found["low"] or 1),
        high=int(found["high"]) if found["high"] else None,
        step=int(found["step"] or 1),
    )


def parse_dynamic_mapping(dynamic: Mapping[str, Mapping[int, str]]) -> tuple[DynamicAxis, ...]:
    """Read ``{"image": {0: "batch"}}``; a value may hold a range as the flag does: ``"batch:1..64"``."""
    return tuple(
        parse_dynamic(f"{name}:{axis}={text}") for name, axes in dynamic.items() for axis, text in axes.items()
    )


def parse_range(text: str) -> ValueRange:
    """Read ``image=0..1`` or ``ids=0..30521``; raise UsageError."""
    found = _RANGE.fullmatch(text)
    if found is None:
        raise UsageError(f"{text!r} is no range of values", "--range", "INPUT=LOW..HIGH, as image=0..1 or audio=-1..1")
    return ValueRange(input=found["input"], low=float(found["low"]), high=float(found["high"]))


def parse_state(text: str) -> State:
    """Read ``h_in:h_out``; raise UsageError."""
    taken, colon, given = text.rpartition(":")
    if not (colon and taken and given):
        raise UsageError(f"{text!r} is no state", "--state", "INPUT:OUTPUT, as h_in:h_out, once for each")
    return State(input=taken, output=given)


def parse_example(texts: Sequence[str]) -> Example | None:
    """Read ``image=1x3x224x224:float32`` (one for each input; ``scalar`` for rank 0) or one ``FILE.npz``."""
    if not texts:
        return None
    if len(texts) == 1 and texts[0].endswith(".npz"):
        return Path(texts[0])
    return tuple(_tensor_spec(text) for text in texts)


def _tensor_spec(text: str) -> TensorSpec:
    found = _EXAMPLE.fullmatch(text)
    if found is None or found["dtype"] not in DTYPES:
        hint = f"NAME=1x3x224x224:float32 or FILE.npz; dtypes are {', '.join(DTYPES)}"
        raise UsageError(f"{text!r} is no example", "--example", hint)
    shape = () if found["shape"] == "scalar" else tuple(int(size) for size in found["shape"].split("x"))
    if 0 in shape or math.prod(shape) > MAX_EXAMPLE_ELEMENTS:
        raise UsageError(f"{text!r} is empty or enormous", "--example", f"1 to {MAX_EXAMPLE_ELEMENTS} elements")
    return TensorSpec(name=found["name"], shape=shape, dtype=found["dtype"])


def describe_limits(axis: DynamicAxis) -> str:
    """Return the sizes an axis may have, as text."""
    upper = "any" if axis.high is None else str(axis.high)
    return f"{axis.low}..{upper}" + (f" in steps of {axis.step}" if axis.step > 1 else "")
