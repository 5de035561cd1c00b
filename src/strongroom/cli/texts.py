"""Texts that others chose, and long lists, as a terminal may be shown them."""

from collections.abc import Sequence

LONGEST = 500
"""Characters of a text that are shown."""


def shown(text: str) -> str:
    """A text in one line of printable characters, others escaped, and cut if it is long."""
    cut = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in cut)


def ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers as `3, 5-8`, cut if they are many."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return shown(", ".join("-".join(map(str, run)) for run in runs))
