"""The releases of onnxruntime that are known, and the highest opset and IR version that each reads.

From `kernels.json`, measured by loading models in the released wheels (`tools/collect_kernels.py`). Cheap to import.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any


@dataclass(frozen=True, slots=True)
class Release:
    """One minor release, as ``1.16``, and the highest opset and IR version that it reads."""

    name: str
    opset: int
    ir: int


@cache
def table() -> dict[str, Any]:
    """Return `kernels.json`, which `tools/collect_kernels.py` describes."""
    found: dict[str, Any] = json.loads(files("export_tools").joinpath("kernels.json").read_text(encoding="utf-8"))
    return found


@cache
def releases() -> tuple[Release, ...]:
    """Return all of them, oldest first."""
    return tuple(Release(name, *reads) for name, reads in zip(table()["releases"], table()["reads"], strict=True))


def release_named(name: str) -> Release | None:
    """Return a release by its minor version, as ``1.16``."""
    return next((release for release in releases() if release.name == name), None)


def least_release(opset: int, ir: int) -> str | None:
    """Return the oldest that reads a model of this opset and IR version, or None."""
    return next((one.name for one in releases() if opset <= one.opset and ir <= one.ir), None)
