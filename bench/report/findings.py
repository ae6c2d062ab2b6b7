"""What a gate found, as JUnit XML and as Markdown, for CI."""

from collections.abc import Sequence
from xml.etree import ElementTree as ET  # written only, never read

from bench.gate import BROKEN, HOLDS, UNMATCHED, UNSURE, Finding, Judgement
from bench.report.overview import escaped
from edge_runtime.units import count, visible

COLUMNS = ("outcome", "model", "board", "contender", "metric", "figure", "limit", "remark")


TALLY = ((HOLDS, "hold"), (BROKEN, "broken"), (UNSURE, "unsure"), (UNMATCHED, "about nothing here"))


def cells(one: Finding) -> tuple[str, ...]:
    """Return a finding's cells, in the order of COLUMNS."""
    parts = (one.outcome, one.model, one.board, one.contender, one.metric, one.figure, one.limit, one.reason)
    return tuple(" ".join(visible(part).split()) for part in parts)


def sentence(judged: Judgement) -> str:
    """Return the verdict in words."""
    tally = ", ".join(
        f"{judged.count(outcome)} {word}"
        for outcome, word in (
            (HOLDS, "hold"),
            (BROKEN, "broken"),
            (UNSURE, "unsure"),
            (UNMATCHED, "about nothing here"),
        )
        if judged.count(outcome)
    )
    return f"{'BROKEN' if judged.broken else 'within budget'}: {count(len(judged.findings), 'limit')}, {tally}"


def markdown(judged: Judgement) -> str:
    """Return the verdict and the table as Markdown, what is broken first."""
    order = (BROKEN, UNSURE, HOLDS, UNMATCHED)
    lines = [f"### edge gate: {sentence(judged)}", "", _row(COLUMNS), "|" + "---|" * len(COLUMNS)]
    ordered: Sequence[Finding] = sorted(judged.findings, key=lambda one: order.index(one.outcome))
    lines.extend(_row([escaped(cell) for cell in cells(one)]) for one in ordered)
    return "\n".join(lines) + "\n"


def junit(judged: Judgement) -> bytes:
    """Return JUnit XML: a test case a limit; what is unsure (unless strict) or matched nothing is skipped."""
    bad = {BROKEN, UNSURE} if judged.strict else {BROKEN}
    failed = sum(one.outcome in bad for one in judged.findings)
    skipped = sum(one.outcome in {UNSURE, UNMATCHED} - bad for one in judged.findings)
    totals = {"tests": str(len(judged.findings)), "failures": str(failed), "errors": "0", "skipped": str(skipped)}
    suites = ET.Element("testsuites", totals)
    suite = ET.SubElement(suites, "testsuite", {"name": "edge gate", **totals})
    for one in judged.findings:
        _, model, board, contender, metric, figure, limit, reason = cells(one)
        name = f"{contender} {metric} {limit} (budget {one.rule})"
        case = ET.SubElement(suite, "testcase", {"classname": f"{board}.{model}", "name": name})
        told = f"{figure}, {limit}: {reason}"
        if one.outcome in bad:
            ET.SubElement(case, "failure", {"message": told, "type": one.outcome}).text = told
        elif one.outcome != HOLDS:
            ET.SubElement(case, "skipped", {"message": f"{one.outcome}: {told}"})
    return bytes(ET.tostring(suites, encoding="utf-8", xml_declaration=True)) + b"\n"


def _row(row: Sequence[str]) -> str:
    return "| " + " | ".join(row) + " |"
