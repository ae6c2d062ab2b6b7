"""Open an artifact directory: the manifest first, hashes second, bytes last."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime import files, manifest
from edge_runtime.array_shapes import array_shapes
from edge_runtime.errors import EdgeError, HashMismatch, ManifestError, UsageError
from edge_runtime.manifest import File, GoldenCase, Manifest, Variant

if TYPE_CHECKING:
    from edge_runtime.npz import Array
    from edge_runtime.tolerance import Tolerance

AUTO = "auto"
INPUT = "input/"  # how the keys of a golden case's inputs begin
HashFile = Callable[[Path], str]


@dataclass(frozen=True, slots=True)
class Artifact:
    """An artifact whose manifest was read; its files are trusted only after `verify_variant` or `verify`."""

    path: Path
    manifest: Manifest

    def variant(self, name: str = AUTO) -> Variant:
        """Return a variant by name; "auto" is the first one, the reference. Raises UsageError for unknown names."""
        if name == AUTO:
            return self.manifest.variants[0]
        for variant in self.manifest.variants:
            if variant.name == name:
                return variant
        known = ", ".join(variant.name for variant in self.manifest.variants)
        raise UsageError(f"no variant {name!r}", str(self.path), f"it has: {known}")

    def model_path(self, variant: Variant) -> Path:
        """Return the path of the variant's ONNX file."""
        return files.inside(self.path, variant.files[0].path, error=ManifestError)

    def verify_variant(self, variant: Variant, *, hash_file: HashFile | None = None) -> None:
        """Hash the variant's files; raise ManifestError for a missing or unnamed one, HashMismatch for a changed.

        hash_file: how a file is hashed, in full unless given.
        """
        for file in variant.files:
            self._verify_file(file, hash_file or _in_full)
        self._refuse_unnamed(self.model_path(variant).parent)

    def verify(self) -> int:
        """Hash every file the manifest names; return how many there were."""
        for variant in self.manifest.variants:
            self.verify_variant(variant)
        for case in self.manifest.golden:
            self._verify_hash(case.path, case.sha256)
        return sum(len(variant.files) for variant in self.manifest.variants) + len(self.manifest.golden)

    def golden(self, variant: Variant) -> Iterator["OpenedCase"]:
        """Yield a variant's golden cases, or the reference's when it has none; each is hashed before it is read."""
        for case in _cases(self, variant):
            self._verify_hash(case.path, case.sha256)
            yield OpenedCase.open(self, case)

    def size_bytes(self, variant: Variant) -> int:
        """Return the size of the variant's files, as the manifest says it."""
        return sum(file.bytes for file in variant.files)

    @property
    def named(self) -> frozenset[str]:
        """The paths of every file that belongs to the artifact, below its folder."""
        files_of_variants = (file.path for variant in self.manifest.variants for file in variant.files)
        golden = (case.path for case in self.manifest.golden)
        return frozenset((manifest.FILE_NAME, f"{manifest.FILE_NAME}.sig", *golden, *files_of_variants))

    def _refuse_unnamed(self, folder: Path) -> None:
        # a model may name weights beside it: onnxruntime reads them, so nothing may lie there that was not hashed
        named = self.named
        for found in folder.rglob("*"):
            name = found.relative_to(self.path).as_posix()
            if name not in named and (found.is_symlink() or not found.is_dir()):
                raise ManifestError(f"{name} is not in the manifest", str(self.path), f"remove it, or {_RESTORE}")

    def _verify_file(self, file: File, hash_file: HashFile) -> None:
        path = self._existing(file.path)
        size = path.stat().st_size
        if size != file.bytes:
            raise HashMismatch(f"{file.path} is {size} bytes, its manifest says {file.bytes}", str(self.path), _RESTORE)
        self._verify_hash(file.path, file.sha256, hash_file)

    def _verify_hash(self, relative: str, wanted: str, hash_file: HashFile | None = None) -> None:
        found = (hash_file or _in_full)(self._existing(relative))
        if found != wanted:
            raise HashMismatch(
                f"{relative} has the SHA-256 {found[:12]}…, its manifest says {wanted[:12]}…",
                str(self.path),
                _RESTORE,
            )

    def _existing(self, relative: str) -> Path:
        path = files.inside(self.path, relative, error=ManifestError)
        if not path.is_file():
            raise ManifestError(f"{relative} is missing", str(self.path), _RESTORE)
        return path


