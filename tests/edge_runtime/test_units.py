import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime import units


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0 ns"),
        (412, "412 ns"),
        (999.4, "999 ns"),
        (999.5, "1.00 us"),
        (2_150, "2.15 us"),
        (9_996, "10.0 us"),
        (99_960, "100 us"),
        (104_000_000, "104 ms"),
        (999_600_000, "1.00 s"),
        (3_200_000_000, "3.20 s"),
        (-2_150, "-2.15 us"),
    ],
)
def test_durations_have_three_digits_in_the_unit_that_fits(ns: float, text: str) -> None:
    assert units.duration(ns) == text


@pytest.mark.parametrize(
    ("microjoules", "text"),
    [
        (0, "0.00 uJ"),
        (850, "850 uJ"),
        (999.6, "1.00 mJ"),
        (12_500, "12.5 mJ"),
        (1_200_000, "1.20 J"),
        (-90, "-90.0 uJ"),
    ],
)
def test_energies_are_in_decimal_units(microjoules: float, text: str) -> None:
    assert units.energy(microjoules) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (512, "512 B"),
        (1_500, "1.46 KiB"),
        (21_076_377, "20.1 MiB"),
        (2**20 - 1, "1.00 MiB"),
        (3 * 2**30, "3.00 GiB"),
    ],
)
def test_sizes_are_binary_and_named_so(count: int, text: str) -> None:
    assert units.size(count) == text


@pytest.mark.parametrize(("rate", "text"), [(467_000.4, "467000/s"), (31.24, "31.2/s"), (0.5, "0.50/s")])
def test_rates_have_three_digits(rate: float, text: str) -> None:
    assert units.rate(rate) == text


@given(st.floats(1, 1e15))
def test_a_duration_is_within_half_a_digit_of_what_it_shows(ns: float) -> None:
    number, unit = units.duration(ns).split()
    shown = float(number) * {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}[unit]
    assert shown == pytest.approx(ns, rel=0.006, abs=0.5)


def test_a_terminal_never_sees_a_control_character() -> None:
    assert units.visible("two\nlines\tand \x1b[2J\x9b31m\u202e \ud800 é – …") == (
        "two\nlines\tand \\x1b[2J\\x9b31m\\u202e \\ud800 é – …"
    )


@given(st.text())
def test_visible_text_can_be_written_anywhere(text: str) -> None:
    shown = units.visible(text)
    assert not any(unicodedata.category(letter) in {"Cc", "Cf", "Cs"} for letter in shown if letter not in "\n\t")
    assert shown.encode().decode() == shown
