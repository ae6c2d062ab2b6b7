"""What charts show: which there are, and the rows they are drawn from."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from bench.report import charts
from bench.report.charts import asked, fits, roofline, scaling, starts, sustained, timeline, trace
from bench.report.names import titles
from edge_runtime.record import Config, Record
from tests.records import with_everything

Make = Callable[..., Record]
HOSTILE = "</script><script>alert(1)</script>\u202e\n" + "long" * 50


def keys(record: Record) -> list[str]:
    return [figure.key for figure in charts.figures(record, contender="edge")]


def test_a_record_with_everything_has_every_chart_in_reading_order(make_record: Make) -> None:
    assert keys(with_everything(make_record())) == [
        *("speedups", "distribution", "trace", "memory", "fits", "cold-start", "trade", "roofline", "sustained")
    ]


def test_who_answers_wrongly_is_in_no_chart(make_record: Make) -> None:
    record = with_everything(make_record(wrong=("torch",)))
    shown = json.dumps([figure.panels for figure in charts.figures(record, contender="edge")])
    assert '"edge"' in shown
    assert '"torch"' not in shown


def test_names_reach_charts_without_control_characters(make_record: Make) -> None:
    record = with_everything(make_record({"edge": 100.0, HOSTILE: 300.0}, model=HOSTILE))
    figures = (*charts.figures(record, contender="edge"), *charts.across([("a", record)] * 3, ("1", "2", "3")))
    told = json.dumps([(figure.panels, figure.rows, figure.note) for figure in figures], ensure_ascii=False)
    assert "alert(1)" in told
    assert "\u202e" not in told


def test_a_start_shows_both_states_of_the_page_cache_and_how_they_were_checked(make_record: Make) -> None:
    record = with_everything(make_record())
    rows = {(row["contender"], row["step"]): row["ms"] for row in starts.cold_starts(record)}
    assert rows["edge, warm", "load"] == 40
    assert rows["edge, evicted", "load"] == 320
    told = starts.note(record)
    assert "6 starts evicted (2% of their files' bytes in memory)" in told
    assert "With the page cache warm, these starts don't tell whether edge answers before torch." in told


def test_without_starts_nothing_is_claimed_of_the_page_cache(make_record: Make) -> None:
    record = make_record()
    assert [row["contender"] for row in starts.cold_starts(record)] == ["edge"] * 4 + ["torch"] * 4
    assert "nobody checked" in starts.note(record)


def test_a_node_lies_below_the_lines_of_what_the_machine_allows(make_record: Make) -> None:
    record = with_everything(make_record({"edge": 100.0}))
    assert record.peaks is not None
    rows = roofline.nodes(record)
    assert [(row["operator"], row["intensity"], row["rate"]) for row in rows[:2]] == [
        ("Conv", 50, 82.5),
        ("Conv", 25, 55),
    ]
    assert len(rows) == 4, "a node whose work nobody can count has no place"
    lines = roofline.roofs(record.peaks, 0.1, 100)
    float32 = [(row["intensity"], row["rate"]) for row in lines if row["limit"] == "float32"]
    assert float32 == [(0.1, 2.0), (5.0, 100.0), (100, 100.0)], "20 GB/s of memory meet 100 GFLOP/s at 5 a byte"


def test_the_longest_nodes_are_a_table_with_their_share_of_the_limit(make_record: Make) -> None:
    figure = roofline.chart(with_everything(make_record({"edge": 100.0})))
    assert figure is not None
    assert figure.rows[0] == ("edge", "/0/Conv", "Conv", "1", "36.4 us", "36.4 %", "82.5", "82 %")
    assert "profiled times × 0.91" in figure.note
    assert figure.rows[-1][-2:] == ("uncounted", "unknown")


def test_every_try_of_a_limit_is_shown_and_the_least_that_ran_is_the_bar(make_record: Make) -> None:
    record = with_everything(make_record({"edge": 100.0}))
    assert [(row["mib"], row["outcome"]) for row in fits.tries(record)] == [
        (96, "ran"),
        (48, "ran"),
        (24, "did not run"),
    ]
    figure = fits.chart(record)
    assert figure is not None
    assert "a control group limits" in figure.note
    mixed = replace(record, fits=(*record.fits, replace(record.fits[0], mechanism="address-space")))
    told = fits.chart(mixed)
    assert told is not None
    assert "can't be compared" in told.note


def test_minutes_under_load_tell_how_much_slower_it_became(make_record: Make) -> None:
    record = with_everything(make_record({"edge": 100.0}))
    figure = sustained.chart(record)
    assert figure is not None
    assert "edge ended at 1.50 times its first p50" in figure.note
    assert len(figure.panels) == 3, "latency, clock, temperature"
    hidden = [replace(one, frequency_khz=None, temperature_millicelsius=None) for one in record.sustained[0].windows]
    dark = replace(record, sustained=(replace(record.sustained[0], windows=tuple(hidden)),))
    figure = sustained.chart(dark)
    assert figure is not None
    assert len(figure.panels) == 1
    assert figure.rows[0][-3:] == ("unknown", "unknown", "no")


def periodic(config: Config) -> Config:
    return replace(config, scenario="periodic", rate_per_s=9000.0)


def test_deadlines_are_missed_by_the_share_of_calls_beyond_their_period(make_record: Make) -> None:
    record = make_record({"edge": 100.0, "torch": 400.0})
    record = replace(record, config=periodic(record.config))
    rows = {row["contender"]: row["late"] for row in asked.late(record)}
    assert rows["edge"] < 5
    assert rows["torch"] == 100
    figure = asked.misses(record)
    assert figure is not None
    assert figure.rows[1][:2] == ("torch", "100.00%")
    assert asked.misses(make_record()) is None


def test_samples_a_second_are_drawn_by_batch(make_record: Make) -> None:
    record = make_record({"edge": 100.0})
    launches = [replace(one, batch=1 + one.round % 3) for one in record.launches]
    offline = replace(record, config=replace(record.config, scenario="offline"), launches=tuple(launches))
    figure = asked.batches(offline)
    assert figure is not None
    assert [(row[1], row[3]) for row in figure.rows] == [("1", ""), ("2", ""), ("3", "yes")]


def test_threads_are_held_against_the_ideal_where_records_differ_in_nothing_else(make_record: Make) -> None:
    one, two = make_record({"edge": 100.0}, threads=1), make_record({"edge": 60.0}, threads=2)
    other = make_record({"edge": 50.0}, threads=4, model="another")
    (rows,) = scaling.scaling([two, other, one]).values()
    assert [(row["threads"], row["ideal"]) for row in rows] == [(1, 1), (2, 2)]
    assert rows[1]["times"] == pytest.approx(100 / 60, rel=0.02)
    assert rows[1]["share"] in {"82 %", "83 %", "84 %"}
    assert scaling.scaling([one, other]) == {}


def test_of_records_with_equal_threads_the_latest_counts(make_record: Make) -> None:
    one, two = make_record({"edge": 100.0}, threads=1), make_record({"edge": 60.0}, threads=2)
    old = replace(make_record({"edge": 900.0}, threads=2), created="2025-01-01T00:00:00Z")
    (rows,) = scaling.scaling([one, two, old]).values()
    assert rows[1]["times"] == pytest.approx(100 / 60, rel=0.02)


def dated(make_record: Make, day: int, us: float, engine: str) -> tuple[str, Record]:
    record = make_record({"edge": us}, seed=day)
    contender = replace(record.contenders[0], engine=engine)
    return f"{day}.json", replace(record, created=f"2026-01-{day:02}T00:00:00Z", contenders=(contender,))


def test_a_line_over_time_has_its_steps_and_what_changed(make_record: Make) -> None:
    records = [dated(make_record, day, 120.0 if day > 4 else 100.0, f"engine {1 + (day > 4)}") for day in range(1, 9)]
    figure = timeline.chart(records)
    assert figure is not None
    assert len(figure.panels) == 1
    changed = [row for row in figure.rows if row[-1]]
    assert [(row[2][:10], row[-1]) for row in changed] == [("2026-01-05", "engine: engine 1 → engine 2")]
    assert 18 < float(changed[0][-2].strip("+%")) < 22
    assert timeline.chart(records[:2]) is None, "two records are a comparison, not a line"


def test_a_launch_that_was_dropped_is_shaded_with_its_reason_and_keeps_its_samples(make_record: Make) -> None:
    record = make_record({"edge": 100.0}, rounds=2)
    spoilt = replace(record.launches[0], valid=False, reasons=("the clock fell",))
    bins, shaded, _ = trace.trace(replace(record, launches=(spoilt, record.launches[1])), "edge", columns=40)
    assert shaded[0] == {"start": 0, "end": 1, "told": "not counted: the clock fell"}
    assert {int(row["x"]) for row in bins} == {0, 1}
    lost = replace(spoilt, warmup_ns=(), block_ns=(), cut=None)
    bins, _, _ = trace.trace(replace(record, launches=(lost, record.launches[1])), "edge", columns=40)
    assert {int(row["x"]) for row in bins} == {1}


def test_the_probe_is_drawn_as_multiples_of_its_best(make_record: Make) -> None:
    points = trace.conditions(with_everything(make_record()))[trace.PROBE]
    assert sorted({point["value"] for point in points}) == [1.0, 1.01, 1.2]
    assert trace.PROBE not in trace.conditions(make_record())


def test_no_two_records_have_the_same_title(make_record: Make) -> None:
    one = make_record()
    later = replace(one, created="2026-02-02T00:00:00Z")
    elsewhere = replace(one, machine=replace(one.machine, model="Board 4"))
    named = [
        ("a.json", one),
        ("b.json", one),
        ("c.json", later),
        ("d.json", elsewhere),
        ("e.json", make_record(threads=2)),
    ]
    told = titles([*named, ("a.json", one)])
    assert len(set(told)) == 6
    assert told[4] == "digits, 2 threads"
    assert "Board 4" in told[3]
    assert "2026-02-02" in told[2]
