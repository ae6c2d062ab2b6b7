"""`edge profile`: where the time goes, by operator and by node, and how near to this machine's peak."""

import json
from collections.abc import Sequence
from pathlib import Path

from edge_runtime import files, units
from edge_runtime.chrome_trace import trace_document
from edge_runtime.commands.arrays import add_input_flag, read_inputs
from edge_runtime.console import Console, table, verb_parser
from edge_runtime.errors import UsageError
from edge_runtime.node_shares import Share
from edge_runtime.peaks import Peaks
from edge_runtime.profiling import Plan, Profile
from edge_runtime.profiling import profile as profiled

EXAMPLES = (
    "edge profile digits.edge",
    "edge profile digits.edge --threads 2 --top 20",
    "edge profile digits.edge --trace out.json      then open it in https://ui.perfetto.dev",
)
MAX_NAME = 48  # of a node in the table; exporters write paths of modules


def profile(argv: list[str]) -> int:
    """Profile an artifact; print two tables or the profile as JSON."""
    parser = verb_parser(
        "profile",
        "Time by operator and by node from onnxruntime's own profile, and the share of this machine's peak.",
        EXAMPLES,
    )
    parser.add_argument("artifact", metavar="NAME.edge", help="the artifact's folder")
    add_input_flag(parser, otherwise="otherwise the first golden case is used")
    parser.add_argument("--variant", default="auto", help="a name from edge info (default: the reference)")
    parser.add_argument("--threads", metavar="N", type=int, default=1, help="intra-op threads (default: 1)")
    parser.add_argument("--runs", metavar="N", type=int, help="how many (default: what fits the budget, at least 20)")
    parser.add_argument("--budget", metavar="S", type=float, default=1.0, help="seconds of profiled runs (default: 1)")
    parser.add_argument("--top", metavar="N", type=int, default=10, help="nodes in the table (default: 10)")
    parser.add_argument("--trace", metavar="OUT.json", type=Path, help="write a trace for Perfetto or Chrome")
    parser.add_argument("--force", action="store_true", help="replace the trace file")
    options = parser.parse_args(argv)
    console = Console.of(options)
    if options.top < 1:
        raise UsageError(f"--top {options.top}", "edge profile", "ask for at least one node")
    if options.trace is not None:
        files.refuse_taken(options.trace, replace=options.force)
    plan = Plan(runs=options.runs, budget_s=options.budget, threads=options.threads)
    from edge_runtime.model import load  # noqa: PLC0415 - `--help` and wrong flags must not wait for onnxruntime

    with load(options.artifact, variant=options.variant, threads=options.threads) as model:
        inputs = read_inputs(options.input, model.inputs) if options.input else None
        found = profiled(model, inputs, plan=plan, progress=lambda text: console.progress(f"profiling: {text}"))
    console.clear_line()
    if options.trace is not None:
        files.write_whole(options.trace, json.dumps(trace_document(found)).encode())
    if not options.json:
        console.say(_described(found, options.top))
        if options.trace is not None:
            console.say(f"\ntrace: {options.trace} (open it in https://ui.perfetto.dev or chrome://tracing)")
    console.answer(found.to_document())
    return 0


def _described(found: Profile, top: int) -> str:
    facts = [
        (
            "machine",
            f"{found.machine.model}, {units.count(found.threads, 'thread')} on CPU {', '.join(map(str, found.cpus))}",
        ),
        ("engine", found.engine),
        ("model", f"{found.artifact.name} ({found.artifact.variant})"),
        ("peaks", _peaks(found.peaks)),
        ("evidence", f"medians of {len(found.runs)} runs; times in the profile tick in microseconds"),
    ]
    rest = max(0, found.run_ns - found.nodes_ns)
    totals = [
        ("time of a run", ""),
        ("all nodes", units.duration(found.nodes_ns)),
        ("between nodes", units.duration(rest)),
        ("a profiled call", units.duration(found.profiled_ns)),
        ("a call without profiler (p50)", f"{units.duration(found.p50_ns)}  (profiling: × {found.overhead:.2f})"),
    ]
    shown = found.nodes[:top]
    parts = [
        table(facts),
        table(
            [("operator", "nodes", *COLUMNS), *((one.operator, str(one.nodes), *_row(one)) for one in found.operators)],
            "<>" + ">" * len(COLUMNS),
        ),
        table(
            [("node", "operator", *COLUMNS), *((_short(one.name), one.operator, *_row(one)) for one in shown)],
            "<<" + ">" * len(COLUMNS),
        ),
        *_left_out(found.nodes[top:]),
        table(totals, "<<"),
    ]
    return "\n\n".join([*parts, *(f"warning: {warning}" for warning in found.warnings)])


def _peaks(best: Peaks) -> str:
    compute = f"{best.float32_operations_per_s / 1e9:.1f} GFLOP/s float32, {best.int8_operations_per_s / 1e9:.1f} int8"
    return f"{compute}, {best.copy_bytes_per_s / 1e9:.1f} GB/s memory, measured here"


COLUMNS = ("calls", "time", "share", "GFLOP/s", "GB/s", "of peak")


def _row(share: Share) -> tuple[str, ...]:
    return (
        str(share.calls),
        units.duration(share.ns),
        f"{share.share:.1%}",
        _giga(share.operations_per_s),
        _giga(share.bytes_per_s),
        "–" if share.attained is None else f"{share.attained:.0%}" if share.attained <= 1 else "> 100 %",
    )


def _left_out(nodes: Sequence[Share]) -> list[str]:
    if not nodes:
        return []
    return [f"and {len(nodes)} more with {sum(node.share for node in nodes):.1%} of the time (--top N shows more)"]


def _giga(per_s: int | None) -> str:
    return "–" if per_s is None else f"{per_s / 1e9:.2f}" if per_s else "0"


def _short(name: str) -> str:
    # the end of an exporter's path tells nodes apart, its beginning does not
    return name if len(name) <= MAX_NAME else "…" + name[1 - MAX_NAME :]
