"""`edge history`: lines, steps and marks from record files, through an index that can always be made anew."""

import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bench.errors import NoHistory
from bench.history import INDEX, history
from edge_runtime.cli import main
from edge_runtime.record import Record

Make = Callable[..., Record]


@pytest.fixture
def kept(make_record: Make, tmp_path: Path) -> Path:
    """Return a folder of ten records: edge is 20 % slower from the sixth on, where its engine changed."""
    folder = tmp_path / "all records"
    for day in range(10):
        record = make_record({"edge": 120.0 if day >= 5 else 100.0, "torch": 400.0}, samples=40, seed=day)
        engine = f"onnxruntime 1.{32 + (day >= 5)}.0"
        contenders = (replace(record.contenders[0], engine=engine), record.contenders[1])
        place = folder / f"month {day % 2}"
        place.mkdir(parents=True, exist_ok=True)
        replace(record, created=f"2026-01-{day + 1:02}T00:00:00Z", contenders=contenders).save(place / f"{day}.json")
    return folder


def test_the_step_and_the_version_mark_stand_at_the_same_record(kept: Path) -> None:
    (line,) = history("digits", kept, contender="edge").lines
    assert [point.created[8:10] for point in line.points] == [f"{day:02}" for day in range(1, 11)]
    assert [(one.start, one.end) for one in line.segments] == [(0, 5), (5, 10)]
    assert line.segments[1].level / line.segments[0].level == pytest.approx(1.2, rel=0.02)
    marks = [point.marks for point in line.points]
    assert marks[5] == ("engine: onnxruntime 1.32.0 → onnxruntime 1.33.0",)
    assert set(marks[:5] + marks[6:]) == {()}


def test_other_settings_are_other_lines(kept: Path, make_record: Make) -> None:
    replace(make_record(threads=2), created="2026-02-01T00:00:00Z").save(kept / "two.json")
    make_record(model="other").save(kept / "other.json")
    found = history("digits", kept)
    assert [(line.contender, len(line.points)) for line in found.lines] == [
        ("edge", 10),
        ("torch", 10),
        ("edge", 1),
        ("torch", 1),
    ]


def test_the_index_is_remade_when_it_is_missing_damaged_or_of_another_version(kept: Path) -> None:
    first = history("digits", kept)
    assert history("digits", kept) == first, "from the index"
    (kept / INDEX).unlink()
    assert history("digits", kept) == first
    (kept / INDEX).write_bytes(b"no database" * 1000)
    assert history("digits", kept) == first
    with sqlite3.connect(kept / INDEX) as index:
        index.execute("PRAGMA user_version = 99")
    index.close()
    assert history("digits", kept) == first


def test_a_record_is_read_once_and_again_only_when_it_changed(kept: Path, make_record: Make) -> None:
    assert len(history("digits", kept, contender="edge").lines[0].points) == 10
    # what the index says is believed while the file is as it was
    with sqlite3.connect(kept / INDEX) as index:
        index.execute("UPDATE figures SET p50 = 1.0 WHERE path = 'month 0/0.json' AND contender = 'edge'")
    index.close()
    assert history("digits", kept, contender="edge").lines[0].points[0].value == 1.0
    replace(make_record(rounds=7), created="2026-01-01T00:00:00Z").save(kept / "month 0/0.json")
    assert history("digits", kept, contender="edge").lines[0].points[0].value == pytest.approx(100e3, rel=0.02)
    (kept / "month 0/0.json").unlink()
    assert len(history("digits", kept, contender="edge").lines[0].points) == 9


def test_what_is_no_record_is_told_and_stops_nothing(kept: Path) -> None:
    (kept / "a.json").write_text("{")
    (kept / "b.json").write_text('{"kind": "edge-artifact"}')
    found = history("digits", kept)
    assert [one.partition(":")[0] for one in found.unread] == ["a.json", "b.json"]
    assert len(found.lines) == 2


def test_a_wrong_contender_has_no_history(make_record: Make, tmp_path: Path) -> None:
    make_record(wrong=("torch",)).save(tmp_path / "r.json")
    assert [line.contender for line in history("digits", tmp_path).lines] == ["edge"]


def test_no_record_and_no_folder_are_said(tmp_path: Path) -> None:
    with pytest.raises(NoHistory, match="no record of 'digits' with a p50"):
        history("digits", tmp_path)
    with pytest.raises(NoHistory, match="no such folder"):
        history("digits", tmp_path / "none")


def test_when_all_figures_of_a_machine_move_one_way_the_instrument_is_suspect(
    make_record: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for day in range(8):
        for model in ("a", "b", "c"):
            hot = 1.2 if day >= 4 else 1.0
            record = make_record({"edge": 100.0 * hot, "torch": 400.0 * hot}, samples=40, model=model, seed=day)
            replace(record, created=f"2026-01-{day + 1:02}T00:00:00Z").save(tmp_path / f"{model}{day}.json")
    (found,) = history("a", tmp_path).suspicions
    # two contenders on three models
    assert (found.machine, found.steps, len(found.lines), found.up) == ("k" * 16, 6, 6, True)
    assert found.since.startswith("2026-01-05")
    assert "b, torch, p50" in found.lines
    assert main(["history", "a", "--records", str(tmp_path)]) == 0
    assert "instrument suspect: 6 steps between 2026-01-05 and 2026-01-05" in capsys.readouterr().out


def test_a_step_with_another_engine_is_explained_and_casts_no_suspicion(make_record: Make, tmp_path: Path) -> None:
    for day in range(8):
        for model in ("a", "b", "c"):
            slow = 1.2 if day >= 4 else 1.0
            record = make_record({"edge": 100.0 * slow, "torch": 400.0 * slow}, samples=40, model=model, seed=day)
            newer = [replace(one, engine=f"version {day >= 4}") for one in record.contenders]
            record = replace(record, contenders=tuple(newer), created=f"2026-01-{day + 1:02}T00:00:00Z")
            record.save(tmp_path / f"{model}{day}.json")
    assert len(history("a", tmp_path).lines[0].segments) == 2
    assert history("a", tmp_path).suspicions == ()


def test_a_date_that_is_none_stops_nothing(make_record: Make, tmp_path: Path) -> None:
    for day in range(8):
        record = make_record({"edge": 120.0 if day >= 4 else 100.0}, samples=40, seed=day)
        replace(record, created=f"on day {day}").save(tmp_path / f"{day}.json")
    found = history("digits", tmp_path)
    assert (len(found.lines[0].segments), found.suspicions) == (2, ())


def test_the_verb_tells_the_step_in_words_and_draws_the_line(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history", "digits", "--records", str(kept), "--contender", "edge"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("edge, p50: 1 step in 10 records, the last step +")
    assert "at 2026-01-06T00:00:00Z, now 12" in lines[0]
    assert len(lines[2]) == 10
    assert sum("engine: onnxruntime 1.32.0" in line for line in lines) == 1
    assert main(["history", "digits", "--records", str(kept), "--metric", "total_peak", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["lines"][0]["points"][0]["value"] == 48 * 2**20
    assert main(["history", "nobody", "--records", str(kept)]) == 3
