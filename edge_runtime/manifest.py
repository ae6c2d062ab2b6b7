"""What an artifact says of itself: ``manifest.json``, kind "edge-artifact", schema 2.

What no command fills is null. Older schemas are upgraded step by step as they are read. Standard library only.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from edge_runtime import decode
from edge_runtime.errors import ManifestError
from edge_runtime.files import is_plain_relative

FILE_NAME = "manifest.json"
KIND, SCHEMA = "edge-artifact", 2
MAX_BYTES = 4 * 2**20  # labels of 20,000 classes take less
MAX_PORTS, MAX_RANK, MAX_VARIANTS, MAX_FILES, MAX_GOLDEN, MAX_LABELS = 256, 32, 64, 256, 256, 100_000
MAX_PLACES = 100  # of a forward that decides by values, and of names of graph passes

Shape = tuple[int | str, ...]  # a size, or the name of a dynamic dimension


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """One input or output. dtype: numpy's name ("float32"); a dynamic dimension is a name, equal names equal sizes.

    ranges: [low, high] of the values that are meant.   tested: the sizes each dynamic dimension was verified at.
    """

    name: str
    dtype: str
    shape: Shape
    ranges: tuple[float, float] | None = None
    tested: tuple[tuple[str, tuple[int, ...]], ...] | None = None
    meaning: str | None = None

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file of the artifact by its path in it, its SHA-256 and its size."""

    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """How a variant was proven: the worst figures over all cases and outputs.

    worst_rel is over the largest magnitude of the case's output; snr_db over all cases; tolerance is the largest
    relative one granted to any output; reference says against what ("torch float64", "torch float32").
    """

    cases: int
    worst_abs: float
    worst_rel: float
    snr_db: float | None
    tolerance: float
    reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantized:
    """How many of the eligible operators a recipe really quantised."""

    done: int
    of: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """A task metric measured on labelled samples."""

    metric: str
    value: float
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One ONNX model of the artifact; the first file is the model, the others its external data.

    why: why this exporter's graph was taken, as a sentence.   passes: the graph passes that changed it, in order.
    """

    name: str
    files: tuple[File, ...]
    precision: str
    recipe: str | None = None
    opset_asked: int
    opset_written: int
    exporter: str
    why: str | None = None
    passes: tuple[str, ...] | None = None
    operators: tuple[tuple[str, int], ...]
    flops: int | None = None
    quantized: Quantized | None = None
    verification: Verification | None = None
    accuracy: Accuracy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenCase:
    """A stored input with the output expected for it. tolerance: by output name, (abs, rel)."""

    path: str
    sha256: str
    variant: str
    tolerance: tuple[tuple[str, float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A recurrent state: this output is fed back to that input."""

    input: str
    output: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The whole description; `parse` and `to_json` are each other's inverse.

    target: what the export aimed at, a board's name or ``onnxruntime==1.16``.   frozen: the places (``file.py:12``)
    where the graph holds one path of a forward that has several; null where nobody looked.
    """

    name: str
    version: str
    created: str
    producer: tuple[tuple[str, str | None], ...]  # edge, torch, onnx, onnxruntime
    source_entry: str
    source_weights_sha256: str | None
    source_framework: str
    requires_onnxruntime: str
    requires_opset: int
    requires_ir: int
    target: str | None = None
    frozen: tuple[str, ...] | None = None
    serial: int | None = None
    peak_bytes: int | None = None
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    state: tuple[State, ...] | None = None
    labels: tuple[str, ...] | None = None
    variants: tuple[Variant, ...]
    golden: tuple[GoldenCase, ...] = field(default=())

    def to_json(self) -> str:
        """Return the document as text, the same for the same content."""
        return decode.as_json(self.to_document())

    def to_document(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "kind": KIND,
            "schema": SCHEMA,
            "name": self.name,
            "version": self.version,
            "created": self.created,
            "producer": dict(self.producer),
            "source": {
                "entry": self.source_entry,
                "weights_sha256": self.source_weights_sha256,
                "framework": self.source_framework,
            },
            "requires": {
                "onnxruntime": self.requires_onnxruntime,
                "opset": self.requires_opset,
                "ir": self.requires_ir,
            },
            "target": self.target,
            "frozen": None if self.frozen is None else list(self.frozen),
            "serial": self.serial,
            "peak_bytes": self.peak_bytes,
            "inputs": [_port_document(port) for port in self.inputs],
            "outputs": [_port_document(port) for port in self.outputs],
            "state": None if self.state is None else [{"input": s.input, "output": s.output} for s in self.state],
            "labels": None if self.labels is None else list(self.labels),
            "variants": [_variant_document(variant) for variant in self.variants],
            "golden": [_golden_document(case) for case in self.golden],
        }


def parse(text: str | bytes, *, where: str) -> Manifest:
    """Read a manifest strictly; raise ManifestError naming `where` and the field for anything amiss."""
    fields = decode.document(text, where=where, error=ManifestError)
    written = decode.envelope(fields, kind=KIND, schema=SCHEMA, what="artifact")
    variants = fields.children("variants", limit=MAX_VARIANTS)
    if written == 1:
        _upgrade_from_1(fields, variants)
    source, requires, producer = fields.child("source"), fields.child("requires"), fields.child("producer")
    manifest = Manifest(
        name=_plain_name(fields, "name"),
        version=fields.string("version", limit=100),
        created=fields.string("created", limit=40),
        producer=tuple(
            (tool, producer.optional(tool, producer.string)) for tool in ("edge", "torch", "onnx", "onnxruntime")
        ),
        source_entry=source.string("entry"),
        source_weights_sha256=source.optional("weights_sha256", lambda key: _sha256(source, key)),
        source_framework=source.string("framework", limit=40),
        requires_onnxruntime=_release(requires, "onnxruntime"),
        requires_opset=requires.integer("opset", low=1, high=1000),
        requires_ir=requires.integer("ir", low=1, high=1000),
        target=fields.optional("target", lambda key: fields.string(key, limit=200)),
        frozen=fields.optional("frozen", lambda key: fields.strings(key, limit=MAX_PLACES)),
        serial=fields.optional("serial", fields.integer),
        peak_bytes=fields.optional("peak_bytes", fields.integer),
        inputs=tuple(_port(port) for port in fields.children("inputs", limit=MAX_PORTS)),
        outputs=tuple(_port(port) for port in fields.children("outputs", limit=MAX_PORTS)),
        state=fields.optional("state", lambda key: tuple(_state(s) for s in fields.children(key, limit=MAX_PORTS))),
        labels=fields.optional("labels", lambda key: fields.strings(key, limit=MAX_LABELS)),
        variants=tuple(_variant(variant) for variant in variants),
        golden=tuple(_golden(case) for case in fields.children("golden", limit=MAX_GOLDEN)),
    )
    for part in (source, requires, producer, fields):
        part.finish()
    if not manifest.variants:
        fields.refuse("variants", "is empty", "an artifact holds at least its fp32 variant; export it again")
    for key, names in (
        ("inputs", [port.name for port in manifest.inputs]),
        ("outputs", [port.name for port in manifest.outputs]),
        ("variants", [variant.name for variant in manifest.variants]),
    ):
        if len(set(names)) != len(names):
            fields.refuse(key, "names one thing twice")
    _refuse_odd_state(manifest, fields)
    known = {variant.name for variant in manifest.variants}
    outputs = {port.name for port in manifest.outputs}
    for index, case in enumerate(manifest.golden):
        if case.variant not in known:
            fields.refuse(f"golden[{index}].variant", f"is {case.variant!r}, which is no variant of this artifact")
        if {name for name, _, _ in case.tolerance} != outputs:
            fields.refuse(f"golden[{index}].tolerance", "does not name each output once")
    return manifest


def _upgrade_from_1(fields: decode.Fields, variants: Iterable[decode.Fields]) -> None:
    """Add what schema 2 brought: null, because what was written then says nothing of it."""
    for key in ("target", "frozen"):
        fields.supply(key, None)
    for variant in variants:
        for key in ("why", "passes"):
            variant.supply(key, None)


def _refuse_odd_state(manifest: Manifest, fields: decode.Fields) -> None:
    """Refuse state that can't be carried: two calls will write it where the other reads."""
    inputs, outputs = ({port.name: port for port in ports} for ports in (manifest.inputs, manifest.outputs))
    state = manifest.state or ()
    for index, pair in enumerate(state):
        key = f"state[{index}]"
        for what, name, ports in (("input", pair.input, inputs), ("output", pair.output, outputs)):
            if name not in ports:
                fields.refuse(f"{key}.{what}", f"is {name!r}, which is no {what} of this artifact")
            if sum(name == getattr(other, what) for other in state) > 1:
                fields.refuse(f"{key}.{what}", f"is {name!r}, which is there twice")
        if str(inputs[pair.input]) != str(outputs[pair.output]):
            fields.refuse(key, f"takes {inputs[pair.input]} and gives {outputs[pair.output]}, which are not the same")


