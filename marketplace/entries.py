"""The days on which a strategy enters, and its next entry. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from marketplace.calendar import CalendarError, TradingCalendar
from marketplace.definition import StrategySpec
from quantleap.core.clock import at_ist, ist_date

#: The longest wait of a strategy with one weekday inside loaded years: some weeks of holidays.
_FARTHEST: Final = 60


@dataclass(frozen=True, slots=True)
class DayEntry:
    """An entry and its exit (UTC); ``inside_session`` False: its times are outside the hours, so it
    would be missed."""

    entry_at: dt.datetime
    exit_at: dt.datetime
    inside_session: bool


def entry_on(calendar: TradingCalendar, strategy: StrategySpec, day: dt.date) -> DayEntry | None:
    """The strategy's entry on ``day`` (IST); None if its weekday or the calendar forbids one."""
    session = calendar.session(day, strategy.special_sessions)
    if session is None or (strategy.weekdays and day.weekday() not in strategy.weekdays):
        return None
    entry_at, exit_at = (at_ist(day, at) for at in (strategy.entry_time, strategy.exit_time))
    inside = session.opens <= entry_at and exit_at < session.closes  # closes is exclusive
    return DayEntry(entry_at, exit_at, inside)


def entry_day(
    calendar: TradingCalendar, now: dt.datetime, *, special_ok: bool = False
) -> dt.date | None:
    """The day (IST) whose entries come next: today until its session closes, then the next trading
    day. None beyond the loaded years.

    With ``special_ok`` a special session of today counts as well.
    """
    today = ist_date(now)
    session = calendar.session(today, special_ok)
    if session is not None and now < session.closes:
        return today
    try:
        return calendar.on_or_after(today + dt.timedelta(days=1))
    except CalendarError:
        return None


def next_entry(
    calendar: TradingCalendar,
    strategy: StrategySpec,
    now: dt.datetime,
    taken: Callable[[dt.date], bool] = lambda day: False,
) -> dt.datetime | None:
    """The strategy's next entry after ``now`` (UTC); None if there is none in the loaded years.

    ``taken`` says whether a day's run is already armed, with the version that was in force then.
    """
    first = ist_date(now)
    for distance in range(_FARTHEST):
        day = first + dt.timedelta(days=distance)
        entry = entry_on(calendar, strategy, day)
        if entry and entry.inside_session and entry.entry_at > now and not taken(day):
            return entry.entry_at
    return None


def last_loaded_day(years: Iterable[int], now: dt.datetime) -> dt.date | None:
    """31 December of the last year that is loaded without a gap from this one on."""
    known, year = set(years), ist_date(now).year
    if year not in known:
        return None
    while year + 1 in known:
        year += 1
    return dt.date(year, 12, 31)
