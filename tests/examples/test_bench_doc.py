"""The commands of docs/bench.md: each is one that the verbs take."""

import argparse
import re
import shlex
from pathlib import Path

import pytest

from bench import cli
from edge_runtime.commands.further_flags import further_of
from edge_runtime.commands.scenario_flags import scenario_of

DOC = Path(__file__).parents[2] / "docs" / "bench.md"
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", DOC.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
COMMANDS = [shlex.split(line, comments=True) for block in BLOCKS for line in block.splitlines()]
BENCH = [words[2:] for words in COMMANDS if words[:2] == ["edge", "bench"]]


def test_the_page_shows_every_scenario_and_mode() -> None:
    assert len(BENCH) > 15
    scenarios = {scenario_of(parsed(words)).name for words in BENCH}
    assert scenarios == {"single", "periodic", "offline", "server", "multi"}
    shown = {word for words in BENCH for word in words if word.startswith("--")}
    assert {"--threads", "--fit", "--sustained", "--calibrate", "--resume", "--rounds", "--budget"} <= shown


@pytest.mark.parametrize("words", BENCH, ids=" ".join)
def test_a_command_of_the_page_is_taken(words: list[str]) -> None:
    options = parsed(words)
    assert options.artifacts
    further = further_of(options)
    assert further["fit"] == ("--fit" in words)
    assert (further["sustained_s"] is not None) == ("--sustained" in words)


def parsed(words: list[str]) -> argparse.Namespace:
    return cli._bench_parser().parse_args(words)
