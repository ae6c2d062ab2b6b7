"""The verbs `edge export`, `verify` and `view`: flags to functions of their modules, results to text."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_runtime import units
from edge_runtime.console import Console, Parser, verb_parser
from edge_runtime.decode import finite
from edge_runtime.errors import OutputExists, UsageError
from export_tools.errors import ParityLost
from export_tools.postprocess import parse as parse_postprocess
from export_tools.postprocess import read_labels
from export_tools.preprocess import FORMS
from export_tools.preprocess import parse as parse_preprocess
from export_tools.request import (
    AUTO,
    DEFAULT_OPSET,
    DEFAULT_TIMEOUT_S,
    EXPORTERS,
    SWITCHED,
    ExportRequest,
    SourceSpec,
    opset_for,
    parse_dynamic,
    parse_example,
    parse_range,
    parse_state,
)
from export_tools.target import parse as parse_target

if TYPE_CHECKING:
    from export_tools.reverify import Reverified

EXPORT_EXAMPLES = (
    "edge export model.py:build -o digits.edge",
    "edge export model.py:build --weights digits.pt --dynamic image:0=batch",
    "edge export model.onnx -o x.edge --dynamic image:0=batch:1..64",
    "edge export linear.pt --trust-pickle --import-from train.py --example input=64x13:float32 --opset 11",
)
VERIFY_EXAMPLES = (
    "edge verify digits.edge",
    "edge verify digits.edge --source model.py:build --weights digits.pt --report proof.html",
    "edge verify digits.edge --against goldens",
    "edge verify digits.edge --runtime onnxruntime==1.16",
)
VIEW_EXAMPLES = ("edge view digits.edge", "edge view digits.edge --no-browser --port 8080", "edge view model.onnx")


def export(argv: list[str]) -> int:
    """Export one source; print the stages and the table, or a JSON document."""
    options = _export_parser().parse_args(argv)
    console = Console.of(options)
    request = _request(options)
    unchanged = _unchanged(options, request, console)
    if unchanged:
        return 0
    # `--help` and wrong flags must not wait for numpy
    from export_tools import export_document, pipeline, proof_report, terminal  # noqa: PLC0415

    pipeline.refuse_output(request)
    try:
        with terminal.stages(stream=console.people, color=console.color, quiet=console.quiet) as progress:
            exported = pipeline.run(request, progress=progress)
    except ParityLost as problem:
        _report_failure(options, f"{request.name}, exported from {request.origin}", problem)
        raise
    for note in exported.notes:
        console.note(f"note: {note}")
    for warning in exported.warnings:
        console.note(f"warning: {warning}")
    if not options.json:
        terminal.show(exported, stream=console.people, color=console.color)
        if console.verbose:
            console.say(f"\n{proof_report.lines(exported.verification, whole=True)}")
    if options.report is not None:
        title = f"{request.name}, exported from {request.origin}"
        heading = proof_report.Heading(title, tuple(terminal.facts(exported)), exported.warnings)
        proof_report.write(options.report, heading, exported.verification)
    console.answer(export_document.document(exported))
    return 0


def verify(argv: list[str]) -> int:
    """Prove an artifact again; exit 1 when an answer departs, 3 when a file is damaged or the source is another."""
    options = _verify_parser().parse_args(argv)
    console = Console.of(options)
    source = None
    if options.source is not None:
        source = SourceSpec(
            entry=options.source,
            weights=options.weights,
            import_from=options.import_from,
            trust_pickle=options.trust_pickle,
            # as text that `reverify` reads again: checked here, where a wrong flag belongs to
            preprocess=tuple(map(str, parse_preprocess(options.preprocess))),
            postprocess=str(parse_postprocess(options.postprocess)) if options.postprocess else None,
        )
    elif options.weights is not None or options.preprocess or options.postprocess:
        flag = "--weights" if options.weights is not None else "--preprocess, --postprocess"
        raise UsageError("weights or steps for no module", flag, "say which module they belong to: --source")
    from export_tools import proof_report, reverify, terminal, throwaway  # noqa: PLC0415 - as in `export`

    runtime = None if options.runtime is None else throwaway.parse(options.runtime)
    try:
        with terminal.stages(stream=console.people, color=console.color, quiet=console.quiet) as progress:
            found = reverify.reverify(
                options.artifact,
                against=options.against,
                source=source,
                data=options.data,
                variant=options.variant,
                seed=options.seed,
                timeout_s=options.timeout,
                allow_frozen_branch=options.allow_frozen_branch,
                runtime=runtime,
                progress=progress,
            )
    except ParityLost as problem:
        if problem.failing is not None and not options.json:
            console.say(f"\n{proof_report.lines(problem.failing.proof, whole=console.verbose)}\n")
        _report_failure(options, str(options.artifact), problem)
        raise
    for warning in found.warnings:
        console.note(f"warning: {warning}")
    proof = found.verification
    if not options.json:
        there = "" if runtime is None else f", in {found.engine}"
        lines = proof_report.lines(proof, whole=console.verbose)
        console.say(f"\n{lines}\n\nequal, held against {found.against}{there}")
    if options.report is not None:
        facts = (
            ("held against", found.against),
            ("run in", found.engine),
            ("variant", found.variant.name),
            ("cases", str(proof.summary.cases)),
        )
        heading = proof_report.Heading(str(options.artifact), facts, found.warnings)
        proof_report.write(options.report, heading, proof)
    console.answer(_verified(options, found))
    return 0


def _unchanged(options: argparse.Namespace, request: ExportRequest, console: Console) -> bool:
    """Tell that the artifact which is there is what this export would make, and return whether it is."""
    if request.force or not os.path.lexists(request.output):
        return False
    from export_tools import repeat  # noqa: PLC0415 - nothing is there, mostly

    found = repeat.compare(request)
    if isinstance(found, repeat.Changed):
        told = f", and this export would make another one: {found.why}" if found.why else ""
        hint = "choose another path, or replace it with --force"
        raise OutputExists(f"the output is there already{told}", str(request.output), hint)
    if options.report is not None:
        hint = f"prove it again: edge verify {request.output} --report {options.report}; or export again with --force"
        raise OutputExists("the artifact is there and unchanged, so there is no new proof to report", "--report", hint)
    console.answer(found.document)
    if not options.json:
        console.say(
            f"unchanged: {request.output} is what this export made on {found.made}, from the same "
            f"{units.count(found.count, 'file')}, options and tools (--force exports again)"
        )
    return True


def _report_failure(options: argparse.Namespace, title: str, problem: ParityLost) -> None:
    from export_tools import proof_report  # noqa: PLC0415 - as in `export`

    if options.report is not None and problem.failing is not None:
        # the command has a place of its own there, to be copied from
        facts = (("where", problem.where), ("what to do", problem.hint.partition(", replay it: ")[0]))
        heading = proof_report.Heading(title, facts, failure=problem.what, replay=problem.replay)
        proof_report.write(options.report, heading, problem.failing.proof)


def _verified(options: argparse.Namespace, found: "Reverified") -> dict[str, Any]:
    return {
        "kind": "edge-verify",
        "schema": 1,
        "ok": True,
        "artifact": str(options.artifact),
        "variant": found.variant.name,
        "against": found.against,
        "engine": found.engine,
        "cases": found.verification.summary.cases,
        "outputs": [
            {
                "case": row.case,
                "output": row.output,
                "graph": row.graph,
                "tied": row.tied,
                "max_abs": finite(row.difference.max_abs),
                "of_tolerance": finite(row.difference.ratio),
            }
            for row in found.verification.rows
        ],
        "warnings": list(found.warnings),
    }


def view(argv: list[str]) -> int:
    """Serve a model's graph with netron on loopback until Ctrl-C."""
    summary = (
        "Open the graph of an artifact or an .onnx file in netron, served on loopback.\n"
        "The model stays on this machine; netron's page itself reports usage to its authors when it is online."
    )
    parser = verb_parser("view", summary, VIEW_EXAMPLES)
    parser.add_argument("model", metavar="NAME.edge|FILE.onnx", type=Path, help="an artifact's folder, or a file")
    parser.add_argument("--variant", default=AUTO, help="a name from edge info (default: the reference)")
    parser.add_argument("--no-browser", action="store_true", help="print the address and only serve")
    parser.add_argument("--port", metavar="N", type=int, default=0, help="of loopback (default: any free one)")
    options = parser.parse_args(argv)
    console = Console.of(options)
    from export_tools import view as viewing  # noqa: PLC0415 - `--help` need not wait for netron

    with viewing.served(options.model, variant=options.variant, port=options.port) as address:
        console.answer({"kind": "edge-view", "schema": 1, "address": address})
        if not options.json:
            console.say(f"{address} shows {options.model}; Ctrl-C ends it")
        if not options.no_browser:
            viewing.open_browser(address)
        viewing.wait()
    return 0


