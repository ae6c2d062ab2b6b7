"""README.md shows what the demo made: its files are there, its table and its pictures are of one run."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_runtime.cli import main
from examples import demo
from tests.records import make_record

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MARKS = ("<!-- from here to its end:", "<!-- end of what `make readme` makes -->")


def made(text: str) -> str:
    return text.partition(MARKS[0])[2].partition(MARKS[1])[0]


def put(folder: Path, root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "examples/readme.py"), str(folder), str(root)],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def walked(tmp_path: Path) -> Callable[[float], Path]:
    """Return what makes a demo's folder without measuring: records of contenders so many times as slow as ours."""

    def walk(times: float) -> Path:
        folder = tmp_path / "demo"
        paths = [folder / "linear_model/linear.record.json", folder / "digits/digits.record.json"]
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            us = {"edge": 100.0, "onnxruntime": 100.0, "torch": 100.0 * times}
            make_record(us, model=path.parent.name).save(path)
        words = ["report", *map(str, paths), "-o", str(folder / "report.html"), "--svg", str(folder), "--force"]
        assert main(words) == 0
        return folder

    return walk


def test_every_file_that_readme_refers_to_is_there() -> None:
    named = re.findall(r'\]\(([^)#:]+)\)|(?:src|srcset)="([^":]+)"', README)
    paths = {one or other for one, other in named}
    assert {"docs/demo.svg", "docs/demo-dark.svg", "docs/statistics.md"} <= paths
    assert [path for path in sorted(paths) if not (ROOT / path).is_file()] == []


@pytest.mark.parametrize("name", ["demo.svg", "demo-dark.svg"])
def test_the_picture_and_the_table_are_of_one_run(name: str) -> None:
    drawn = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert len(drawn) < 40_000
    told = re.findall(r"(\d+\.\d\d)x \[", made(README))
    assert len(told) == 4
    assert sorted(re.findall(r">(\d+\.\d\d)×<", drawn)) == sorted(told)


def test_what_a_demo_measured_replaces_what_an_earlier_one_did(walked: Callable[[float], Path], tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text(
        f"by hand\n{MARKS[0]} old\n{MARKS[1]}\nby hand too\n".replace(
            MARKS[0], MARKS[0] + " made by `make readme` from the last `make demo` -->"
        )
    )
    for times in (3.0, 4.0):
        done = put(walked(times), tmp_path)
        assert done.returncode == 0, done.stderr
        text = (tmp_path / "README.md").read_text(encoding="utf-8")
        assert text.startswith("by hand\n<!--")
        assert text.endswith("-->\nby hand too\n")
        assert " old" not in text
        found = [float(one) for one in re.findall(r"(\d\.\d\d)x \[", made(text))]
        assert found == pytest.approx([1.0, times, 1.0, times], rel=0.05)
        assert "same |" in made(text), "what is no difference is not told as one"
        pictures = [(tmp_path / "docs" / name).read_text(encoding="utf-8") for name in ("demo.svg", "demo-dark.svg")]
        assert pictures[0] != pictures[1]
        assert all(f">{found[1]:.2f}×<" in picture for picture in pictures)


def test_a_readme_that_lost_its_marks_is_left_alone(walked: Callable[[float], Path], tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("all by hand\n")
    done = put(walked(3.0), tmp_path)
    assert done.returncode == 1
    assert "has lost the marks" in done.stderr
    assert (tmp_path / "README.md").read_text() == "all by hand\n"
    assert list((tmp_path / "docs").iterdir()) == []


def test_the_demo_asks_for_the_picture_that_readme_takes() -> None:
    told = Path(demo.__file__).read_text(encoding="utf-8")
    assert '"--svg", demo' in told
    assert demo.PICTURE == "together"
