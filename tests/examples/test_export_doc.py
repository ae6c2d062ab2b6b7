"""docs/export.md tells the truth: its files and commands, from top to bottom, print what it shows."""

from pathlib import Path

import pytest

from tests.examples import console_doc
from tests.examples.console_doc import Command, File

DOC = Path(__file__).parents[2] / "docs" / "export.md"

PAGE = """
```text words.txt
one
```

```console
$ cat words.txt
one

$ echo took 1.4 s; echo and then; echo the rest
took 99 ms
…
the rest
```
"""


def test_the_page_prints_what_it_shows(tmp_path: Path) -> None:
    page = DOC.read_text(encoding="utf-8")
    commands = [step for step in console_doc.steps(page) if isinstance(step, Command)]
    assert len(commands) >= 6
    assert all(command.told for command in commands)
    assert console_doc.walk(page, tmp_path) == []


def test_a_page_is_read_in_its_order_and_figures_may_move(tmp_path: Path) -> None:
    first, second, third = console_doc.steps(PAGE)
    assert first == File("words.txt", "one\n")
    assert (second, third) == (
        Command("cat words.txt", ("one",)),
        Command("echo took 1.4 s; echo and then; echo the rest", ("took 99 ms", "…", "the rest")),
    )
    assert console_doc.walk(PAGE, tmp_path) == []


@pytest.mark.parametrize(
    ("shown", "instead"),
    [
        ("one\n\n$", "two\n\n$"),
        ("the rest\n```", "the best\n```"),
        ("took 99 ms\n…", "…\ntook"),
        ("99 ms\n…\n", "99 ms\n"),
        ("…\nthe rest\n", "and then\n"),
    ],
)
def test_a_line_that_is_not_printed_in_its_place_is_told(tmp_path: Path, shown: str, instead: str) -> None:
    wrong = console_doc.walk(PAGE.replace(shown, instead), tmp_path)
    assert len(wrong) == 1
    assert "does not print" in wrong[0]