def _request(options: argparse.Namespace) -> ExportRequest:
    spec = SourceSpec(
        entry=options.source,
        weights=options.weights,
        import_from=options.import_from,
        trust_pickle=options.trust_pickle,
    )
    output = options.output or Path(f"{options.name or spec.stem}.edge")
    target = None if options.target is None else parse_target(options.target)
    return ExportRequest(
        source=spec,
        output=output,
        name=options.name or output.name.removesuffix(".edge"),
        origin=spec.origin,
        example=parse_example(options.example),
        dynamic=tuple(parse_dynamic(text) for text in options.dynamic),
        ranges=tuple(parse_range(text) for text in options.range),
        input_names=_names(options.input_names),
        output_names=_names(options.output_names),
        opset=opset_for(options.opset, target),
        keep_opset=options.opset is None,
        target=target,
        prove_target=options.prove_target,
        exporter=options.exporter,
        allow_frozen_branch=options.allow_frozen_branch,
        data=options.data,
        state=tuple(parse_state(text) for text in options.state),
        preprocess=parse_preprocess(options.preprocess),
        postprocess=parse_postprocess(options.postprocess),
        labels=None if options.labels is None else read_labels(options.labels),
        version=options.version,
        timeout_s=options.timeout,
        seed=options.seed,
        skip=_names(options.skip),
        force=options.force,
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(",")) if text else ()


