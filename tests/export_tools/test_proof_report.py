import re
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.manifest import Verification as Summary
from edge_runtime.tolerance import Difference, Tolerance
from export_tools.proof_report import WORST_SHOWN, Heading, lines, page, write
from export_tools.verify import Row, Verification

HOSTILE = "<script>alert(1)</script>\"&'"


def row(case: str, output: str, ratio: float, *, tied: bool = False, problem: str = "") -> Row:
    largest = np.inf if problem else ratio * 1e-6
    difference = Difference(ok=ratio <= 1, max_abs=largest, max_rel=largest, ratio=ratio, index=(0, 2), problem=problem)
    return Row(case, output, Tolerance(abs=1e-6, rel=0), difference, 1e-5, tied=tied)


def proof(*rows: Row) -> Verification:
    return Verification(rows, Summary(cases=1, worst_abs=0, worst_rel=0, snr_db=None, tolerance=0, reference=""), ())


class Reader(HTMLParser):
    """Collects what a browser would see: tags, attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def test_each_cell_is_the_share_of_the_tolerance_and_the_worst_is_marked() -> None:
    text = page(Heading("net", ()), proof(row("real", "a", 0.25), row("real", "b", 0.5), row("zeros", "a", 0.125)))
    assert re.findall(r'<td class="(\w*)"[^>]*>([^<]*)<small>([^<]*)', text) == [
        ("", "25.0%", "2.5e-07"),
        ("worst", "50.0%", "5e-07"),
        ("", "12.5%", "1.25e-07"),
    ]
    assert "<td>not tried</td>" in text
    assert "net: <span" in text
    assert ">equal<" in text


def test_what_differs_is_marked_and_the_error_is_there_in_full() -> None:
    wrong = proof(row("real", "a", 2345.6), row("zeros", "a", np.inf, problem="onnxruntime fails: Reshape"))
    text = page(Heading("net", (("what to do", "look"),), ("a warning",), "the error", f"edge export {HOSTILE}"), wrong)
    assert ">differs<" in text
    assert re.findall(r'<td class="([\w ]*)"[^>]*>([^<]*)<small>', text) == [
        ("wrong", "2,346×"),
        ("wrong worst", "fails"),
    ]
    assert f"<pre>edge export {escape(HOSTILE)}</pre>" in text
    another = proof(row("real", "a", np.inf, problem="is float32[3], expected float32[2]"))
    assert ">differs<small></small>" in page(Heading("net", ()), another)
    assert "<pre>" not in page(Heading("net", ()), another)
    seen = Reader(text)
    assert all(words in seen.text for words in ("the error", "what to do", "look", "a warning"))
    assert any("onnxruntime fails: Reshape" in (value or "") for _, value in seen.attributes)


def test_hostile_names_stay_text_and_the_page_loads_nothing(tmp_path: Path) -> None:
    heading = Heading(HOSTILE, ((HOSTILE, HOSTILE),), (HOSTILE,), HOSTILE)
    write(tmp_path / "proof.html", heading, proof(row(HOSTILE, HOSTILE, 0.5), row("b", HOSTILE, 2, problem=HOSTILE)))
    text = (tmp_path / "proof.html").read_text(encoding="utf-8")
    seen = Reader(text)
    assert "script" not in seen.tags
    assert seen.text.count(HOSTILE) == 8
    assert not {name for name, _ in seen.attributes} & {"src", "href", "onmouseover", "onload"}
    assert "default-src 'none'" in text
    assert "url(" not in text
    assert "prefers-color-scheme: dark" in text


def test_a_terminal_shows_the_worst_first_and_says_how_many_more_there_are() -> None:
    many = proof(
        *(row(f"case-{index}", "y", index / 20) for index in range(WORST_SHOWN + 3)), row("t", "y", 0, tied=True)
    )
    shown = lines(many, whole=False).splitlines()
    assert shown[1].split() == ["case-14", "y", "7e-07", "70.0%", "ok"]
    assert len(shown) == WORST_SHOWN + 2
    assert shown[-1] == "… and 4 more, none worse (-v shows all)"
    assert lines(many, whole=True).splitlines()[-1].split() in (
        ["t", "y", "0", "0.0%", "tie"],
        ["case-0", "y", "0", "0.0%", "ok"],
    )


@pytest.mark.parametrize(("ratio", "told"), [(0.0004, "0.0%"), (9.99, "999.0%"), (10, "10×"), (3e7, "3.0e+07×")])
def test_shares_are_read_at_a_glance(ratio: float, told: str) -> None:
    assert told in lines(proof(row("a", "y", ratio)), whole=True)
