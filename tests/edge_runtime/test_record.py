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
from edge_runtime.fits import Fit, FitTry
from edge_runtime.measured import Answers, Failure, MeasuredArtifact, MeasuredContender
from edge_runtime.operators import NodeTime, OperatorTimes
from edge_runtime.peaks import Peaks
from edge_runtime.record import Config, Record, load_record, parse
from edge_runtime.samples import SINCE_3, Launch, MemoryLaunch, launch_of_worker
from edge_runtime.sensors import Memory
from edge_runtime.starts import Start
from edge_runtime.sustained import Sustained, Window

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


NEW_IN_4 = ("starts", "fits", "operators", "peaks", "sustained", "confirming_from")


def without_schema_4() -> dict[str, Any]:
    old = {**document(), "schema": 3}
    for key in NEW_IN_4:
        del old[key]
    del old["config"]["inputs"]
    for launch in old["launches"]:
        del launch["slices"]
    return old


def test_a_record_of_schema_3_was_measured_by_rounds_alone() -> None:
    assert parse(json.dumps(without_schema_4()), where="old.json") == RECORD
    for key in NEW_IN_4:
        with pytest.raises(RecordError, match=f"{key} belongs to a later schema"):
            parse(json.dumps({**without_schema_4(), key: None}), where="old.json")


BESIDE = replace(
    RECORD,
    starts=(Start(contender="edge", cache="evicted", resident_share=0.25, phases_ns=LAUNCH.phases_ns),),
    fits=(
        Fit(
            contender="edge",
            mechanism="cgroup",
            limit_bytes=200,
            tried=(
                FitTry(limit_bytes=200, ran=True, p50_ns=9, reason=""),
                FitTry(limit_bytes=100, ran=False, p50_ns=None, reason="killed"),
            ),
        ),
    ),
    operators=(
        OperatorTimes(
            contender="edge",
            runs=20,
            p50_ns=10,
            profiled_ns=12,
            nodes=(NodeTime(name="/fc", operator="Gemm", calls=1, ns=8, operations=64, bytes=None, least_ns=2.5),),
        ),
    ),
    peaks=Peaks(threads=1, copy_bytes=1, copy_bytes_per_s=2, float32_operations_per_s=3, int8_operations_per_s=4),
    sustained=(
        Sustained(
            contender="edge",
            rate_per_s=None,
            windows=(
                Window(
                    begin_ns=0,
                    elapsed_ns=60,
                    calls=6,
                    p50_ns=9,
                    p90_ns=10,
                    max_ns=11,
                    frequency_khz=None,
                    temperature_millicelsius=-1,
                    throttled=False,
                ),
            ),
        ),
    ),
    confirming_from=6,
)


def beside() -> dict[str, Any]:
    copied: dict[str, Any] = json.loads(json.dumps(BESIDE.to_document()))
    return copied


def test_what_was_measured_beside_the_rounds_is_stored_and_read_back_the_same() -> None:
    assert parse(json.dumps(beside()), where="r.json") == BESIDE


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        (("starts", 0, "cache"), "lukewarm", "cache"),
        (("starts", 0, "resident_share"), 1.5, "resident_share"),
        (("starts", 0, "phases_ns"), {"spawn": 1}, "phases_ns"),
        (("fits", 0, "mechanism"), "hope", "mechanism"),
        (("fits", 0, "limit_bytes"), 100, "of no try that ran"),
        (("fits", 0, "tried", 0, "p50_ns"), 0, "p50_ns"),
        (("operators", 0, "nodes", 0, "least_ns"), -1, "least_ns"),
        (("operators", 0, "runs"), 0, "runs"),
        (("peaks", "copy_bytes_per_s"), 0, "copy_bytes_per_s"),
        (("sustained", 0, "windows", 0, "calls"), 0, "calls"),
        *(((key, 0, "contender"), "stranger", "no contender") for key in ("starts", "fits", "operators", "sustained")),
    ],
)
def test_what_was_measured_beside_the_rounds_is_read_strictly(place: tuple[Any, ...], value: object, told: str) -> None:
    changed: Any = beside()
    part = changed
    for step in place[:-1]:
        part = part[step]
    part[place[-1]] = value
    with pytest.raises(RecordError, match=told):
        parse(json.dumps(changed), where="r.json")


def without_schema_3() -> dict[str, Any]:
    old = {**without_schema_4(), "schema": 2}
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
        "launches", "memory", "energy", "starts", "fits", "operators", "peaks", "sustained",
        "confirming_from", "stop_reason", "warnings",
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
        (("schema",), 5, "reads up to 4"),
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