def _port(fields: decode.Fields) -> Port:
    port = Port(
        name=_text(fields, "name"),
        dtype=fields.string("dtype", limit=40),
        shape=fields.shape("shape", limit=MAX_RANK),
        ranges=fields.optional("ranges", lambda key: _range(fields, key)),
        tested=fields.optional("tested", lambda key: _tested(fields, key)),
        meaning=fields.optional("meaning", fields.string),
    )
    fields.finish()
    return port


def _range(fields: decode.Fields, key: str) -> tuple[float, float]:
    ends = fields.child(key)
    low, high = ends.number("low"), ends.number("high")
    ends.finish()
    return low, high


def _tested(fields: decode.Fields, key: str) -> tuple[tuple[str, tuple[int, ...]], ...]:
    sizes = fields.child(key)
    found = tuple((name, sizes.integers(name, limit=1000)) for name in sizes.names())
    sizes.finish()
    return found


def _state(fields: decode.Fields) -> State:
    state = State(input=_text(fields, "input"), output=_text(fields, "output"))
    fields.finish()
    return state


def _variant(fields: decode.Fields) -> Variant:
    opset = fields.child("opset")
    variant = Variant(
        name=_plain_name(fields, "name"),
        files=tuple(_file(file) for file in fields.children("files", limit=MAX_FILES)),
        precision=fields.string("precision", limit=40),
        recipe=fields.optional("recipe", fields.string),
        opset_asked=opset.integer("asked", low=1, high=1000),
        opset_written=opset.integer("written", low=1, high=1000),
        exporter=fields.string("exporter", limit=40),
        why=fields.optional("why", fields.string),
        passes=fields.optional("passes", lambda key: fields.strings(key, limit=MAX_PLACES)),
        operators=tuple(fields.counts("operators", limit=1000).items()),
        flops=fields.optional("flops", fields.integer),
        quantized=fields.optional("quantized", lambda key: _quantized(fields.child(key))),
        verification=fields.optional("verification", lambda key: _verification(fields.child(key))),
        accuracy=fields.optional("accuracy", lambda key: _accuracy(fields.child(key))),
    )
    opset.finish()
    if not variant.files:
        fields.refuse("files", "is empty")
    fields.finish()
    return variant


