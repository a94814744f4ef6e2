"""Days and moments as text."""

from __future__ import annotations

import datetime as dt

from quantleap.core.dates import day_text, moment_text

DAY = dt.date(2026, 8, 4)
# 20:45 UTC on 3 August is past midnight in India
NIGHT = dt.datetime(2026, 8, 3, 20, 45, 7, tzinfo=dt.UTC)


def test_a_day_has_no_leading_zero() -> None:
    assert day_text(DAY) == "4 Aug 2026"
    assert day_text(DAY, weekday=True) == "Tue 4 Aug 2026"
    assert day_text(DAY, year=False) == "4 Aug"
    assert day_text(DAY, weekday=True, year=False) == "Tue 4 Aug"


def test_every_name_is_that_of_the_c_locale() -> None:
    days = [dt.date(2026, 1, 1) + dt.timedelta(days=number) for number in range(365)]
    assert all(day_text(day, weekday=True) == f"{day:%a} {day.day} {day:%b %Y}" for day in days)


def test_a_moment_is_told_in_ist() -> None:
    assert moment_text(NIGHT) == "4 Aug 2026, 02:15 IST"
    assert moment_text(NIGHT, seconds=True) == "4 Aug 2026, 02:15:07 IST"
    assert moment_text(NIGHT, year=False) == "4 Aug, 02:15 IST"
