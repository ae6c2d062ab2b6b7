"""Artifacts for every test, and the rule that in CI a skipped test is a failed one."""

import os
import signal
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests import fakes

# the same examples on every machine and run; deadlines would measure the machine
settings.register_profile("edge", derandomize=True, deadline=None, max_examples=60)
settings.load_profile("edge")

# A shell that starts us in the background lets Ctrl-C be ignored, and children inherit that; some tests send it to them
signal.signal(signal.SIGINT, signal.default_int_handler)

Maker = Callable[..., Path]


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Generator[None]:
    """No test reads or fills the user's own cache, nor does a process that one starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def tiny_edge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plain artifact, shared: read it, never change it."""
    return fakes.write_artifact(tmp_path_factory.mktemp("artifacts") / "tiny.edge", fakes.tiny())


@pytest.fixture
def make_artifact(tmp_path: Path) -> Maker:
    """Write an artifact of this test's own: ``make_artifact(fakes.pair(), name="two")``."""

    def make(sample: fakes.Sample | None = None, *, folder: str = "own.edge", **changes: Any) -> Path:
        return fakes.write_artifact(tmp_path / folder, sample or fakes.tiny(), **changes)

    return make


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a skip is a failure: there everything a test needs has to be installed."""
    report = yield
    if os.environ.get("CI") and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which in CI is a failure: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A whole file that is skipped, by `importorskip` say, is no better."""
    report = yield
    if os.environ.get("CI") and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"skipped, which in CI is a failure: {report.longrepr}"
    return report