def _file(fields: decode.Fields) -> File:
    file = File(path=_path(fields, "path"), sha256=_sha256(fields, "sha256"), bytes=fields.integer("bytes"))
    fields.finish()
    return file


def _quantized(fields: decode.Fields) -> Quantized:
    quantized = Quantized(done=fields.integer("done"), of=fields.integer("of"))
    fields.finish()
    return quantized


def _verification(fields: decode.Fields) -> Verification:
    verification = Verification(
        cases=fields.integer("cases"),
        worst_abs=fields.number("worst_abs", low=0),
        worst_rel=fields.number("worst_rel", low=0),
        snr_db=fields.optional("snr_db", fields.number),
        tolerance=fields.number("tolerance", low=0),
        reference=fields.string("reference", limit=100),
    )
    fields.finish()
    return verification


def _accuracy(fields: decode.Fields) -> Accuracy:
    accuracy = Accuracy(
        metric=fields.string("metric", limit=200),
        value=fields.number("value"),
        samples=fields.integer("samples"),
    )
    fields.finish()
    return accuracy


def _golden(fields: decode.Fields) -> GoldenCase:
    case = GoldenCase(
        path=_path(fields, "path"),
        sha256=_sha256(fields, "sha256"),
        variant=fields.string("variant", limit=100),
        tolerance=tuple(_tolerances(fields.mapping("tolerance", limit=MAX_PORTS))),
    )
    fields.finish()
    return case


