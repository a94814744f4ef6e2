"""Trading calendar: the shipped file against known days, and what must never open."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.calendar import CalendarError, TradingCalendar
from marketplace.services.calendar import CALENDAR_FILE
from marketplace.tests.shipped_calendar import CALENDAR, day, wall
from quantleap.core.clock import IST, UTC


def test_an_ordinary_day_before_and_after_the_longer_session() -> None:
    before = CALENDAR.session(day("2026-07-31"))
    after = CALENDAR.session(day("2026-08-03"))
    assert before is not None
    assert after is not None
    assert before.opens == dt.datetime(2026, 7, 31, 3, 45, tzinfo=UTC)
    assert before.closes.astimezone(IST).time() == wall("15:30")
    assert after.closes.astimezone(IST).time() == wall("15:40")


def test_a_session_contains_its_open_not_its_close() -> None:
    session = CALENDAR.session(day("2026-08-04"))
    assert session is not None
    assert session.contains(session.opens)
    assert not session.contains(session.closes)
    assert not session.contains(session.opens - dt.timedelta(microseconds=1))


@pytest.mark.parametrize("date", ["2025-02-26", "2026-01-15", "2026-11-24", "2026-08-08"])
def test_closed_days(date: str) -> None:
    assert CALENDAR.session(day(date), special_ok=True) is None
    assert CALENDAR.closed_because(day(date), special_ok=True)


@pytest.mark.parametrize(
    ("date", "opens", "closes"),
    [
        ("2025-02-01", "09:15", "15:30"),
        ("2025-10-21", "13:45", "14:45"),
        ("2026-02-01", "09:15", "15:30"),
        ("2026-11-08", "18:00", "19:15"),
    ],
)
def test_special_sessions_only_for_who_opts_in(date: str, opens: str, closes: str) -> None:
    assert CALENDAR.session(day(date)) is None
    assert "not opted in" in CALENDAR.closed_because(day(date))
    session = CALENDAR.session(day(date), special_ok=True)
    assert session is not None
    assert session.special
    assert session.opens.astimezone(IST).time() == wall(opens)
    assert session.closes.astimezone(IST).time() == wall(closes)


@given(st.dates(dt.date(1990, 1, 1), dt.date(2060, 12, 31)), st.booleans())
def test_a_year_that_is_not_loaded_is_closed(date: dt.date, special_ok: bool) -> None:
    session = CALENDAR.session(date, special_ok)
    if date.year not in (2025, 2026):
        assert session is None
        assert "not loaded" in CALENDAR.closed_because(date, special_ok)
    else:
        assert (session is None) == bool(CALENDAR.closed_because(date, special_ok))


@given(st.dates(dt.date(2025, 2, 1), dt.date(2026, 12, 24)))
def test_walking_to_a_trading_day(date: dt.date) -> None:
    before, after = CALENDAR.on_or_before(date), CALENDAR.on_or_after(date)
    assert before <= date <= after
    assert CALENDAR.is_trading_day(before)
    assert CALENDAR.is_trading_day(after)
    closed = [before + dt.timedelta(days=n) for n in range(1, (after - before).days)]
    assert not any(CALENDAR.is_trading_day(between) for between in closed)


def test_no_answer_from_beyond_the_loaded_years() -> None:
    with pytest.raises(CalendarError):
        CALENDAR.on_or_after(day("2027-01-01"))
    with pytest.raises(CalendarError):
        TradingCalendar().on_or_before(day("2026-08-04"))


def test_the_file_is_consistent() -> None:
    assert Counter(date.year for date in CALENDAR.holidays) == {2025: 14, 2026: 16}
    assert all(date.weekday() < 5 for date in CALENDAR.holidays)
    trading = [date for date in CALENDAR.special_sessions if CALENDAR.is_trading_day(date)]
    assert trading == []
    rows = json.loads(CALENDAR_FILE.read_text())
    for table in ("years", "holidays", "special_sessions", "session_hours"):
        assert all(row["source"].strip() for row in rows[table])
