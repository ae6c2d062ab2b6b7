"""`edge verify`: the whole proof of an artifact again, against the module it was made from, or against its goldens."""

import math
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from edge_runtime import npz
from edge_runtime.artifact import Artifact, open_artifact
from edge_runtime.errors import UsageError
from edge_runtime.manifest import Manifest, Variant
from edge_runtime.session import ENGINE
from export_tools import adopt, prove, remembered, replay, throwaway
from export_tools.cases import REAL, Case
from export_tools.errors import ParityLost, SourceError
from export_tools.explain import Investigation
from export_tools.noise import Answers, Granted
from export_tools.postprocess import parse as parse_postprocess
from export_tools.preprocess import parse as parse_preprocess
from export_tools.reference import answer_cases, ask_to_open, await_opened, start
from export_tools.request import AUTO, DEFAULT_TIMEOUT_S, DynamicAxis, ExportRequest, SourceSpec, ValueRange
from export_tools.stages import Progress, stage
from export_tools.verify import STORED, Verification, departed, held, refuse_invalid, threads, verify

SOURCE, GOLDENS = "source", "goldens"
AGAINST = (AUTO, SOURCE, GOLDENS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reverified:
    """A proof that was repeated. against: what it was held against, as people read it.   engine: what ran it."""

    artifact: Artifact
    variant: Variant
    against: str
    engine: str
    verification: Verification
    warnings: tuple[str, ...]


def reverify(
    path: str | Path,
    *,
    against: str = AUTO,
    source: SourceSpec | None = None,
    data: Path | None = None,
    variant: str = AUTO,
    seed: int = 0,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    allow_frozen_branch: bool = False,
    runtime: str | None = None,
    progress: Progress = lambda _: None,
) -> Reverified:
    """Prove an artifact again; return the proof.

    against: ``source`` is the module, as given or as this host remembers it, with all the cases that an export makes,
    at the sizes and values that the manifest says; ``goldens`` are the answers stored in the artifact; ``auto`` takes
    the source where there is one. data: further real inputs, for the source alone.   runtime: a release of onnxruntime
    (``1.16``) to run it in, which pip fetches once, instead of this environment's.
    Raises HashMismatch for a changed file, SourceError for a source that is not the artifact's, ParityLost when an
    answer departs, with the operator and a small failing input as an export has them; with another runtime NoWheel or
    UnsupportedSystem when it is not to be had, UnsupportedModel when it refuses the model.
    """
    if against not in AGAINST:
        raise UsageError(f"nothing called {against!r} to verify against", "--against", f"one of {', '.join(AGAINST)}")
    with stage(progress, "check", str(path)) as told:
        artifact = open_artifact(path)
        count = artifact.verify()
        chosen = artifact.variant(variant)
        told.says(f"{count} files as the manifest says")
    known = _with_steps(source, remembered.recall(artifact.manifest.variants[0].files[0].sha256))
    if against == SOURCE and known is None:
        raise SourceError("this host does not remember its source", str(path), "say where it is: --source FILE.py:call")
    with _other_runtime(runtime, path, timeout_s, progress) as other:
        if known is not None and against != GOLDENS:
            request = _request(
                artifact,
                known,
                data=data,
                seed=seed,
                timeout_s=timeout_s,
                allow_frozen_branch=allow_frozen_branch,
            )
            return _against_source(artifact, chosen, request, other, progress)
        if data is not None:
            hint = "give the module too: --source FILE.py:callable"
            raise UsageError("there is no answer to hold new inputs against", "--data", hint)
        return _against_goldens(artifact, chosen, other, progress)


def _with_steps(given: SourceSpec | None, recalled: SourceSpec | None) -> SourceSpec | None:
    """Return the source to hold it against: the one given, with the steps that are remembered unless it has its own."""
    if given is None or recalled is None or given.preprocess or given.postprocess:
        return given or recalled
    return replace(given, preprocess=recalled.preprocess, postprocess=recalled.postprocess)


@contextmanager
def _other_runtime(
    release: str | None, path: str | Path, timeout_s: float, progress: Progress
) -> Iterator[prove.Runtime | None]:
    if release is None:
        yield None
        return
    with stage(progress, "fetch", f"onnxruntime {release}, into an environment of its own") as told:
        folder = throwaway.environment(release)
        told.says(f"onnxruntime {release} in {folder}")
    with (
        tempfile.TemporaryDirectory(prefix="edge-runtime-") as work,
        prove.runtime(folder, release, where=str(path), work=Path(work), timeout_s=timeout_s) as opened,
    ):
        yield opened


def _against_source(
    artifact: Artifact, variant: Variant, request: ExportRequest, other: prove.Runtime | None, progress: Progress
) -> Reverified:
    model = artifact.model_path(variant)
    with tempfile.TemporaryDirectory(prefix="edge-verify-") as folder, start(request) as reference:
        work = Path(folder)
        first = _example(artifact)
        if first is not None:
            npz.write(work / "example.npz", first)
            request = replace(request, example=work / "example.npz")
        with stage(progress, "open", request.origin) as told:
            if request.source.is_onnx:
                found = adopt.open_file(request, reference, work)
                request, opened = found.request, found.opened
            else:
                ask_to_open(request, reference, work, precise=True)
                opened = await_opened(request, reference, None, work)
            _refuse_other_weights(artifact.manifest, opened.weights_sha256, request.origin)
            told.says(", ".join(f"{port.name} {port}" for port in opened.inputs))
        with stage(progress, "answer", f"the cases in {opened.engine}") as told:
            answered = answer_cases(request, opened, reference, work)
            told.says(f"{len(answered.cases)} cases, {opened.engine}")
        again = partial(replay.of_verify, artifact.path, variant.name, request)
        doubts = Investigation.of(request, opened, reference, answered, work=work, replay=again)
        with stage(progress, "verify", f"{len(answered.cases)} cases in onnxruntime") as told:
            try:
                refuse_invalid(model, where=str(artifact.path))
                proof = verify(
                    model,
                    answered.cases,
                    answered.answers,
                    threads=threads(),
                    where=str(artifact.path),
                    state=request.state,
                    tied=doubts.tied,
                    reference=opened.reference,
                    opener=None if other is None else other.open,
                    progress=told.step,
                )
                more = doubts.search(model, proof) if other is None else 0
            except ParityLost as problem:
                # what explains a failure runs in this process's own runtime, which is not the one that failed
                error = doubts.explained(problem) if other is None else prove.elsewhere(problem, other.engine)
                raise error from problem
            told.says(f"worst error {proof.worst.difference.ratio:.1%} of its tolerance; {more} more inputs searched")
    return Reverified(
        artifact=artifact,
        variant=variant,
        against=f"the source {request.origin}",
        engine=_engine(other),
        verification=proof,
        warnings=(*answered.left_out, *proof.warnings),
    )


def _against_goldens(
    artifact: Artifact, variant: Variant, other: prove.Runtime | None, progress: Progress
) -> Reverified:
    golden = list(artifact.golden(variant))
    if not golden:
        raise UsageError(
            "it has no golden cases", str(artifact.path), "give the module instead: --source FILE.py:callable"
        )
    cases = [Case(one.name, one.inputs, {}) for one in golden]
    answers = [Answers(one.outputs, None) for one in golden]
    granted = [{name: Granted(limit, limit.rel) for name, limit in one.tolerance.items()} for one in golden]
    with stage(progress, "verify", f"{len(cases)} golden cases in onnxruntime") as told:
        model = artifact.model_path(variant)
        refuse_invalid(model, where=str(artifact.path))
        found = held(
            model,
            cases,
            answers,
            granted,
            threads=threads(),
            where=str(artifact.path),
            reference=STORED,
            opener=None if other is None else other.open,
            progress=told.step,
        )
        if found.wrong:
            problem = departed(found, cases, model, str(artifact.path))
            raise problem if other is None else prove.elsewhere(problem, other.engine)
        told.says(f"worst error {found.worst.difference.ratio:.1%} of its tolerance")
    return Reverified(
        artifact=artifact,
        variant=variant,
        against="its golden cases",
        engine=_engine(other),
        verification=found,
        warnings=found.warnings,
    )


def _engine(other: prove.Runtime | None) -> str:
    return ENGINE if other is None else other.engine


def _request(artifact: Artifact, source: SourceSpec, **options: object) -> ExportRequest:
    """Return what an export of the artifact would have been asked, as far as its manifest tells."""
    manifest = artifact.manifest
    preprocess = parse_preprocess(source.preprocess)
    folded = {one.input for one in preprocess}
    return ExportRequest(
        source=replace(source, preprocess=(), postprocess=None),
        output=artifact.path,
        name=manifest.name,
        origin=source.origin if source.pickle_sha256 is None else manifest.source_entry,
        dynamic=_axes(manifest),
        ranges=tuple(
            ValueRange(input=port.name, low=port.ranges[0], high=port.ranges[1])
            for port in manifest.inputs
            if port.ranges is not None and port.name not in folded
        ),
        input_names=tuple(port.name for port in manifest.inputs),
        output_names=tuple(port.name for port in manifest.outputs),
        state=manifest.state or (),
        preprocess=preprocess,
        postprocess=None if source.postprocess is None else parse_postprocess([source.postprocess]),
        **options,  # type: ignore[arg-type]  # our own caller's, each by its name
    )


def _axes(manifest: Manifest) -> tuple[DynamicAxis, ...]:
    """Return the dynamic axes: from the least to the largest size that was verified, in steps that all of them have."""
    tested = {name: sizes for port in manifest.inputs for name, sizes in port.tested or ()}
    return tuple(
        DynamicAxis(
            input=port.name,
            axis=axis,
            name=name,
            low=min(tested[name]),
            high=max(tested[name]),
            step=math.gcd(*tested[name]),
        )
        for port in manifest.inputs
        for axis, name in enumerate(port.shape)
        if isinstance(name, str) and name in tested
    )


def _example(artifact: Artifact) -> "Mapping[str, npz.Array] | None":
    variant = artifact.variant()
    return next((case.inputs for case in artifact.golden(variant) if case.name == REAL), None)


def _refuse_other_weights(manifest: Manifest, found: str, where: str) -> None:
    wanted = manifest.source_weights_sha256
    if wanted is not None and found != wanted:
        raise SourceError(
            f"its weights have the SHA-256 {found[:12]}…, the artifact was made from {wanted[:12]}…",
            where,
            "give the module it was made from: --source and --weights, or export again",
        )
