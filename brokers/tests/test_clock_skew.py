"""How far a feed's clock is from ours, told from prices that were new."""

from __future__ import annotations

import datetime as dt

import pytest

from brokers.clock_skew import Skew, is_off, median, words

NOW = dt.datetime(2026, 8, 25, 3, 50, 1, tzinfo=dt.UTC)


def heard(measured: Skew, behind: float, count: int, start: int = 0) -> None:
    for second in range(start, start + count):
        now = NOW + dt.timedelta(seconds=second)
        measured.heard(now - dt.timedelta(seconds=behind), now)


def test_a_late_clock_differs_from_prices_that_do_not_move() -> None:
    late, frozen = Skew(), Skew()
    heard(late, 180, 5)
    for second in range(5):
        frozen.heard(NOW, NOW + dt.timedelta(seconds=180 + second))
    assert (median(late.samples), is_off(late.samples)) == (180, True)
    assert (median(frozen.samples), is_off(frozen.samples)) == (None, False)


def test_a_clock_that_is_set_shows_with_the_next_answers() -> None:
    measured = Skew()
    heard(measured, 0.4, 20)
    assert not is_off(measured.samples)
    heard(measured, 86_400.4, 3, start=20)  # back by a day
    assert is_off(measured.samples)
    heard(measured, 0.4, 3, start=23)
    assert not is_off(measured.samples)


@pytest.mark.parametrize(
    ("skew", "said"),
    [
        (0.4, ""),
        (-1.9, ""),
        (2.5, "its clock is 2 s behind ours"),
        (-45, "its clock is 45 s ahead of ours"),
        (180.4, "its clock is 3 min behind ours"),
        (19_800, "its clock is 6 h behind ours"),
        (86_399, "its clock is 1 day behind ours"),
        (-86_401, "its clock is 1 day ahead of ours"),
        (172_800, "its clock is 2 days behind ours"),
    ],
)
def test_in_words(skew: float, said: str) -> None:
    assert words([skew] * 3) == said


def test_two_answers_say_nothing_yet() -> None:
    assert words([180.0, 180.0]) == ""