def case_shapes(artifact: Artifact, variant: Variant) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the inputs that a variant's first golden case has, by name; empty when it has no case."""
    cases = _cases(artifact, variant)
    shapes = array_shapes(files.inside(artifact.path, cases[0].path, error=ManifestError)) if cases else {}
    return {name.removeprefix(INPUT): shape for name, shape in shapes.items() if name.startswith(INPUT)}


def _cases(artifact: Artifact, variant: Variant) -> list[GoldenCase]:
    own = [case for case in artifact.manifest.golden if case.variant == variant.name]
    reference = artifact.manifest.variants[0].name
    return own or [case for case in artifact.manifest.golden if case.variant == reference]


def _in_full(path: Path) -> str:
    return files.sha256(path, error=ManifestError)


_RESTORE = "copy the artifact again, or export it again"


@dataclass(frozen=True, slots=True)
class OpenedCase:
    """A golden case with its arrays, held against the manifest's ports by name."""

    name: str
    variant: str
    inputs: "dict[str, Array]"
    outputs: "dict[str, Array]"
    tolerance: "dict[str, Tolerance]"

    @classmethod
    def open(cls, artifact: Artifact, case: GoldenCase) -> "OpenedCase":
        """Read a case's file; raise ManifestError when its arrays are not those of the artifact's ports."""
        from edge_runtime import npz  # noqa: PLC0415 - `edge info` opens artifacts and must not wait for numpy
        from edge_runtime.tolerance import Tolerance  # noqa: PLC0415 - as above

        arrays = npz.read(artifact.path / case.path)
        inputs = {port.name: arrays.pop(f"{INPUT}{port.name}", None) for port in artifact.manifest.inputs}
        outputs = {port.name: arrays.pop(f"output/{port.name}", None) for port in artifact.manifest.outputs}
        present_inputs = {name: array for name, array in inputs.items() if array is not None}
        present_outputs = {name: array for name, array in outputs.items() if array is not None}
        if arrays or len(present_inputs) != len(inputs) or len(present_outputs) != len(outputs):
            raise ManifestError(
                f"{case.path} does not hold one array for each input and output", str(artifact.path), _RESTORE
            )
        limits = {name: Tolerance(abs=absolute, rel=relative) for name, absolute, relative in case.tolerance}
        return cls(Path(case.path).stem, case.variant, present_inputs, present_outputs, limits)


def is_only_an_artifact(path: Path) -> bool:
    """Return whether a folder holds an artifact and not one file besides: only then may it be replaced.

    A ``manifest.json`` alone says nothing: web applications and browser extensions have one too.
    """
    try:
        opened = open_artifact(path)
    except EdgeError:
        return False
    return {found.relative_to(path).as_posix() for found in path.rglob("*") if not found.is_dir()} <= opened.named


def open_artifact(path: str | Path) -> Artifact:
    """Read an artifact's manifest strictly.

    Raises ManifestError when the directory or its manifest is missing, malformed, newer than this version, or names
    paths outside the directory. Hashes are not checked here: `verify` does.

    >>> import edge_runtime
    >>> artifact = edge_runtime.open_artifact("tiny.edge")
    >>> [variant.name for variant in artifact.manifest.variants]
    ['fp32']
    """
    folder = Path(path)
    file = folder / manifest.FILE_NAME
    if not os.path.lexists(folder) or (folder.is_dir() and not os.path.lexists(file)):
        problem = f"no {manifest.FILE_NAME} in it" if os.path.lexists(folder) else "no such artifact"
        raise ManifestError(problem, str(folder), "give the path of a NAME.edge folder, made by: edge export")
    text = files.read_bytes(file, limit_bytes=manifest.MAX_BYTES, error=ManifestError)
    return Artifact(folder, manifest.parse(text, where=str(file)))
