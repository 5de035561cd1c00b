"""Rates: what is left after requests at moments."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.errors import Throttling
from strongroom.rates import Rates

NOW = 1_790_000_000.0


def taken(rates: Rates, name: str, rate: int, now: float, asked: int) -> int:
    """How many of so many requests at once are taken."""
    count = 0
    for _ in range(asked):
        try:
            rates.take(name, rate, now)
        except Throttling:
            continue
        count += 1
    return count


@pytest.mark.parametrize("rate", [1, 3, 1800])
def test_at_once_there_is_what_the_rate_gives_in_a_second(rate: int) -> None:
    rates = Rates()
    assert taken(rates, "a", rate, NOW, 2 * rate) == rate
    assert taken(rates, "a", rate, NOW, 1) == 0


def test_names_do_not_take_from_each_other() -> None:
    rates = Rates()
    assert [taken(rates, name, 2, NOW, 5) for name in ("", "a", "b", "a")] == [2, 2, 2, 0]


@pytest.mark.parametrize(("seconds", "more"), [(0.125, 0), (0.25, 1), (0.5, 2), (1.0, 4), (1_000.0, 4)])
def test_it_refills_with_time_and_not_further_than_it_was(seconds: float, more: int) -> None:
    rates = Rates()
    assert taken(rates, "a", 4, NOW, 4) == 4
    assert taken(rates, "a", 4, NOW + seconds, 8) == more


def test_what_is_refused_takes_nothing_and_loses_no_time() -> None:
    rates = Rates()
    assert taken(rates, "a", 4, NOW, 4) == 4
    assert [taken(rates, "a", 4, NOW + step / 16, 1) for step in range(1, 5)] == [0, 0, 0, 1]


def test_another_rate_counts_at_once() -> None:
    rates = Rates()
    assert taken(rates, "a", 100, NOW, 1) == 1
    assert taken(rates, "a", 2, NOW, 5) == 2
    assert taken(rates, "a", 100, NOW + 0.5, 100) == 50


def test_a_clock_that_is_set_back_neither_gives_nor_blocks() -> None:
    rates = Rates()
    assert taken(rates, "a", 4, NOW, 4) == 4
    assert taken(rates, "a", 4, NOW - 3_600, 4) == 0
    assert taken(rates, "a", 4, NOW - 3_600 + 0.5, 4) == 2


@given(st.integers(1, 50), st.lists(st.floats(0, 0.5), max_size=60))
def test_never_more_than_the_rate_and_what_was_there_at_first(rate: int, pauses: list[float]) -> None:
    rates = Rates()
    now, count = NOW, 0
    for pause in pauses:
        now += pause
        count += taken(rates, "a", rate, now, rate)
    assert count <= rate + (now - NOW) * rate + 0.01
