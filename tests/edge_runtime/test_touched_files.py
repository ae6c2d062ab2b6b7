"""Which files a process says it touched, asked of fresh ones: a hook can't be removed."""

import json
import subprocess
import sys
from pathlib import Path

from edge_runtime.touched_files import _mapped
from edge_runtime.tree import Tree

ROOT = Path(__file__).resolve().parents[2]
CODE = """
import json, sys
from pathlib import Path
from edge_runtime.touched_files import TouchedFiles
touched = TouchedFiles()
import decimal, tomllib
Path(sys.argv[1]).read_text()
Path(sys.argv[2]).read_text()
Path(sys.argv[2]).unlink()
print(json.dumps(touched.paths((Path(sys.argv[3]),))))
"""


def test_opened_mapped_imported_and_named_files_are_told_and_missing_ones_are_not(tmp_path: Path) -> None:
    read, removed, cache = tmp_path / "read.txt", tmp_path / "removed.txt", tmp_path / "cache"
    for path in (read, removed, cache / "deeper" / "kernel"):
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text("x")
    done = subprocess.run(
        [sys.executable, "-c", CODE, read, removed, cache], cwd=ROOT, capture_output=True, text=True, check=True
    )
    told = json.loads(done.stdout)
    assert {str(read), str(cache / "deeper" / "kernel")} <= set(told)
    assert str(removed) not in told
    names = {Path(path).name for path in told}
    assert any(name.startswith(("_decimal", "libpython")) for name in names)  # mapped
    assert any(name.startswith("_parser") for name in names)  # opened: tomllib's bytecode or source
    assert "pathlib" in str(told)  # imported before
    assert Path(sys.executable).resolve().name in names
    assert all(Path(path).is_file() for path in told)
    assert told == sorted(set(told))


def test_a_mapped_path_may_hold_spaces_and_what_is_no_path_is_left_out(tmp_path: Path) -> None:
    maps = tmp_path / "proc/self/maps"
    maps.parent.mkdir(parents=True)
    maps.write_text(
        "00400000-00452000 r-xp 00000000 08:02 173521      /opt/a library/lib b.so\n"
        "7ffc-7ffd rw-p 00000000 00:00 0                          [stack]\n"
        "7f00-7f01 rw-p 00000000 00:00 0\n"
    )
    assert list(_mapped(Tree(tmp_path))) == ["/opt/a library/lib b.so"]