def _verify_parser() -> Parser:
    parser = verb_parser(
        "verify",
        "The whole proof of an artifact again: against the module it was made from, or against its golden cases.",
        VERIFY_EXAMPLES,
    )
    parser.add_argument("artifact", metavar="NAME.edge", type=Path, help="the artifact's folder")
    parser.add_argument(
        "--against",
        default=AUTO,
        metavar="auto|source|goldens",
        help="auto: the source where this host remembers it or --source says it, else the goldens",
    )
    parser.add_argument("--source", metavar="SOURCE", help="the module, as for export (default: as remembered)")
    parser.add_argument("--weights", metavar="FILE", help="a state_dict for the module")
    for flag, metavar in (("--preprocess", "INPUT:FORM[,..]|FILE.toml"), ("--postprocess", "[OUTPUT:]STEP")):
        told = "with --source: as the artifact was exported (default: as remembered)"
        parser.add_argument(flag, metavar=metavar, action="append", default=[], help=told)
    parser.add_argument("--import-from", metavar="DIR|FILE.py", help="where the module's class is, for a pickle")
    parser.add_argument(
        "--trust-pickle", action="store_true", help="open a pickled module, .pt2 or TorchScript: they run code"
    )
    parser.add_argument("--data", metavar="FILE.npz|DIR", type=Path, help="further real inputs by name")
    parser.add_argument("--variant", default=AUTO, help="a name from edge info (default: the reference)")
    parser.add_argument(
        "--runtime",
        metavar="onnxruntime==X",
        help="run it in this release, which pip fetches once into an environment of its own (default: the one here)",
    )
    parser.add_argument("--allow-frozen-branch", action="store_true", help="as the artifact was exported")
    parser.add_argument("--report", metavar="FILE.html", type=Path, help="the proof as one offline page")
    parser.add_argument(
        "--timeout", metavar="S", type=float, default=DEFAULT_TIMEOUT_S, help="seconds for each step in PyTorch"
    )
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of the generated inputs (default: 0)")
    return parser


