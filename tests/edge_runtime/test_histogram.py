"""Histograms small enough to count by hand."""

import pytest

from edge_runtime.histogram import ROWS, WIDTH, histogram


def shares(text: str) -> list[float]:
    return [float(line.split("%")[0].split()[-1]) for line in text.splitlines()]


def test_every_sample_is_in_one_class_and_the_fullest_has_the_longest_bar() -> None:
    text = histogram([1000] * 50 + [1500] * 30 + [1999] * 20)
    lines = text.splitlines()
    assert shares(text) == [50.0] + [0.0] * 4 + [30.0] + [0.0] * 3 + [20.0]
    assert len(lines) == ROWS
    assert lines[0].endswith(" " + "█" * WIDTH)
    assert lines[5].endswith(" " + "█" * (WIDTH * 3 // 5))
    assert lines[1].endswith("0.0%")  # an empty class has no bar


def test_the_slow_tail_shares_one_row() -> None:
    text = histogram([*range(1000, 1990, 10), 1_000_000])
    lines = text.splitlines()
    assert len(lines) == ROWS + 1
    assert lines[-1].split() == ["up", "to", "1.00", "ms", "1.0%", "█" * 4]
    assert lines[-2].endswith(" " + "█" * 36)  # nine samples of at most ten: the classes end at the 99th percentile


def test_what_happened_once_is_seen() -> None:
    assert histogram([1000] * 100_000 + [2000]).splitlines()[-1].endswith("▏")


@pytest.mark.parametrize("samples", [[7], [7, 7, 7], [0], [5, 6]])
def test_few_distinct_values_have_few_rows(samples: list[int]) -> None:
    text = histogram(samples)
    assert len(text.splitlines()) <= len(set(samples))
    assert sum(shares(text)) == pytest.approx(100)


def test_the_rows_line_up() -> None:
    lines = histogram(list(range(900, 12_000, 7))).splitlines()
    assert len({line.index("%") for line in lines}) == 1


def test_no_two_rows_have_one_label() -> None:
    lines = histogram(list(range(1_000_000, 1_020_000, 13))).splitlines()
    labels = [line.split("%")[0].rsplit(None, 1)[0] for line in lines]
    assert len(set(labels)) == len(labels) > 1
    assert all(label.split(" to ")[0].strip() != label.split(" to ")[1].strip() for label in labels)


def test_an_output_without_blocks_has_hashes() -> None:
    text = histogram([1000] * 50 + [1500] * 30 + [1999] * 20, blocks=False)
    assert text.isascii()
    assert text.splitlines()[0].endswith(" " + "#" * WIDTH)
    assert text.splitlines()[5].endswith(" " + "#" * (WIDTH * 3 // 5))
    assert histogram([1000] * 100_000 + [2000], blocks=False).endswith("#")
