"""`edge check`: integrity, then the golden cases, on this machine."""

import math
from typing import TYPE_CHECKING, Any

from edge_runtime.console import Console, table, verb_parser
from edge_runtime.decode import finite
from edge_runtime.errors import SelfCheckFailed

if TYPE_CHECKING:
    from edge_runtime.selfcheck import CheckedOutput, SelfCheck

EXAMPLES = ("edge check digits.edge", "edge check digits.edge --json")


def check(argv: list[str]) -> int:
    """Check an artifact; exit 1 when a golden case is answered wrongly, 3 when a file is damaged."""
    parser = verb_parser(
        "check", "Hash every file of an artifact, then replay its golden cases on this machine.", EXAMPLES
    )
    parser.add_argument("artifact", metavar="NAME.edge", help="the artifact's folder")
    parser.add_argument("--variant", default="auto", help="a name from edge info (default: the reference)")
    parser.add_argument("--threads", metavar="N", type=int, help="intra-op threads (default: all CPUs)")
    options = parser.parse_args(argv)
    console = Console.of(options)
    from edge_runtime.selfcheck import check as replay  # noqa: PLC0415 - `--help` must not wait for onnxruntime

    found = replay(options.artifact, variant=options.variant, threads=options.threads)
    if not options.json:
        console.say(_described(found))
    if not found.ok:
        raise _failure(found, options.artifact)
    if not options.json:
        console.say("check passed")
    console.answer(_document(found))
    return 0


def _described(found: "SelfCheck") -> str:
    rows = [("golden case", "output", "max error", "of tolerance", "verdict")]
    rows += [_row(output) for output in found.outputs]
    return f"{found.files} files as the manifest says\n\n{table(rows, '<<>>')}\n"


def _row(output: "CheckedOutput") -> tuple[str, str, str, str, str]:
    difference = output.difference
    share = f"{difference.ratio:.1%}" if math.isfinite(difference.ratio) else "–"
    return output.case, output.output, f"{difference.max_abs:.3g}", share, "ok" if difference.ok else "WRONG"


def _failure(found: "SelfCheck", path: str) -> SelfCheckFailed:
    worst = found.worst
    if worst is None:
        return SelfCheckFailed("there is no golden case to check", path, "export the artifact again")
    problem = worst.difference.problem or (
        f"is off by {worst.difference.max_abs:.3g} at {list(worst.difference.index)}, "
        f"{worst.difference.ratio:.3g} times its tolerance"
    )
    wrong = sum(not output.difference.ok for output in found.outputs)
    return SelfCheckFailed(
        f"{wrong} of {len(found.outputs)} golden outputs are wrong here: {worst.output} of {worst.case} {problem}",
        path,
        "don't use the artifact on this machine; compare onnxruntime's version with edge info",
    )


def _document(found: "SelfCheck") -> dict[str, Any]:
    return {
        "kind": "edge-check",
        "schema": 1,
        "ok": found.ok,
        "files": found.files,
        "outputs": [
            {
                "case": output.case,
                "variant": output.variant,
                "output": output.output,
                "ok": output.difference.ok,
                "max_abs": finite(output.difference.max_abs),
                "max_rel": finite(output.difference.max_rel),
                "of_tolerance": finite(output.difference.ratio),
            }
            for output in found.outputs
        ],
    }
