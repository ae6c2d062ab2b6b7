"""What `make bench-zoo` makes of its records; the runs themselves are its own business."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import zoo, zoo_table
from edge_runtime.errors import UsageError
from edge_runtime.measured import Failure
from edge_runtime.record import Record

Make = Callable[..., Record]


def test_where_we_lose_is_bold_in_both_tables_and_counted(make_record: Make) -> None:
    told = zoo_table.tables([make_record({"edge": 100.0, "torch": 300.0, "mnn": 80.0})])
    (row,) = [line for line in told.splitlines() if line.startswith("| digits | ")]
    ours, torch, mnn = row.strip("| ").split(" | ")[1:]
    assert ours.endswith(" us")
    assert torch.startswith("3.0")
    assert torch.endswith("×")
    assert (mnn[:5], mnn[-9:]) == ("**0.8", " slower**")
    assert "Of 2 comparisons: 1 faster, 1 slower." in told
    figures = [line for line in told.splitlines() if line.startswith(("| digits (1x3)", "| **digits (1x3)**"))]
    assert [line.count("**") for line in figures] == [0, 0, 20]


def test_each_thread_count_has_its_table_and_networks_come_by_name(make_record: Make) -> None:
    records = [make_record(model=name, threads=count) for count in (2, 1) for name in ("b", "a")]
    told = zoo_table.tables(records)
    assert told.index("### With 1 thread\n") < told.index("### With 2 threads\n")
    names = [line.split(" ")[1] for line in told.splitlines() if line.startswith(("| a | ", "| b | "))]
    assert names == ["a", "b", "a", "b"]


def test_who_could_not_run_or_answered_wrongly_has_a_word_and_its_reason(make_record: Make) -> None:
    record = make_record({"edge": 100.0, "tract": 300.0, "mnn": 80.0}, wrong=("mnn",))
    skipped = replace(record.contenders[1], failure=Failure(kind="skipped", reason="one thread only | <b>"))
    wrong = replace(record.contenders[2], answers=replace(record.contenders[2].answers, problem="off by 3"))
    record = replace(record, contenders=(record.contenders[0], skipped, wrong), launches=record.launches_of("edge"))
    told = zoo_table.tables([record])
    assert " us | skipped | invalid |" in told
    assert "- tract, on digits (1 thread): skipped: one thread only \\| &lt;b&gt;" in told
    assert "- mnn, on digits (1 thread): answers wrongly: off by 3" in told


def test_the_document_keeps_what_people_wrote_around_the_tables(make_record: Make) -> None:
    once = zoo_table.written(f"before\n{zoo_table.BEGIN}\nwhat was here\n{zoo_table.END}\nafter\n", [make_record()])
    assert once.startswith(f"before\n{zoo_table.BEGIN}\n\nOn Board 5, 4 cores; 2026-01-01; 6 rounds")
    assert once.endswith(f"{zoo_table.END}\nafter\n")
    assert "what was here" not in once
    assert zoo_table.written(once, [make_record()]) == once
    with pytest.raises(UsageError, match="no place for the tables"):
        zoo_table.written("no marks", [])


def test_the_documentation_has_a_place_for_the_tables() -> None:
    assert zoo_table.written(zoo.DOCUMENT.read_text(), []).count(zoo_table.END) == 1


def test_what_is_whole_is_left_alone_and_every_network_is_there(
    make_record: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "digits.edge").mkdir()
    words = ["--artifacts", str(tmp_path), "--only", "digits", "--document", str(tmp_path / "b.md")]
    (tmp_path / "b.md").write_text(f"{zoo_table.BEGIN}{zoo_table.END}")
    (tmp_path / "records").mkdir()
    for count in (1, 2):
        make_record(threads=count).save(tmp_path / f"records/digits-{count}.json")
    assert zoo.main(words) == 0
    assert "### With 2 threads" in (tmp_path / "b.md").read_text()
    assert "digits, 1 threads: 6 rounds, rounds" in capsys.readouterr().err
    (tmp_path / "records/digits-2.json").unlink()
    assert zoo.main([*words, "--table"]) == 1, "a table without a network that was asked for is not the whole"
    with pytest.raises(UsageError, match="no artifact of"):
        zoo.main(["--artifacts", str(tmp_path), "--table"])
