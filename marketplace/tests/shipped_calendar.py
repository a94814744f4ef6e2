"""The calendar that is shipped, without a database."""

from __future__ import annotations

import datetime as dt
import json

from marketplace.calendar import Hours, TradingCalendar
from marketplace.services.calendar import CALENDAR_FILE

day = dt.date.fromisoformat
wall = dt.time.fromisoformat


def shipped() -> TradingCalendar:
    """The calendar of the shipped file, built without a database."""
    data = json.loads(CALENDAR_FILE.read_text())
    return TradingCalendar(
        years=frozenset(row["year"] for row in data["years"]),
        holidays={day(row["date"]): row["description"] for row in data["holidays"]},
        special_sessions={
            day(row["date"]): Hours(
                wall(row["opens_at"]), wall(row["closes_at"]), row["description"]
            )
            for row in data["special_sessions"]
        },
        hours=tuple(
            (day(row["effective_from"]), Hours(wall(row["opens_at"]), wall(row["closes_at"])))
            for row in data["session_hours"]
        ),
    )


CALENDAR = shipped()