def _export_parser() -> Parser:
    parser = verb_parser(
        "export",
        "A PyTorch module to a verified artifact: exported in a fresh process, checked, held against PyTorch.",
        EXPORT_EXAMPLES,
    )
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="file.py:callable, package.module:callable, model.pt (a pickled module, TorchScript), .pt2 or .onnx",
    )
    parser.add_argument("-o", "--output", metavar="NAME.edge", type=Path, help="where to (default: here, by its name)")
    parser.add_argument("--weights", metavar="FILE", help="a state_dict for the module, read without running code")
    parser.add_argument(
        "--example",
        metavar="NAME=1x3x224x224:float32|FILE.npz",
        action="append",
        default=[],
        help="an input to trace with (repeatable), or a file with all of them",
    )
    parser.add_argument(
        "--dynamic",
        metavar="INPUT:AXIS=NAME[:MIN..MAX[/STEP]]",
        action="append",
        default=[],
        help="an axis whose size may vary (repeatable): image:0=batch",
    )
    parser.add_argument(
        "--range",
        metavar="INPUT=LOW..HIGH",
        action="append",
        default=[],
        help="the values that an input is meant to take (repeatable): image=0..1, ids=0..30521",
    )
    parser.add_argument("--input-names", metavar="A,B", default="", help="instead of forward's parameters")
    parser.add_argument("--output-names", metavar="C,D", default="", help="instead of output, output_1, ...")
    parser.add_argument(
        "--opset",
        metavar="N",
        type=int,
        help=f"to write (default: {DEFAULT_OPSET}; an .onnx file keeps its own)",
    )
    parser.add_argument(
        "--target",
        metavar="BOARD|onnxruntime==X|DOCTOR.json",
        help="what it is to run on: pi4, pi5, zero2w, ..., 'onnxruntime>=1.17', or what edge doctor --json wrote",
    )
    parser.add_argument(
        "--prove-target",
        action="store_true",
        help="run it in the target's own onnxruntime too, which pip fetches once into an environment of its own",
    )
    parser.add_argument("--exporter", default=AUTO, metavar="|".join((AUTO, *EXPORTERS)), help="auto tries both")
    parser.add_argument(
        "--allow-frozen-branch",
        action="store_true",
        help="where forward decides by values, export the path of the example alone",
    )
    parser.add_argument("--data", metavar="FILE.npz|DIR", type=Path, help="real inputs by name, to verify with")
    parser.add_argument(
        "--state",
        metavar="INPUT:OUTPUT",
        action="append",
        default=[],
        help="recurrent state (repeatable): this output is the next step's input; proven over sequences",
    )
    parser.add_argument(
        "--preprocess",
        metavar="INPUT:FORM[,resize=HxW:METHOD][,mean=..][,std=..]|FILE.toml",
        action="append",
        default=[],
        help=f"steps inside the graph, from raw units to the module's (repeatable); forms: {', '.join(FORMS)}",
    )
    parser.add_argument(
        "--postprocess",
        metavar="[OUTPUT:]softmax|argmax|topK",
        action="append",
        default=[],
        help="steps inside the graph, along the last axis of an output (softmax,top5 does both)",
    )
    parser.add_argument("--labels", metavar="FILE", type=Path, help="names of the classes, one a line or a JSON list")
    parser.add_argument("--report", metavar="FILE.html", type=Path, help="the proof as one offline page")
    parser.add_argument("--name", help="the artifact's name (default: the output's)")
    parser.add_argument("--version", default="1", help="the artifact's version (default: 1)")
    parser.add_argument("--import-from", metavar="DIR|FILE.py", help="where the module's class is, for a pickle")
    parser.add_argument(
        "--trust-pickle", action="store_true", help="open a pickled module, .pt2 or TorchScript: they run code"
    )
    parser.add_argument(
        "--timeout",
        metavar="S",
        type=float,
        default=DEFAULT_TIMEOUT_S,
        help=f"seconds for each step in PyTorch (default: {DEFAULT_TIMEOUT_S:g})",
    )
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of the generated inputs (default: 0)")
    parser.add_argument("--skip", metavar="STAGE[,STAGE]", default="", help=f"leave stages out: {', '.join(SWITCHED)}")
    parser.add_argument("--force", action="store_true", help="replace an artifact that is there")
    return parser
