"""What `--target` says is a board, a version or a diagnosis; anything else is refused with what is known."""

import json
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.errors import EdgeError, InputError, UsageError
from export_tools import target
from export_tools.errors import OpsetUnavailable
from export_tools.releases import releases
from export_tools.target import parse

NEWEST = releases()[-1].name


@pytest.mark.parametrize(
    ("text", "name", "release"),
    [
        ("onnxruntime==1.14", "onnxruntime==1.14", "1.14"),
        ("onnxruntime==1.14.1", "onnxruntime==1.14", "1.14"),
        ("onnxruntime >= 1.17", "onnxruntime==1.17", "1.17"),
        ("pi4", "pi4", NEWEST),
        ("pi4,onnxruntime==1.16.3", "pi4,onnxruntime==1.16", "1.16"),
        ("pi5, ram=8GiB", "pi5,ram=8GiB", NEWEST),
    ],
)
def test_a_version_or_a_board_is_a_target(text: str, name: str, release: str) -> None:
    found = parse(text)
    assert (found.name, found.release.name) == (name, release)
    assert parse(found.name) == found  # what the manifest tells can be given again


def test_every_named_board_has_its_facts_and_their_sources() -> None:
    assert list(target.known()) == ["pi3", "pi4", "pi5", "zero2w", "jetson-orin", "arm64", "x86"]
    for name, board in target.known().items():
        found = parse(name)
        assert found.machine in {"aarch64", "x86_64"}
        assert found.features
        assert board["sources"]
        assert all(source.startswith("https://") for source in board["sources"])
        assert {"title", "os", "python", "glibc", "cores"} <= board.keys()
        if "ram_mib" in board:
            assert found.memory_bytes == (board["ram_mib"] - board["reserve_mib"]) * 2**20


def test_the_memory_of_a_board_can_be_said() -> None:
    assert parse("pi4,ram=8GiB").memory_bytes == (8 * 1024 - 192) * 2**20
    assert parse("pi4,ram=8GiB").memory_told == "8.00 GiB, of which the system keeps 192 MiB"
    assert parse("onnxruntime==1.20,ram=512M").memory_bytes == 512 * 2**20


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("pi44", "no target 'pi44'", "did you mean pi4?"),
        ("toaster", "no target 'toaster'", "known are pi3, pi4, pi5, zero2w"),
        ("onnxruntime==1.9", "onnxruntime 1.9 is not among those", f"knows 1.13 to {NEWEST}"),
        ("onnxruntime==9.0", "onnxruntime 9.0 is not among those", f"knows 1.13 to {NEWEST}"),
        ("onnxruntime<2", "no target", "known are"),
        ("pi4,fast", "'fast' says nothing of a target", "ram=8GiB"),
        ("", "no target ''", "known are"),
    ],
)
def test_anything_else_is_refused_with_what_is_known(text: str, said: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert said in caught.value.what
    assert hint in caught.value.hint


def test_the_usual_opset_gives_way_to_what_the_target_reads() -> None:
    assert parse("onnxruntime==1.13").best_opset(18) == 17
    assert parse("pi4").best_opset(18) == 18
    with pytest.raises(OpsetUnavailable, match=r"opset 18 was asked for, onnxruntime 1\.13 reads up to 17"):
        parse("onnxruntime==1.13").refuse_opset(18)


def diagnosis(**changes: Any) -> dict[str, Any]:
    document = {
        "kind": "edge-doctor",
        "schema": 1,
        "machine": {"model": "Board of a friend", "ram_bytes": 2**30},
        "available_bytes": 700 * 2**20,
        "flags": ["asimd"],
        "software": {"architecture": "aarch64", "onnxruntime": "1.18.1"},
    }
    return {**document, **changes}


def written(folder: Path, document: object) -> str:
    (folder / "friend.json").write_text(json.dumps(document))
    return str(folder / "friend.json")


def test_a_machine_that_doctor_described_is_a_target(tmp_path: Path) -> None:
    found = parse(written(tmp_path, diagnosis()))
    assert (found.name, found.title, found.release.name) == ("friend", "Board of a friend", "1.18")
    assert (found.machine, found.features) == ("aarch64", ("asimd",))
    assert found.memory_bytes == 700 * 2**20
    assert found.memory_told == "700 MiB free of 1.00 GiB"


def test_what_doctor_really_prints_is_read(tmp_path: Path) -> None:
    from edge_runtime.diagnosis import diagnose  # noqa: PLC0415 - of this test alone

    document = diagnose(pause_s=0).to_document()
    found = parse(written(tmp_path, json.loads(json.dumps(document, default=str))))
    assert found.memory_bytes is not None
    assert found.release in releases()


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (diagnosis(kind="edge-record"), "expected 'edge-doctor'"),
        (diagnosis(schema=99), "reads up to 1"),
        (diagnosis(machine=[]), "machine is a list"),
        (diagnosis(available_bytes=-5), "available_bytes is -5"),
        (diagnosis(available_bytes="much"), "available_bytes is a string"),
        (diagnosis(flags=[1]), "flags"),
        (diagnosis(software={"architecture": "x", "onnxruntime": "1.2.0"}), "the machine has onnxruntime '1.2.0'"),
        (diagnosis(software={"onnxruntime": "x" * 500}), "characters long"),
        ([], "is a list"),
    ],
)
def test_a_hostile_diagnosis_is_refused(tmp_path: Path, document: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse(written(tmp_path, document))


def test_a_diagnosis_that_is_not_there_or_enormous_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EdgeError):
        parse(str(tmp_path / "nothing.json"))
    (tmp_path / "big.json").write_bytes(b" " * (2**20 + 1))
    with pytest.raises(InputError):
        parse(str(tmp_path / "big.json"))


def test_a_machine_with_a_newer_onnxruntime_than_all_known_counts_as_the_newest(tmp_path: Path) -> None:
    software = {"architecture": "aarch64", "onnxruntime": "2.0.1"}
    assert parse(written(tmp_path, diagnosis(software=software))).release.name == NEWEST
