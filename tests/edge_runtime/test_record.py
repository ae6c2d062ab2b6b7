"""A record is evidence: it reads back as it was written, and statistics are no part of it."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.environment import Conditions, Machine
from edge_runtime.errors import RecordError, WorkerLost
from edge_runtime.measured import Answers, Failure, MeasuredArtifact, MeasuredContender
from edge_runtime.record import (
    SINCE_3,
    Config,
    Launch,
    MemoryLaunch,
    Record,
    launch_of_worker,
    load_record,
    parse,
)
from edge_runtime.sensors import Memory

CALM = Conditions(governor=None, frequency_khz=None, temperature_millicelsius=-5, load_1m_hundredths=12)
LAUNCH = Launch(
    contender="edge",
    round=0,
    order=0,
    phases_ns={"spawn": 1, "import": 2, "load": 3, "first": 4},
    warmup_ns=(50, 40),
    block_ns=(10, 11, 12),
    calls_per_sample=3,
    cut=None,
    steady=None,
    before=CALM,
    after=CALM,
    valid=True,
    reasons=(),
)
RECORD = Record(
    created="2026-01-01T00:00:00Z",
    command=("edge", "measure", "über.edge"),
    seed=None,
    machine=Machine(key="k", model="m", cores=2, ram_bytes=None, kernel="6", libc=None),
    board="local",
    config=Config(threads=1, cpus=(1,), scenario="single", shapes={"x": (1, 2)}, precision=0.01, margin=0.02),
    contenders=(
        MeasuredContender(
            name="edge",
            engine="onnxruntime 1",
            artifact=MeasuredArtifact(name="tiny", sha256="0" * 64, variant="fp32", bytes=10),
            answers=Answers(agree=None, max_abs=None, max_rel=None, problem=""),
        ),
    ),
    launches=(LAUNCH,),
    memory=(
        MemoryLaunch(
            contender="edge",
            points=dict.fromkeys(
                ("base", "loaded", "first", "steady"), Memory(resident=1, proportional=None, private=0, peak=2)
            ),
            load_peak_bytes=None,
            run_peak_bytes=5,
        ),
    ),
    stop_reason="rounds",
    warnings=("few",),
)


def document() -> dict[str, Any]:
    copied: dict[str, Any] = json.loads(json.dumps(RECORD.to_document()))
    return copied


def test_a_record_is_stored_and_read_back_the_same(tmp_path: Path) -> None:
    RECORD.save(tmp_path / "r.json")
    assert load_record(tmp_path / "r.json") == RECORD
    RECORD.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "r.json").read_bytes()


def without_schema_3() -> dict[str, Any]:
    old = {**document(), "schema": 2}
    parts = [(old["config"], ("rate_per_s", "target_ns", "workers")), (old["launches"][0], SINCE_3)]
    parts += [(one, ("configuration", "first_start_ns", "failure")) for one in old["contenders"]]
    for part, keys in parts:
        for key in keys:
            del part[key]
    return old


def test_a_record_of_schema_2_tells_nothing_of_configurations_first_starts_failures_and_scenarios() -> None:
    old = without_schema_3()
    assert parse(json.dumps(old), where="old.json") == RECORD


def test_a_record_of_schema_2_with_keys_of_schema_3_is_refused() -> None:
    for place in (("contenders", 0, "configuration"), ("config", "rate_per_s"), ("launches", 0, "batch")):
        old: Any = without_schema_3()
        part = old
        for step in place[:-1]:
            part = part[step]
        part[place[-1]] = None
        with pytest.raises(RecordError, match=f"{place[-1]} belongs to a later schema"):
            parse(json.dumps(old), where="old.json")


def test_a_contender_that_failed_is_stored_with_its_reason() -> None:
    failed = replace(
        RECORD.contenders[0],
        name="peer",
        configuration={"threads": "1"},
        first_start_ns={"spawn": 1, "import": 2, "load": 3, "first": 4},
        failure=Failure(kind="skipped", reason="not installed"),
    )
    record = replace(RECORD, contenders=(*RECORD.contenders, failed))
    assert parse(json.dumps(record.to_document()), where="x") == record


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("configuration", {"threads": 1}, "configuration.threads is an integer, expected a string"),
        ("configuration", {f"k{n}": "" for n in range(101)}, "at most 100"),
        ("failure", {"kind": "tired", "reason": ""}, "expected one of skipped, lost"),
        ("first_start_ns", {"spawn": 1}, "import"),
    ],
)
def test_what_is_no_configuration_failure_or_start_is_refused(key: str, value: object, told: str) -> None:
    changed = document()
    changed["contenders"][0][key] = value
    with pytest.raises(RecordError, match=told):
        parse(json.dumps(changed), where="changed.json")


def test_a_record_holds_raw_samples_and_no_statistics() -> None:
    keys = set(names(document()))
    assert {"block_ns", "warmup_ns", "phases_ns"} <= keys
    assert not keys & {"p50", "p90", "p99", "mean", "min", "max", "latency_ns", "summary", "speedup", "verdict"}
    assert list(document()) == [
        "kind", "schema", "created", "command", "seed", "machine", "board", "sittings", "config", "contenders",
        "launches", "memory", "energy", "stop_reason", "warnings",
    ]  # fmt: skip


def names(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
        for item in value.values():
            yield from names(item)
    elif isinstance(value, list):
        for item in value:
            yield from names(item)


def places(value: object, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in pairs:
        yield (*here, key)
        yield from places(item, (*here, key))


def changed(place: tuple[Any, ...], value: object) -> str:
    copy: Any = document()
    holder = copy
    for step in place[:-1]:
        holder = holder[step]
    holder[place[-1]] = value
    return json.dumps(copy)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@given(place=st.sampled_from(list(places(RECORD.to_document()))), value=json_values)
def test_one_changed_field_gives_a_record_or_a_record_error(place: tuple[Any, ...], value: object) -> None:
    text = changed(place, value)
    try:
        found = parse(text, where="r.json")
    except RecordError as error:
        found, where = None, error.where
    else:
        where = "r.json"
    assert where == "r.json"
    assert found is None or parse(json.dumps(found.to_document()), where="x") == found


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        (("schema",), 4, "reads up to 3"),
        (("kind",), "edge-artifact", "expected 'edge-record'"),
        (("verdict",), {}, "unknown keys: verdict"),
        (("launches", 0, "contender"), "ghost", "no contender of this record"),
        (("memory", 0, "contender"), "ghost", "no contender of this record"),
        (("launches", 0, "block_ns"), [], "empty in a valid launch"),
        (("launches", 0, "block_ns", 0), 0, "expected an integer of 1"),
        (("launches", 0, "cut"), 3, "leaves none of the 3 samples"),
        (("launches", 0, "phases_ns", "extra"), 1, "unknown keys"),
        (("memory", 0, "points", "base", "peak"), -1, "expected 0 to"),
        (("stop_reason",), "bored", "expected one of"),
        (("config", "scenario"), "serve", "expected one of"),
        (("machine", "cores"), 0, "expected 1 to"),
    ],
)
def test_a_senseless_record_is_refused_in_words(place: tuple[Any, ...], value: object, told: str) -> None:
    with pytest.raises(RecordError, match=told):
        parse(changed(place, value), where="r.json")


def test_a_contender_that_stands_twice_is_refused() -> None:
    with pytest.raises(RecordError, match="names one twice"):
        parse(json.dumps(replace(RECORD, contenders=RECORD.contenders * 2).to_document()), where="r.json")


def test_what_is_no_record_at_all_is_refused_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_bytes(b"\xff\xfe{}")
    for name in ("r.json", "nope.json", "."):
        with pytest.raises(RecordError) as refused:
            load_record(tmp_path / name)
        assert refused.value.where == str(tmp_path / name)


def test_what_a_worker_garbles_is_the_workers_fault() -> None:
    with pytest.raises(WorkerLost, match=r"timing\.contender is a number"):
        launch_of_worker({**document()["launches"][0], "contender": 3.0}, where="edge")


def test_what_json_printed_on_stdout_is_a_record_too_and_its_summary_is_not_believed() -> None:
    printed = {**document(), "summary": {"contenders": {"edge": "a hundred times faster"}}}
    assert parse(json.dumps(printed), where="stdout.json") == RECORD


def test_a_record_of_schema_1_reads_as_the_same_without_what_came_later() -> None:
    old = without_schema_3()
    del old["sittings"], old["config"]["noise_floor"]
    assert parse(json.dumps({**old, "schema": 1}), where="r.json") == RECORD
    with pytest.raises(RecordError, match="sittings belongs to a later schema"):
        parse(json.dumps({**document(), "schema": 1}), where="r.json")


def test_a_launch_that_was_lost_has_no_phases_and_no_samples() -> None:
    lost = replace(LAUNCH, phases_ns={}, warmup_ns=(), block_ns=(), valid=False, reasons=("killed",))
    kept = replace(RECORD, launches=(LAUNCH, lost))
    assert parse(json.dumps(kept.to_document()), where="r.json") == kept
    assert kept.launches_of("edge") == (LAUNCH,)
