"""The page as text: what it holds, what it must never hold, and how large it may be."""

import base64
import gzip
import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench.errors import ReportTooLarge
from bench.report import charts, vega
from bench.report.charts import distribution, trace
from bench.report.page import MAX_BYTES, page
from edge_runtime.cli import main
from edge_runtime.record import SCHEMA, Record, parse
from edge_runtime.stats import percentile

Make = Callable[..., Record]
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


def embedded(text: str) -> Record:
    found = re.search(r'<script type="application/json" id="record-0">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    return parse(found[1], where="page")


def test_the_page_is_whole_and_the_same_each_time(make_record: Make) -> None:
    record = make_record()
    text = page([("a.json", record)])
    assert text == page([("a.json", record)])
    assert len(text.encode()) < MAX_BYTES
    assert embedded(text) == record
    assert "x faster than torch here" in text
    assert not re.search(r'(?:src|href)="(?!data:|#)', text.partition("<script>")[0]), (
        "nothing is loaded from elsewhere"
    )


def test_a_hostile_name_is_nowhere_markup(make_record: Make) -> None:
    record = make_record({"edge": 100.0, HOSTILE: 300.0}, model=HOSTILE)
    text = page([(f"{HOSTILE}.json", replace(record, warnings=(HOSTILE,), board=HOSTILE))])
    assert "<script>alert" not in text
    assert "<img" not in text.replace(vega.runtime(), "")
    assert embedded(text).contenders[1].name == HOSTILE


def test_a_section_without_data_is_left_out(make_record: Make) -> None:
    record = make_record({"edge": 100.0})
    keys = [figure.key for figure in charts.figures(replace(record, memory=()), contender="edge")]
    assert keys == ["distribution", "trace", "cold-start"]


def test_zero_rounds_and_only_wrong_contenders_still_make_a_page(make_record: Make) -> None:
    empty = replace(make_record(), launches=(), memory=(), stop_reason="budget")
    text = page([("a.json", empty)])
    assert '<span class="badge bad">invalid</span>' in text
    assert 'class="chart"' not in text
    text = page([("a.json", make_record(wrong=("edge", "torch")))])
    assert "answers wrongly" in text
    assert 'id="r0-distribution"' not in text


def test_a_page_of_too_many_samples_packs_them_and_then_refuses(make_record: Make) -> None:
    record = make_record(samples=3000)
    whole = len(page([("a.json", record)]).encode())
    text = page([("a.json", record)], limit_bytes=whole - 1)
    assert len(text.encode()) < whole
    held = re.search(r'<script type="application/gzip" id="record-0">(.*?)</script>', text)
    assert held is not None
    assert parse(gzip.decompress(base64.b64decode(held[1])), where="page") == record
    bare = page([("a.json", record)], limit_bytes=len(text.encode()) - len(held[0]) // 2)
    assert 'id="record-0"' not in bare
    assert "The record with every sample is not in this page" in bare
    with pytest.raises(ReportTooLarge, match="the page of 1 record would be over 900000 bytes"):
        page([("a.json", record)], limit_bytes=900_000)


def test_every_chart_is_named_in_the_page_and_has_its_table(make_record: Make) -> None:
    text = page([("a.json", make_record())])
    keys = [figure.key for figure in charts.figures(make_record(), contender="edge")]
    held = re.search(r'<script type="application/gzip" id="r0-specs">(.*?)</script>', text)
    assert held is not None
    specs = json.loads(gzip.decompress(base64.b64decode(held[1])))
    assert keys == ["speedups", "distribution", "trace", "memory", "cold-start", "trade"]
    for key in keys:
        section = text.partition(f'<h3 id="r0-{key}">')[2].partition("</figure>")[0]
        assert section.count("<table>") == 1
        assert specs[f"r0-{key}-0"]["$schema"].startswith("https://vega.github.io/schema/vega-lite/")
        assert section.count('class="chart"') == sum(name.startswith(f"r0-{key}-") for name in specs)


def test_the_trace_covers_every_sample_and_shades_the_warm_up(make_record: Make) -> None:
    record = make_record(rounds=2)
    bins, warm, off = trace.trace(record, "edge", columns=40)
    assert sum(row["samples"] for row in bins) == 2 * (10 + 120)
    assert [row["end"] - row["start"] for row in warm] == pytest.approx([15 / 130] * 2, rel=1e-3)
    assert off == 2, "each block begins with one slow sample"
    assert {int(row["x"]) for row in bins} == {1, 2}, "edge runs second, then first"


def test_the_distribution_ends_where_the_samples_do(make_record: Make) -> None:
    record = make_record({"edge": 100.0}, rounds=2, samples=105)
    samples = [sample for launch in record.launches for sample in launch.steady_ns]
    rows = distribution.distribution(record)
    assert rows[-1]["rank"] == "p99.5"
    assert rows[49]["ms"] == percentile(samples, 50) / 1e6


def test_report_writes_a_page_whole_and_replaces_it_only_when_told(
    make_record: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_record().save(tmp_path / "r.json")
    words = ["report", str(tmp_path / "r.json"), "-o", str(tmp_path / "a page.html")]
    assert main(words) == 0
    assert (tmp_path / "a page.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert main(words) == 2
    assert main([*words, "--force", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out.partition("\n")[2])["format"] == "html"
    assert "replace it with --force" in err


def test_report_prints_markdown_and_refuses_a_page_without_a_file(
    make_record: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_record().save(tmp_path / "r.json")
    assert main(["report", str(tmp_path / "r.json"), "--format", "md"]) == 0
    assert capsys.readouterr().out.startswith("| model | contender |")
    assert main(["report", str(tmp_path / "r.json")]) == 2
    assert "a page needs a file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda text: text.replace(f'"schema": {SCHEMA}', '"schema": 99'), "99"),
        (lambda text: text[: len(text) // 2], "r.json"),
        (lambda text: text.replace('"load": ', '"load": -', 1), "phases_ns.load"),
        (lambda text: text.replace('"precision": 0.01', '"precision": NaN'), "r.json"),
    ],
    ids=["newer", "truncated", "negative", "NaN"],
)
def test_a_file_that_is_no_good_record_is_told_and_leaves_no_page(
    spoil: Callable[[str], str], told: str, make_record: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_record(rounds=1).save(tmp_path / "r.json")
    text = (tmp_path / "r.json").read_text()
    assert spoil(text) != text
    (tmp_path / "r.json").write_text(spoil(text))
    assert main(["report", str(tmp_path / "r.json"), "-o", str(tmp_path / "x.html")]) == 3
    assert told in capsys.readouterr().err
    assert not (tmp_path / "x.html").exists()


def test_a_record_of_200_mb_is_refused_unread(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "r.json").touch()
    os.truncate(tmp_path / "r.json", 200 * 10**6)
    assert main(["report", str(tmp_path / "r.json"), "--format", "csv"]) == 3
    assert "larger than the 67108864 bytes allowed here" in capsys.readouterr().err


def test_charts_are_drawn_as_svg_files_the_same_each_time(
    make_record: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_record({"edge": 100.0, HOSTILE: 300.0}).save(tmp_path / "r.json")
    words = ["report", str(tmp_path / "r.json"), "--format", "md", "--svg", str(tmp_path / "charts")]
    assert main(words) == 2
    assert "no such folder" in capsys.readouterr().err
    (tmp_path / "charts").mkdir()
    assert main(words) == 0
    first = {path.name: path.read_bytes() for path in (tmp_path / "charts").iterdir()}
    assert "speedups.svg" in first
    assert first["speedups.svg"] != first["speedups-dark.svg"]
    assert [name for name, content in first.items() if b"<script" in content or b"<img" in content] == []
    assert ET.fromstring(first["speedups.svg"]).attrib["width"].startswith("7")
    assert main(words) == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "charts").iterdir()} == first
