"""The trading calendar of the F&O segment. Pure; built from dated rows by selectors.

Sessions take place from Monday to Friday except on holidays, with the session hours in force on
that day. Special sessions (Budget day, Muhurat) are only for strategies that opt in. A year whose
holidays were not loaded is closed, every day of it: an unknown holiday list must never mean "open".
See I7 (no entry outside its window).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from quantleap.core.clock import at_ist

SATURDAY: Final = 5
_LONGEST_CLOSURE: Final = 30


class CalendarError(ValueError):
    """The question concerns years that were not loaded."""


@dataclass(frozen=True, slots=True)
class Hours:
    """Wall-clock hours (IST) of a session."""

    opens: dt.time
    closes: dt.time
    description: str = ""


@dataclass(frozen=True, slots=True)
class Session:
    """One session. Times in UTC; ``closes`` is exclusive."""

    opens: dt.datetime
    closes: dt.datetime
    special: bool = False

    def contains(self, instant: dt.datetime) -> bool:
        """Whether orders may be sent at ``instant``."""
        return self.opens <= instant < self.closes


@dataclass(frozen=True, slots=True)
class TradingCalendar:
    """Loaded years, holidays, special sessions, and ordinary hours by first day (ascending)."""

    years: frozenset[int] = frozenset()
    holidays: Mapping[dt.date, str] = field(default_factory=dict)
    special_sessions: Mapping[dt.date, Hours] = field(default_factory=dict)
    hours: Sequence[tuple[dt.date, Hours]] = ()

    def ordinary_hours(self, day: dt.date) -> Hours | None:
        """Hours (IST) in force on ``day``, holiday or not; None before the first known ones."""
        known = [hours for start, hours in self.hours if start <= day]
        return known[-1] if known else None

    def is_trading_day(self, day: dt.date) -> bool:
        """Whether ``day`` has an ordinary session."""
        return self.session(day) is not None

    def session(self, day: dt.date, special_ok: bool = False) -> Session | None:
        """The session of ``day``, or None if it is closed.

        A special session is returned only with ``special_ok``, and only on a day that is otherwise
        closed: on an ordinary day the ordinary hours apply.
        """
        if day.year not in self.years:
            return None
        special = self.special_sessions.get(day)
        if day.weekday() < SATURDAY and day not in self.holidays:
            hours = self.ordinary_hours(day)
            return None if hours is None else _session(day, hours, special=False)
        if special is not None and special_ok:
            return _session(day, special, special=True)
        return None

    def closed_because(self, day: dt.date, special_ok: bool = False) -> str:
        """Why there is no session on ``day``, as text; '' if there is one."""
        if self.session(day, special_ok) is not None:
            return ""
        if day.year not in self.years:
            return f"the holiday list of {day.year} is not loaded"
        if day in self.special_sessions and not special_ok:
            what = self.special_sessions[day].description or "a special session"
            return f"only {what}; the strategy has not opted in to special sessions"
        if day in self.holidays:
            return self.holidays[day] or "holiday"
        if day.weekday() >= SATURDAY:
            return "weekend"
        return f"no session hours are known for {day:%Y-%m-%d}"

    def on_or_before(self, day: dt.date) -> dt.date:
        """``day`` if it is a trading day, otherwise the last one before it (the rule for
        expiries)."""
        return self._walk(day, -1)

    def on_or_after(self, day: dt.date) -> dt.date:
        """``day`` if it is a trading day, otherwise the next one."""
        return self._walk(day, 1)

    def _walk(self, day: dt.date, step: int) -> dt.date:
        for distance in range(_LONGEST_CLOSURE):
            candidate = day + dt.timedelta(days=step * distance)
            if candidate.year not in self.years:
                break
            if self.is_trading_day(candidate):
                return candidate
        raise CalendarError(f"no trading day near {day:%Y-%m-%d} in the loaded years")


def _session(day: dt.date, hours: Hours, *, special: bool) -> Session:
    return Session(at_ist(day, hours.opens), at_ist(day, hours.closes), special)
