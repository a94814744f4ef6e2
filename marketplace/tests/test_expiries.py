"""Expiries: vectors of the exchange's holiday shifts, and what WEEKLY and MONTHLY mean."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.expiries import (
    ExpiryError,
    has_weekly,
    is_monthly,
    scheduled_monthly,
    scheduled_weekly,
    select_expiry,
)
from marketplace.tests.shipped_calendar import CALENDAR, day

TUESDAY = 1
MONTHS = [(2026, month) for month in range(1, 13)]
WEEKLY = sorted(set(scheduled_weekly(CALENDAR, TUESDAY, day("2026-01-01"), 52)))
MONTHLY = [scheduled_monthly(CALENDAR, TUESDAY, year, month) for year, month in MONTHS]


@pytest.mark.parametrize(
    ("tuesday", "expiry"),
    [
        ("2026-03-03", "2026-03-02"),
        ("2026-03-31", "2026-03-30"),
        ("2026-04-14", "2026-04-13"),
        ("2026-10-20", "2026-10-19"),
        ("2026-11-10", "2026-11-09"),
        ("2026-11-24", "2026-11-23"),
        ("2026-01-06", "2026-01-06"),
        ("2026-01-13", "2026-01-13"),
        ("2026-08-04", "2026-08-04"),
        ("2026-08-11", "2026-08-11"),
    ],
)
def test_weekly_vectors(tuesday: str, expiry: str) -> None:
    assert scheduled_weekly(CALENDAR, TUESDAY, day(tuesday), 1) == (day(expiry),)
    on_the_day_before = day(expiry) - dt.timedelta(days=1)
    assert select_expiry(WEEKLY, "WEEKLY", on_the_day_before) == day(expiry)


@pytest.mark.parametrize(
    ("month", "expiry"),
    [(1, "2026-01-27"), (3, "2026-03-30"), (5, "2026-05-26"), (11, "2026-11-23")],
)
def test_monthly_vectors(month: int, expiry: str) -> None:
    assert MONTHLY[month - 1] == day(expiry)
    assert is_monthly(day(expiry), WEEKLY)
    assert select_expiry(WEEKLY, "MONTHLY", day(expiry)) == day(expiry)
    assert select_expiry(MONTHLY, "MONTHLY", day(expiry)) == day(expiry)


def test_the_day_after_an_expiry_means_the_next_one() -> None:
    assert select_expiry(WEEKLY, "WEEKLY", day("2026-11-24")) == day("2026-12-01")
    assert select_expiry(WEEKLY, "MONTHLY", day("2026-11-24")) == day("2026-12-29")


def test_weekly_needs_weeklies() -> None:
    assert has_weekly(WEEKLY)
    assert not has_weekly(MONTHLY)
    with pytest.raises(ExpiryError, match="no weekly"):
        select_expiry(MONTHLY, "WEEKLY", day("2026-08-04"))


@given(st.dates(dt.date(2026, 1, 1), dt.date(2026, 12, 29)))
def test_properties_of_the_chosen_expiry(date: dt.date) -> None:
    weekly = select_expiry(WEEKLY, "WEEKLY", date)
    monthly = select_expiry(WEEKLY, "MONTHLY", date)
    assert date <= weekly <= monthly
    assert not any(date <= other < weekly for other in WEEKLY)
    assert monthly in MONTHLY
    assert (weekly == monthly) == is_monthly(weekly, WEEKLY)
    assert CALENDAR.is_trading_day(weekly)
    assert CALENDAR.is_trading_day(monthly)


@given(
    st.lists(st.dates(dt.date(2026, 1, 1), dt.date(2027, 12, 31))), st.dates(dt.date(2026, 1, 1))
)
def test_any_list_answers_or_refuses(days: list[dt.date], date: dt.date) -> None:
    for kind in ("WEEKLY", "MONTHLY", "NEXT_YEARLY"):
        try:
            chosen = select_expiry(days, kind, date)
        except ExpiryError:
            continue
        assert chosen in days
        assert chosen >= date
