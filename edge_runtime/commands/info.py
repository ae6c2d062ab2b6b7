"""`edge info`: what is in an artifact, read from its manifest alone. Needs neither numpy nor onnxruntime."""

from collections.abc import Sequence

from edge_runtime import units
from edge_runtime.artifact import Artifact, open_artifact
from edge_runtime.console import Console, table, verb_parser
from edge_runtime.manifest import Port, Variant

SHOWN_LABELS = 5
EXAMPLES = ("edge info digits.edge", "edge info digits.edge --json | jq .manifest.inputs")


def info(argv: list[str]) -> int:
    """Print an artifact's description; exit 3 when its manifest is damaged. Hashes are `edge check`'s work."""
    parser = verb_parser(
        "info", "What is in an artifact: inputs, outputs, variants, sizes, where it came from.", EXAMPLES
    )
    parser.add_argument("artifact", metavar="NAME.edge", help="the artifact's folder")
    options = parser.parse_args(argv)
    console = Console.of(options)
    artifact = open_artifact(options.artifact)
    if not options.json:
        console.say(_described(artifact))
    console.answer(
        {
            "kind": "edge-info",
            "schema": 1,
            "path": str(artifact.path),
            "manifest": artifact.manifest.to_document(),
        }
    )
    return 0


def _described(artifact: Artifact) -> str:
    manifest = artifact.manifest
    producer = ", ".join(f"{tool} {version}" for tool, version in manifest.producer if version)
    needs = manifest.requires_onnxruntime
    facts = [
        ("artifact", f"{manifest.name} {manifest.version}"),
        ("created", f"{manifest.created} by {producer}"),
        ("source", f"{manifest.source_entry} ({manifest.source_framework})"),
        ("needs", f"onnxruntime >= {needs} (opset {manifest.requires_opset}, IR {manifest.requires_ir})"),
    ]
    if manifest.target is not None:
        facts.append(("target", manifest.target))
    if manifest.peak_bytes is not None:
        facts.append(("memory", f"about {units.size(manifest.peak_bytes)} at its peak, estimated from the graph"))
    facts += [("why", f"{variant.name}: {variant.why}") for variant in manifest.variants if variant.why]
    facts += [("passes", f"{one.name}: {', '.join(one.passes)}") for one in manifest.variants if one.passes]
    if manifest.frozen:
        facts.append(("frozen", f"one path of several, decided by values at {', '.join(manifest.frozen)}"))
    if manifest.source_weights_sha256:
        facts.append(("weights", f"SHA-256 {manifest.source_weights_sha256}"))
    facts.append(("golden", f"{len(manifest.golden)} cases"))
    if manifest.labels:
        more = ", …" if len(manifest.labels) > SHOWN_LABELS else ""
        facts.append(("labels", f"{len(manifest.labels)}: {', '.join(manifest.labels[:SHOWN_LABELS])}{more}"))
    facts += [("state", f"{pair.output} is the next step's {pair.input}") for pair in manifest.state or ()]
    parts = [
        table(facts),
        _ports("inputs", manifest.inputs, tested=True),
        _ports("outputs", manifest.outputs, tested=False),
        table(
            [
                (
                    "variants",
                    "precision",
                    "size",
                    "opset",
                    "exporter",
                    "operators",
                    "worst error / tolerance",
                ),
                *(_variant_row(artifact, variant) for variant in manifest.variants),
            ],
            "<<>><><",
        ),
    ]
    return "\n\n".join(parts)


def _ports(what: str, ports: Sequence[Port], *, tested: bool) -> str:
    """Return a table of ports, with a column only for what is known of any of them."""
    columns = [(what, [port.name for port in ports]), ("dtype and shape", [str(port) for port in ports])]
    ranges = ["" if p.ranges is None else f"{p.ranges[0]:g} to {p.ranges[1]:g}" for p in ports]
    meanings = [port.meaning or "" for port in ports]
    columns += [("values", ranges)] if any(ranges) else []
    columns += [("tested at", [_tested(port) for port in ports])] if tested else []
    columns += [("meaning", meanings)] if any(meanings) else []
    return table([[title for title, _ in columns], *zip(*(cells for _, cells in columns), strict=True)])


def _tested(port: Port) -> str:
    return "; ".join(f"{name} = {', '.join(map(str, sizes))}" for name, sizes in port.tested or ()) or "fixed"


def _variant_row(artifact: Artifact, variant: Variant) -> tuple[str, ...]:
    proof = variant.verification
    return (
        variant.name,
        variant.precision,
        units.size(artifact.size_bytes(variant)),
        str(variant.opset_written),
        variant.exporter,
        str(sum(count for _, count in variant.operators)),
        "not verified" if proof is None else f"{proof.worst_rel:.2g} / {proof.tolerance:.2g} in {proof.cases} cases",
    )
