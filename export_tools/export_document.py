"""What an export made, as the JSON document of kind "edge-export"."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from export_tools.pipeline import Exported


def document(exported: "Exported") -> dict[str, Any]:
    """Return the document. unchanged: a repeated export answers with the same, and true there."""
    manifest, conversion, proof = exported.artifact.manifest, exported.conversion, exported.verification
    worst = proof.worst
    return {
        "kind": "edge-export",
        "schema": 1,
        "unchanged": False,
        "artifact": str(exported.artifact.path),
        "name": manifest.name,
        "source": manifest.source_entry,
        "opset": {"asked": conversion.opset_asked, "written": conversion.opset_written},
        "ir": {"by_exporter": conversion.ir_by_exporter, "written": conversion.ir},
        "target": manifest.target,
        "target_proof": None if manifest.target is None else _on_target(exported),
        "peak_bytes": manifest.peak_bytes,
        "requires": {"onnxruntime": manifest.requires_onnxruntime},
        "exporter": conversion.exporter,
        "why": conversion.why,
        "cases": proof.summary.cases,
        "worst": {
            "case": worst.case,
            "output": worst.output,
            "max_abs": worst.difference.max_abs,
            "of_tolerance": worst.difference.ratio,
        },
        "worst_abs": proof.summary.worst_abs,
        "worst_rel": proof.summary.worst_rel,
        "snr_db": proof.summary.snr_db,
        "tolerance": proof.summary.tolerance,
        "reference": proof.summary.reference,
        "files": [{"path": file.path, "bytes": file.bytes} for file in exported.artifact.variant().files],
        "warnings": list(exported.warnings),
        "notes": list(exported.notes),
    }


def _on_target(exported: "Exported") -> dict[str, Any]:
    found = exported.on_target
    if found is None or found.version is None:
        return {"how": "table", "onnxruntime": None, "why": "not asked for" if found is None else found.why}
    return {
        "how": "run",
        "onnxruntime": found.version,
        "cases": found.cases,
        "of_tolerance": found.of_tolerance,
    }
