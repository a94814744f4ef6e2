"""Dated facts of the exchange: closed days, session hours, freeze quantities.

Read from data files that carry their sources (marketplace/data). A year that the files do not cover
has its Mondays to Fridays open: the simulator must not be kinder to a mistaken platform than an
exchange that trades.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

DATA: Final = Path(__file__).parents[2] / "marketplace" / "data"
CALENDAR_FILES: Final = "calendar_*.json"
FREEZE_FILE: Final = "freeze_quantities.json"
SATURDAY: Final = 5


@dataclass(frozen=True, slots=True)
class Hours:
    """Wall-clock hours (IST) of a session; ``closes`` is exclusive."""

    opens: dt.time = dt.time(9, 15)
    closes: dt.time = dt.time(15, 40)


@dataclass(frozen=True, slots=True)
class Facts:
    """Holidays, special sessions, and rows of hours and freeze limits by their first day."""

    closed_days: frozenset[dt.date] = frozenset()
    special: Mapping[dt.date, Hours] = field(default_factory=dict)
    hours: tuple[tuple[dt.date, Hours], ...] = ()
    freeze: tuple[tuple[dt.date, str, int], ...] = ()

    def is_trading_day(self, day: dt.date) -> bool:
        """Whether ``day`` has an ordinary session."""
        return day.weekday() < SATURDAY and day not in self.closed_days

    def last_trading_day(self, before: dt.date) -> dt.date:
        """The last ordinary trading day before ``before``."""
        day = before - dt.timedelta(days=1)
        while not self.is_trading_day(day):
            day -= dt.timedelta(days=1)
        return day

    def ordinary_hours(self, day: dt.date) -> Hours:
        """Hours of an ordinary session in force on ``day``."""
        known = [hours for first, hours in self.hours if first <= day]
        return known[-1] if known else Hours()

    def session(self, day: dt.date) -> Hours | None:
        """Hours of the session of ``day``, ordinary or special, or None if closed."""
        return self.ordinary_hours(day) if self.is_trading_day(day) else self.special.get(day)

    def freeze_on(self, day: dt.date) -> dict[str, int]:
        """Freeze quantity in units by underlying on ``day``."""
        return {name: quantity for first, name, quantity in self.freeze if first <= day}


def load(more_closed_days: frozenset[dt.date] = frozenset(), data: Path = DATA) -> Facts:
    """The facts of the data files. Raises ValueError or KeyError on a broken file."""
    closed = set(more_closed_days)
    special: dict[dt.date, Hours] = {}
    hours: list[tuple[dt.date, Hours]] = []
    freeze: list[tuple[dt.date, str, int]] = []
    for path in sorted(data.glob(CALENDAR_FILES)):
        content = json.loads(path.read_text(encoding="utf-8"))
        closed |= {_day(row["date"]) for row in content["holidays"]}
        special |= {_day(row["date"]): _hours(row) for row in content["special_sessions"]}
        hours += [(_day(row["effective_from"]), _hours(row)) for row in content["session_hours"]]
    if (data / FREEZE_FILE).exists():
        content = json.loads((data / FREEZE_FILE).read_text(encoding="utf-8"))
        freeze += [
            (_day(row["effective_from"]), row["underlying"], int(row["quantity"]))
            for row in content["freeze_quantities"]
        ]
    return Facts(
        closed_days=frozenset(closed),
        special=special,
        hours=tuple(sorted(hours, key=lambda row: row[0])),
        freeze=tuple(sorted(freeze, key=lambda row: row[0])),
    )


def _day(text: str) -> dt.date:
    return dt.date.fromisoformat(text)


def _hours(row: Mapping[str, str]) -> Hours:
    opens, closes = (dt.time.fromisoformat(row[key]) for key in ("opens_at", "closes_at"))
    return Hours(opens, closes)
