"""What others chose does not write on a terminal what it likes."""

from strongroom.cli.texts import LONGEST, ranges, shown


def test_control_characters_are_escaped_and_long_texts_cut() -> None:
    assert shown("role=\x1b[2Jé\nLEFT \u202e") == "role=\\x1b[2Jé\\nLEFT \\u202e"
    assert shown("x" * (LONGEST + 1)) == "x" * LONGEST + "…"


def test_numbers_are_told_as_ranges() -> None:
    assert ranges([3, 5, 6, 7, 9]) == "3, 5-7, 9"
    assert len(ranges(range(0, 10_000, 2))) == LONGEST + 1
