"""When a strategy enters next: weekends, holidays, special sessions, the calendar's end."""

from __future__ import annotations

import datetime as dt

import pytest

from marketplace.calendar import TradingCalendar
from marketplace.entries import entry_day, entry_on, last_loaded_day, next_entry
from marketplace.tests.factories import strategy_spec
from marketplace.tests.shipped_calendar import shipped

CALENDAR = shipped()
NINE_TWENTY = strategy_spec()


def ist(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(f"{text}+05:30")


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-08-04 09:19:00", "2026-08-04 09:20"),
        ("2026-08-04 09:20:00", "2026-08-05 09:20"),
        ("2026-08-04 09:20:01", "2026-08-05 09:20"),
        ("2026-08-07 18:00:00", "2026-08-10 09:20"),  # a Friday evening
        ("2026-08-08 10:00:00", "2026-08-10 09:20"),  # a Saturday
        ("2026-11-23 12:00:00", "2026-11-25 09:20"),  # Guru Nanak Jayanti on Tuesday
        ("2026-10-30 12:00:00", "2026-11-02 09:20"),  # over a month's end
        ("2025-12-31 16:00:00", "2026-01-01 09:20"),  # over a loaded New Year
        ("2026-12-30 16:00:00", "2026-12-31 09:20"),
    ],
)
def test_the_next_entry_by_the_calendar(now: str, expected: str) -> None:
    assert next_entry(CALENDAR, NINE_TWENTY, ist(now)) == ist(expected)


@pytest.mark.parametrize(
    ("now", "special_ok", "expected"),
    [
        ("2026-08-04 08:00:00", False, "2026-08-04"),
        ("2026-08-04 15:39:59", False, "2026-08-04"),
        ("2026-08-04 15:40:00", False, "2026-08-05"),
        ("2026-08-07 18:00:00", False, "2026-08-10"),  # a Friday evening
        ("2026-02-01 08:00:00", True, "2026-02-01"),  # a special session on a Sunday
        ("2026-02-01 08:00:00", False, "2026-02-02"),
        ("2026-12-31 16:00:00", True, None),
    ],
)
def test_entries_come_today_until_the_close_then_next_day(
    now: str, special_ok: bool, expected: str | None
) -> None:
    day = entry_day(CALENDAR, ist(now), special_ok=special_ok)
    assert (day and day.isoformat()) == expected


def test_after_the_last_loaded_day_there_is_none() -> None:
    assert next_entry(CALENDAR, NINE_TWENTY, ist("2026-12-31 09:20:00")) is None
    assert next_entry(TradingCalendar(), NINE_TWENTY, ist("2028-02-29 09:00:00")) is None


def test_an_armed_run_keeps_its_version() -> None:
    armed = dt.date(2026, 8, 4)
    entry = next_entry(CALENDAR, NINE_TWENTY, ist("2026-08-04 09:19:00"), armed.__eq__)
    assert entry == ist("2026-08-05 09:20")


def test_weekdays_and_special_sessions_decide() -> None:
    fridays = strategy_spec(weekdays=(4,))
    assert next_entry(CALENDAR, fridays, ist("2026-09-30 12:00")) == ist("2026-10-09 09:20")
    sunday = ist("2026-02-01 08:00")
    assert next_entry(CALENDAR, NINE_TWENTY, sunday) == ist("2026-02-02 09:20")
    opted_in = strategy_spec(special_sessions=True)
    assert next_entry(CALENDAR, opted_in, sunday) == ist("2026-02-01 09:20")
    muhurat = ist("2026-11-08 08:00")  # 18:00 to 19:15: an entry at 09:20 lies outside
    outside = entry_on(CALENDAR, opted_in, dt.date(2026, 11, 8))
    assert outside is not None
    assert not outside.inside_session
    assert next_entry(CALENDAR, opted_in, muhurat) == ist("2026-11-09 09:20")


def test_how_far_the_calendar_reaches_without_a_gap() -> None:
    now = ist("2026-11-15 10:00")
    assert last_loaded_day({2025, 2026}, now) == dt.date(2026, 12, 31)
    assert last_loaded_day({2026, 2027, 2029}, now) == dt.date(2027, 12, 31)
    assert last_loaded_day({2025, 2027}, now) is None
    assert last_loaded_day({2027, 2028}, ist("2027-12-31 23:59")) == dt.date(2028, 12, 31)
    assert last_loaded_day({2027}, ist("2028-01-01 00:00")) is None


def test_an_exit_at_the_close_is_outside_of_the_session() -> None:
    """It counted as inside, and its orders were refused for a minute: the market was closed."""
    day = dt.date(2026, 8, 4)  # 09:15 to 15:40
    for leave, inside in ((dt.time(15, 39, 59), True), (dt.time(15, 40), False)):
        entry = entry_on(CALENDAR, strategy_spec(exit_time=leave), day)
        assert entry is not None
        assert entry.inside_session is inside


def test_a_half_day_misses_what_would_leave_after_its_close() -> None:
    budget = dt.date(2026, 2, 1)  # a Sunday, 09:15 to 15:30
    for leave, inside in ((dt.time(15, 29), True), (dt.time(15, 30), False)):
        strategy = strategy_spec(special_sessions=True, exit_time=leave)
        entry = entry_on(CALENDAR, strategy, budget)
        assert entry is not None
        assert entry.inside_session is inside
