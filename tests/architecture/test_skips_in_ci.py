"""The hook of tests/conftest.py, tried on a file of its own in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SKIPPING = {
    "test": "import pytest\n@pytest.mark.skip(reason='no qemu')\ndef test_it() -> None: ...\n",
    "file": "import pytest\npytest.importorskip('there_is_no_such_module', reason='no qemu')\n",
    "expected failure": "import pytest\n@pytest.mark.xfail\ndef test_it() -> None: assert False\n",
}


def run_pytest(folder: Path, source: str, ci: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(source)
    (folder / "pytest.ini").write_text("[pytest]\n")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", "-q", str(folder)],
        env={**os.environ, "CI": ci, "PYTHONPATH": str(ROOT)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("what", ["test", "file"])
def test_a_skip_fails_in_ci_and_says_what_was_missing(tmp_path: Path, what: str) -> None:
    done = run_pytest(tmp_path, SKIPPING[what], ci="true")
    assert done.returncode != 0
    assert "skipped, which in CI is a failure" in done.stdout
    assert "no qemu" in done.stdout


def test_a_skip_is_a_skip_on_a_laptop(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, SKIPPING["test"], ci="")
    assert done.returncode == 0, done.stdout
    assert "1 skipped" in done.stdout


def test_an_expected_failure_is_no_skip(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, SKIPPING["expected failure"], ci="true")
    assert done.returncode == 0, done.stdout
    assert "1 xfailed" in done.stdout
