"""Write the artifact: the inverse of `edge_runtime.artifact`. The same export gives the same bytes."""

import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import edge_runtime
from edge_runtime import files, npz
from edge_runtime import manifest as manifests
from edge_runtime.artifact import Artifact, is_only_an_artifact, open_artifact
from edge_runtime.errors import UsageError
from edge_runtime.manifest import GoldenCase, Manifest, Port, Variant
from export_tools.cases import Case, sizes_of
from export_tools.convert import Conversion
from export_tools.noise import Answers
from export_tools.releases import least_release
from export_tools.request import ExportRequest
from export_tools.sequences import is_shortest
from export_tools.verify import Verification

if TYPE_CHECKING:
    from edge_runtime.npz import Array
    from edge_runtime.tolerance import Tolerance

REFERENCE = "fp32"
MAX_WHY = 600  # characters of a sentence
MAX_GOLDEN, MAX_GOLDEN_BYTES = 16, 32 * 2**20  # replayed in seconds on a slow board, copied in seconds to it

LATEST_S = 253_402_300_799  # the last second of the year 9999, beyond which a date has no ISO form


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """All that goes into an artifact, proven. torch_version: None where torch had no part in it."""

    conversion: Conversion
    verification: Verification
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    cases: tuple[Case, ...]
    answers: tuple[Answers, ...]
    weights_sha256: str
    torch_version: str | None


def pack(request: ExportRequest, contents: Contents, golden: Sequence[GoldenCase], folder_of_golden: Path) -> Artifact:
    """Write NAME.edge aside, flush it, rename it into place; return it as opened.

    golden: what `write_golden` wrote into `folder_of_golden`.   Raises OutputExists or Unwritable.
    """
    with files.staged_directory(request.output, replace=request.force, ours=is_only_an_artifact) as folder:
        variant = _write_model(folder, contents)
        (folder / "golden").mkdir()
        for case in golden:
            shutil.copyfile(folder_of_golden / case.path, folder / case.path)
        described = _described(request, contents, variant, golden)
        files.write_whole(folder / manifests.FILE_NAME, described.to_json().encode())
        open_artifact(folder).verify()  # read and hashed as strictly as any other before it gets its name
    return open_artifact(request.output)


def write_golden(folder: Path, contents: Contents) -> tuple[GoldenCase, ...]:
    """Write the cases that an artifact has room for, the example first, as ``golden/CASE.npz`` in `folder`."""
    (folder / "golden").mkdir()
    found: list[GoldenCase] = []
    written = 0
    limits: dict[str, list[tuple[str, Tolerance]]] = {}
    for row in contents.verification.rows:
        limits.setdefault(row.case, []).append((row.output, row.tolerance))
    pairs = list(zip(contents.cases, contents.answers, strict=True))
    # then the shortest sequence, which a model with many sizes would otherwise have no room for
    for case, answers in (*pairs[:1], *sorted(pairs[1:], key=lambda pair: not is_shortest(pair[0]))):
        if case.name not in limits or case.name in contents.verification.tied:
            continue  # left out of the proof, so nothing to hold another machine against
        arrays: dict[str, Array] = {f"input/{name}": array for name, array in case.inputs.items()}
        arrays |= {f"output/{name}": array for name, array in answers.plain.items()}
        size = sum(array.nbytes for array in arrays.values())
        # the first is the example, which stands for real use and is what gets timed: it is always there
        if found and (len(found) == MAX_GOLDEN or written + size > MAX_GOLDEN_BYTES):
            continue
        written += size
        path = f"golden/{case.name}.npz"
        npz.write(folder / path, arrays)
        found.append(
            GoldenCase(
                path=path,
                sha256=files.sha256(folder / path),
                variant=REFERENCE,
                tolerance=tuple((name, float(limit.abs), limit.rel) for name, limit in limits[case.name]),
            )
        )
    return tuple(found)


def created() -> str:
    """Return the time in UTC, as ``2026-01-31T12:00:00Z``; SOURCE_DATE_EPOCH takes its place when it is set."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    if epoch and not (epoch.isascii() and epoch.isdecimal() and int(epoch[:20]) <= LATEST_S):
        raise UsageError(
            f"SOURCE_DATE_EPOCH is {epoch[:40]!r}", "the environment", "give seconds since 1970, or unset it"
        )
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(epoch) if epoch else time.time()))


def _write_model(folder: Path, contents: Contents) -> Variant:
    home = folder / REFERENCE
    home.mkdir()
    made = contents.conversion.model.parent
    found: list[manifests.File] = []
    for path in (contents.conversion.model, *sorted(made.glob("*.data"))):
        target = home / path.name
        shutil.copyfile(path, target)
        found.append(
            manifests.File(path=f"{REFERENCE}/{path.name}", sha256=files.sha256(target), bytes=target.stat().st_size)
        )
    return Variant(
        name=REFERENCE,
        files=tuple(found),
        precision=_precision(contents),
        opset_asked=contents.conversion.opset_asked,
        opset_written=contents.conversion.opset_written,
        exporter=contents.conversion.exporter,
        why=_bounded(contents.conversion.why),
        passes=contents.conversion.passes,
        operators=contents.conversion.operators,
        verification=contents.verification.summary,
    )


def _bounded(why: str) -> str:
    """Return a reason that a manifest takes: an exporter's own words may be a page."""
    return why if len(why) <= MAX_WHY else why[: MAX_WHY - 1] + "…"


def _precision(contents: Contents) -> str:
    kinds = [array.dtype for array in contents.answers[0].plain.values()]
    kinds += [array.dtype for array in contents.cases[0].inputs.values()]
    return next((kind.name for kind in kinds if kind.kind == "f"), "float32")


def _described(request: ExportRequest, contents: Contents, variant: Variant, golden: Sequence[GoldenCase]) -> Manifest:
    conversion = contents.conversion
    return Manifest(
        name=request.name,
        version=request.version,
        created=created(),
        producer=(
            ("edge", edge_runtime.__version__),
            ("torch", contents.torch_version),
            ("onnx", version("onnx")),
            ("onnxruntime", version("onnxruntime")),
        ),
        source_entry=request.origin,
        source_weights_sha256=contents.weights_sha256,
        source_framework="onnx" if contents.torch_version is None else "torch",
        # newer than all known releases: it ran here
        requires_onnxruntime=least_release(conversion.opset_written, conversion.ir) or version("onnxruntime"),
        requires_opset=conversion.opset_written,
        requires_ir=conversion.ir,
        target=None if request.target is None else request.target.name,
        peak_bytes=conversion.peak_bytes,
        frozen=conversion.frozen[: manifests.MAX_PLACES],
        inputs=tuple(replace(port, tested=sizes_of(contents.cases, port)) for port in contents.inputs),
        outputs=contents.outputs,
        state=request.state or None,
        labels=request.labels,
        variants=(variant,),
        golden=tuple(golden),
    )
