"""Whether this host is busy with something else, told by real processes."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from bench import host_sensors


@contextmanager
def running(code: str) -> Iterator[psutil.Process]:
    """Run Python code beside the test; it prints a line once it is at work."""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"at work\n"
            yield psutil.Process(process.pid)
        finally:
            process.kill()


SPIN = "print('at work', flush=True)\nwhile True: pass"
SLEEP = "import time; print('at work', flush=True); time.sleep(60)"


def test_the_busiest_process_is_named() -> None:
    with running(SPIN) as spinner, running(SLEEP) as sleeper:
        told = host_sensors.busy_warning([sleeper, spinner])
    assert told is not None
    assert f"{spinner.pid}) with " in told


def test_sleeping_processes_are_no_reason_to_warn() -> None:
    with running(SLEEP) as sleeper:
        assert host_sensors.busy_warning([sleeper]) is None


def test_a_process_that_ends_while_it_is_watched_is_no_error() -> None:
    with running(SLEEP) as sleeper:
        pass
    assert host_sensors.busy_warning([sleeper], look_s=0.01) is None


def test_nothing_to_watch_is_an_idle_host() -> None:
    assert host_sensors.busy_warning([], look_s=0.01) is None


def test_this_process_and_its_ancestors_are_not_watched() -> None:
    watched = {process.pid for process in host_sensors._others()}
    assert watched.isdisjoint({psutil.Process().pid, *(parent.pid for parent in psutil.Process().parents())})
