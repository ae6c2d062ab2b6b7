"""The command that shows a failed proof again: to be pasted into any shell, in any folder."""

import shlex
from pathlib import Path

from export_tools.request import AUTO, DEFAULT_OPSET, ExportRequest, SourceSpec, TensorSpec


def of_export(request: ExportRequest, data: Path) -> str:
    """Return what exports again with a failing input among the cases; Python for a module given as an object."""
    if request.source.pickle_sha256 is not None:
        return f"export(..., data={str(data.absolute())!r}) with the same module and options"
    source, lead = _placed(request.source, request.source.entry)
    words = ["edge", "export", source, "-o", str(request.output.absolute()), "--data", str(data.absolute())]
    stem = request.output.name.removesuffix(".edge")
    words += ["--name", request.name] if request.name != stem else []
    words += _of_source(request.source)
    if isinstance(request.example, Path):
        words += ["--example", str(request.example.absolute())]
    for given in request.example if isinstance(request.example, tuple) else ():
        words += ["--example", _described(given)]
    for axis in request.dynamic:
        limits = "" if axis.high is None else f":{axis.low}..{axis.high}/{axis.step}"
        words += ["--dynamic", f"{axis.input}:{axis.axis}={axis.name}{limits}"]
    for declared in request.ranges:
        words += ["--range", f"{declared.input}={_number(declared.low)}..{_number(declared.high)}"]
    for flag, names in (("--input-names", request.input_names), ("--output-names", request.output_names)):
        words += [flag, ",".join(names)] if names else []
    for pair in request.state:
        words += ["--state", f"{pair.input}:{pair.output}"]
    for one in request.preprocess:
        words += ["--preprocess", str(one)]
    words += [] if request.postprocess is None else ["--postprocess", str(request.postprocess)]
    # of a target it is the opset that may matter here, and a described machine has no name that a flag would know
    needed = request.opset != DEFAULT_OPSET or (request.source.is_onnx and not request.keep_opset)
    words += ["--opset", str(request.opset)] if needed else []
    words += ["--exporter", request.exporter] if request.exporter != AUTO else []
    words += ["--seed", str(request.seed)] if request.seed else []
    words += ["--allow-frozen-branch"] if request.allow_frozen_branch else []
    # what is there already was there when this export failed: it was asked to replace it
    words += ["--force"] if request.force else []
    return lead + shlex.join(words)


def of_verify(artifact: Path, variant: str, request: ExportRequest, data: Path) -> str:
    """Return what verifies an artifact again with a failing input among the cases."""
    words = ["edge", "verify", str(artifact.absolute()), "--data", str(data.absolute()), "--variant", variant]
    lead = ""
    if request.source.pickle_sha256 is None:  # else this host remembers it, and no flag can name it
        source, lead = _placed(request.source, request.source.entry)
        words += ["--source", source, *_of_source(request.source)]
        for one in request.preprocess:
            words += ["--preprocess", str(one)]
        words += [] if request.postprocess is None else ["--postprocess", str(request.postprocess)]
    words += ["--seed", str(request.seed)] if request.seed else []
    words += ["--allow-frozen-branch"] if request.allow_frozen_branch else []
    return lead + shlex.join(words)


def _placed(spec: SourceSpec, entry: str) -> tuple[str, str]:
    """Return the entry as any folder understands it, and what goes before the command where none would.

    A package is found from the folder it was asked in; so may be the neighbours of a file that lies deeper.
    """
    split = spec.file_and_callable
    if split is not None and not split[0].endswith(".py"):
        return entry, f"cd {shlex.quote(spec.cwd)} && "
    path = Path(spec.cwd, split[0] if split else entry)
    placed = f"{path}:{split[1]}" if split else str(path)
    beside = path.parent == Path(spec.cwd) or split is None
    return placed, "" if beside else f"cd {shlex.quote(spec.cwd)} && "


def _of_source(spec: SourceSpec) -> list[str]:
    words: list[str] = []
    for flag, value in (("--weights", spec.weights), ("--import-from", spec.import_from)):
        words += [flag, str(Path(spec.cwd, value))] if value is not None else []
    return [*words, *(["--trust-pickle"] if spec.trust_pickle else [])]


def _described(spec: TensorSpec) -> str:
    return f"{spec.name}={'x'.join(map(str, spec.shape)) or 'scalar'}:{spec.dtype}"


def _number(value: float) -> str:
    # six digits of %g would round an end that a failing input may lie at
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(value)
