"""A proof as one offline page, and as a table on a terminal: case × output → error as a share of its tolerance."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from edge_runtime.console import table
from edge_runtime.files import write_whole
from export_tools.verify import Row, Verification

WORST_SHOWN = 12  # rows of a table on a terminal; the page has all
_STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --dim: #5d6675; --paper: #ffffff; --line: #d9dee6; --fill: 59,130,200;
  --bad: #b3261e; --bad-paper: #fbe9e7; --good: #2e7d32; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --dim: #9aa4b2; --paper: #14181f; --line: #323a46;
  --fill: 86,156,214; --bad: #ff8a80; --bad-paper: #43201f; --good: #81c784; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 2rem auto;
  max-width: 84rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; margin: 0; overflow-wrap: anywhere; }
h1 .bad { color: var(--bad); } h1 .good { color: var(--good); }
p.note { color: var(--dim); margin: .3rem 0 1.2rem; max-width: 60rem; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.2rem; margin: 1rem 0 1.5rem; }
dt { color: var(--dim); } dd { margin: 0; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .6rem; text-align: right; white-space: nowrap; }
th:first-child { text-align: left; } thead th { color: var(--dim); font-weight: 600; }
th .full { display: inline-block; max-width: 16rem; overflow: hidden; text-overflow: ellipsis; vertical-align: bottom; }
td small { color: var(--dim); margin-left: .5rem; display: inline-block; min-width: 3.7rem; }
.scroll th:first-child { position: sticky; left: 0; background: var(--paper); }
p.failure { border-left: 3px solid var(--bad); padding-left: .8rem; max-width: 60rem; overflow-wrap: anywhere; }
pre { border: 1px solid var(--line); border-radius: 4px; padding: .6rem .8rem; white-space: pre-wrap;
  overflow-wrap: anywhere; font-size: 13px; max-width: 60rem; user-select: all; }
td.worst { outline: 2px solid var(--ink); outline-offset: -2px; font-weight: 600; }
td.wrong { background: var(--bad-paper); color: var(--bad); font-weight: 600; } td.wrong small { color: inherit; }
ul { padding-left: 1.2rem; } li { overflow-wrap: anywhere; }
"""
_LEGEND = (
    "Each number is the largest error of an output as a share of what it may be off by, beside it the error itself; "
    "the worst is framed, and each tells more under the pointer."
)


@dataclass(frozen=True, slots=True)
class Heading:
    """What a page says above its table.

    failure: the error in full, empty where the proof holds.   replay: the command that shows it again.
    """

    title: str
    facts: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...] = ()
    failure: str = ""
    replay: str = ""


def write(path: Path, heading: Heading, proof: Verification) -> None:
    """Write the page, whole or not at all; it needs nothing but itself. Raises Unwritable."""
    write_whole(path, page(heading, proof).encode())


def page(heading: Heading, proof: Verification) -> str:
    """Return the page as HTML. Names come from strangers: each is escaped, and none becomes a link or a style."""
    verdict = '<span class="bad">differs</span>' if proof.wrong else '<span class="good">equal</span>'
    note = f'<p class="failure">{escape(heading.failure)}</p>\n' if heading.failure else ""
    replay = f"<p class=note>The command that shows it again:</p><pre>{escape(heading.replay)}</pre>\n"
    facts = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in heading.facts)
    warnings = "".join(f"<li>{escape(warning)}</li>" for warning in heading.warnings)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{escape(heading.title)}</title><style>{_STYLE}</style></head>\n"
        f"<body><h1>{escape(heading.title)}: {verdict}</h1>\n{note}<dl>{facts}</dl>\n"
        + (replay if heading.replay else "")
        + f'<p class="note">{_LEGEND}</p>\n'
        + f'<div class="scroll"><table>{_head(proof)}<tbody>\n{_body(proof)}</tbody></table></div>\n'
        + (f"<h2>Warnings</h2><ul>{warnings}</ul>\n" if warnings else "")
        + "</body></html>\n"
    )


def lines(proof: Verification, *, whole: bool) -> str:
    """Return the outputs as a table for a terminal: the worst first, all of them when `whole`."""
    ordered = sorted(proof.rows, key=lambda row: -row.difference.ratio)
    shown = ordered if whole else ordered[:WORST_SHOWN]
    rows = [("case", "output", "max error", "of tolerance", "verdict")]
    rows += [(row.case, row.output, error(row), share(row), _verdict(row)) for row in shown]
    left = len(ordered) - len(shown)
    return table(rows, "<<>>") + (f"\n… and {left} more, none worse (-v shows all)" if left else "")


def share(row: Row) -> str:
    """Return an output's error as a share of its tolerance, ``–`` where nothing was allowed."""
    ratio = row.difference.ratio
    if not math.isfinite(ratio):
        return "–"
    if ratio < 10:  # noqa: PLR2004 - 1000% reads worse than 10×
        return f"{ratio:.1%}"
    return f"{ratio:,.0f}×" if ratio < 1e6 else f"{ratio:.1e}×"  # noqa: PLR2004 - longer ones are only counted


def error(row: Row) -> str:
    """Return an output's largest error, or the reason that there is none."""
    largest = row.difference.max_abs
    return f"{largest:.3g}" if math.isfinite(largest) else "–"


def _verdict(row: Row) -> str:
    if row.tied:
        return "tie"
    return "ok" if row.difference.ok else "WRONG"


def _head(proof: Verification) -> str:
    cells = "".join(f"<th scope=col>{_named(name)}</th>" for name in _outputs(proof.rows))
    return f"<thead><tr><th scope=col>case</th>{cells}</tr></thead>"


def _body(proof: Verification) -> str:
    worst = proof.worst
    outputs = _outputs(proof.rows)
    by_case: dict[str, dict[str, Row]] = {}
    for row in proof.rows:
        by_case.setdefault(row.case, {})[row.output] = row
    return "".join(
        f"<tr><th scope=row>{_named(case)}</th>"
        + "".join(_cell(rows.get(output), worst) for output in outputs)
        + "</tr>\n"
        for case, rows in by_case.items()
    )


def _cell(row: Row | None, worst: Row) -> str:
    if row is None:
        return "<td>not tried</td>"
    kinds = [*(["wrong"] if not row.difference.ok else []), *(["worst"] if row is worst else [])]
    told = row.difference.problem or f"largest error {error(row)} at {list(row.difference.index)}"
    hint = f"{told}; allowed {row.relative:.2g} of the largest magnitude; the graph {row.graph}"
    # faint where nothing is used of the tolerance, full at its end
    shade = f' style="background-color: rgba(var(--fill), {min(row.difference.ratio, 1.0) * 0.55:.3f})"'
    text, beside = "tie" if row.tied else share(row), error(row)
    if row.difference.problem:  # no number says it: an operator that fails, another shape, a NaN
        text, beside = ("fails" if "fails" in row.difference.problem else "differs"), ""
    return (
        f'<td class="{" ".join(kinds)}" title="{escape(hint)}"{shade if row.difference.ok else ""}>'
        f"{text}<small>{beside}</small></td>"
    )


def _named(name: str) -> str:
    return f'<span class="full" title="{escape(name)}">{escape(name)}</span>'


def _outputs(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row.output for row in rows))
