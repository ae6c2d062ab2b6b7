import argparse

import pytest

from edge_runtime.console import Console, table, verb_parser
from edge_runtime.errors import UsageError


def console(*words: str) -> Console:
    return Console.of(verb_parser("try", "A verb.", ()).parse_args(list(words)))


def test_a_table_lines_up_and_ends_without_blanks() -> None:
    rows = [("name", "size", "note"), ("a", "1.00 KiB", ""), ("longer", "512 B")]
    assert table(rows, "<>") == "name        size  note\na       1.00 KiB\nlonger     512 B"
    assert table([]) == ""


def test_with_json_stdout_holds_the_document_alone(capsys: pytest.CaptureFixture[str]) -> None:
    speaking = console("--json")
    speaking.say("for people")
    speaking.note("a note")
    speaking.answer({"k": [1]})
    captured = capsys.readouterr()
    assert captured.out == '{\n  "k": [1]\n}\n'
    assert captured.err == "for people\na note\n"


def test_without_json_results_are_on_stdout_notes_on_stderr_and_quiet_silences_notes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    speaking, quiet = console(), console("-q")
    for one in (speaking, quiet):
        one.say("result")
        one.note("note")
        one.progress("no terminal, no progress")
        one.answer({"k": 1})
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("result\nresult\n", "note\n")


@pytest.mark.parametrize(
    ("words", "environment", "color"),
    [((), "", True), (("--no-color",), "", False), ((), "1", False)],
)
def test_colour_is_left_out_when_asked(
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], environment: str, color: bool
) -> None:
    monkeypatch.setenv("NO_COLOR", environment)
    assert console(*words).color is color


def test_a_wrong_flag_is_a_usage_error_and_no_exit() -> None:
    parser = verb_parser("try", "A verb.", ("edge try x",))
    for words in (["--nope"], ["--js"]):  # no abbreviations: scripts would break when a flag is added
        with pytest.raises(UsageError) as refused:
            parser.parse_args(words)
        assert (refused.value.where, refused.value.hint) == ("edge try", "see: edge try --help")
    assert isinstance(parser, argparse.ArgumentParser)
