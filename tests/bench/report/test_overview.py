"""Records as one table, and that table as Markdown and CSV."""

import csv
import io
from collections.abc import Callable

from bench.report.overview import comma_separated, markdown, overview
from edge_runtime.record import Record
from edge_runtime.summary import standings
from tests.records import with_everything

Make = Callable[..., Record]
HOSTILE = "=cmd|' /C calc'!A0 <script>alert(1)</script> *b* \u202etxt"


def test_csv_has_the_numbers_in_the_unit_of_the_heading(make_record: Make) -> None:
    record = make_record()
    rows = list(csv.DictReader(io.StringIO(comma_separated(overview([record])))))
    latency = standings(record)[0].latency
    assert latency is not None
    assert [row["contender"] for row in rows] == ["edge", "torch"]
    assert float(rows[0]["p50 [ns]"]) == float(f"{latency.p50.estimate:.10g}")
    assert rows[0]["peak memory [bytes]"] == str(48 * 2**20)
    assert rows[1]["verdict on ours"] == "faster"
    assert 3.9 < float(rows[1]["ours is faster by [ratio]"]) < 4.1


def test_what_too_few_samples_support_says_how_many_there_are_and_how_many_it_needs(make_record: Make) -> None:
    few, many = (overview([make_record(rounds=2, samples=samples)]) for samples in (50, 400))
    places = {name: [column for column, _ in few.columns].index(name) for name in ("p90", "p95", "p99", "p99.9")}
    assert {name: few.rows[0][place].text for name, place in places.items() if name not in {"p90", "p95"}} == {
        "p99": "n too small (90/368)",
        "p99.9": "n too small (90/3688)",
    }
    assert few.rows[0][places["p95"]].value is not None
    assert many.rows[0][places["p99"]].value is not None
    assert many.rows[0][places["p99.9"]].text == "n too small (790/3688)"


def test_a_wrong_contender_has_no_figures_and_is_struck_through(make_record: Make) -> None:
    table = overview([make_record(wrong=("torch",))])
    assert table.wrong == (False, True)
    row = markdown(table).splitlines()[3]
    assert "~~torch~~" in row
    assert "~~invalid~~" in row
    assert " us" not in row


def test_machine_and_threads_are_columns_only_where_they_differ(make_record: Make) -> None:
    one, two = make_record(threads=1), make_record(threads=2)
    assert "threads" not in dict(overview([one]).columns)
    assert "threads" in dict(overview([one, two]).columns)
    assert "machine" not in dict(overview([one, two]).columns)


def test_a_hostile_name_is_text_in_markdown_and_csv(make_record: Make) -> None:
    table = overview([make_record({"edge": 100.0, HOSTILE: 200.0})])
    lines = markdown(table).splitlines()
    assert len(lines) == 4
    assert "<script" not in lines[3]
    assert "\\*b\\*" in lines[3]
    assert "cmd\\|" in lines[3]
    cell = list(csv.reader(io.StringIO(comma_separated(table))))[2][1]
    assert cell.startswith("'=cmd"), "a spreadsheet must not run it"
    assert "\u202e" not in cell


def test_attainable_is_a_column_where_operators_were_profiled_and_says_what_it_leaves_out(make_record: Make) -> None:
    table = overview([with_everything(make_record({"edge": 100.0, "torch": 400.0}))])
    place = [name for name, _ in table.columns].index("attainable")
    cell = table.rows[0][place]
    assert (cell.text, cell.aside) == ("59%", "1% uncounted")
    assert next(iter(csv.DictReader(io.StringIO(comma_separated(table)))))["attainable [%]"] == "59"
    assert "59% 1% uncounted |" in markdown(table)
    assert "attainable" not in dict(overview([make_record()]).columns)