def _tolerances(outputs: dict[str, decode.Fields]) -> Iterable[tuple[str, float, float]]:
    for name, limits in outputs.items():
        yield name, limits.number("abs", low=0), limits.number("rel", low=0)
        limits.finish()


def _text(fields: decode.Fields, key: str) -> str:
    text = fields.string(key, limit=500)
    if not text or not text.isprintable():
        fields.refuse(key, "is empty or holds control characters")
    return text


def _plain_name(fields: decode.Fields, key: str) -> str:
    name = fields.string(key, limit=100)
    if not is_plain_name(name):
        fields.refuse(key, f"is {name!r}, expected letters, digits, '.', '_' or '-', beginning with a letter or digit")
    return name


def is_plain_name(name: str) -> bool:
    """Return whether a name can be a folder, a shell word and a key: ASCII, no leading dot or dash."""
    return (
        0 < len(name) <= 100  # noqa: PLR2004 - long enough for people, short enough for file systems
        and name.isascii()
        and name[0].isalnum()
        and all(letter.isalnum() or letter in "._-" for letter in name)
    )


def _release(fields: decode.Fields, key: str) -> str:
    text = fields.string(key, limit=40)
    if not all(part.isascii() and part.isdigit() for part in text.split(".")):
        fields.refuse(key, f"is {text!r}, expected a version such as 1.20")
    return text


def _path(fields: decode.Fields, key: str) -> str:
    path = fields.string(key, limit=500)
    if not is_plain_relative(path):
        fields.refuse(
            key,
            f"is {path!r}, which is not a plain path inside the artifact",
            "never load it; it may be hostile",
        )
    return path


def _sha256(fields: decode.Fields, key: str) -> str:
    text = fields.string(key, limit=64)
    if len(text) != 64 or set(text) - set("0123456789abcdef"):  # noqa: PLR2004 - hexadecimal digits of 256 bits
        fields.refuse(key, "is no SHA-256 in hexadecimal")
    return text


def _port_document(port: Port) -> dict[str, Any]:
    return {
        "name": port.name,
        "dtype": port.dtype,
        "shape": list(port.shape),
        "ranges": None if port.ranges is None else {"low": port.ranges[0], "high": port.ranges[1]},
        "tested": None if port.tested is None else {name: list(sizes) for name, sizes in port.tested},
        "meaning": port.meaning,
    }


def _variant_document(variant: Variant) -> dict[str, Any]:
    quantized, accuracy, proof = variant.quantized, variant.accuracy, variant.verification
    return {
        "name": variant.name,
        "files": [{"path": file.path, "sha256": file.sha256, "bytes": file.bytes} for file in variant.files],
        "precision": variant.precision,
        "recipe": variant.recipe,
        "opset": {"asked": variant.opset_asked, "written": variant.opset_written},
        "exporter": variant.exporter,
        "why": variant.why,
        "passes": None if variant.passes is None else list(variant.passes),
        "operators": dict(variant.operators),
        "flops": variant.flops,
        "quantized": None if quantized is None else {"done": quantized.done, "of": quantized.of},
        "verification": None
        if proof is None
        else {
            "cases": proof.cases,
            "worst_abs": proof.worst_abs,
            "worst_rel": proof.worst_rel,
            "snr_db": proof.snr_db,
            "tolerance": proof.tolerance,
            "reference": proof.reference,
        },
        "accuracy": None
        if accuracy is None
        else {"metric": accuracy.metric, "value": accuracy.value, "samples": accuracy.samples},
    }


def _golden_document(case: GoldenCase) -> dict[str, Any]:
    return {
        "path": case.path,
        "sha256": case.sha256,
        "variant": case.variant,
        "tolerance": {name: {"abs": absolute, "rel": relative} for name, absolute, relative in case.tolerance},
    }
