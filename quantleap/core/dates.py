"""Days and moments as text, in the console's format and in IST. Pure.

Templates write the same with ``date:"j M Y"``. The names are English whatever the locale of the
process: an invoice is the same document wherever it is made.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

from quantleap.core import clock

_MONTHS: Final = (
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
)  # fmt: skip
_WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def day_text(day: dt.date, *, weekday: bool = False, year: bool = True) -> str:
    """``4 Aug 2026``; with the weekday ``Tue 4 Aug 2026``; without the year ``4 Aug``."""
    text = f"{day.day} {_MONTHS[day.month - 1]}"
    if weekday:
        text = f"{_WEEKDAYS[day.weekday()]} {text}"
    return f"{text} {day.year}" if year else text


def moment_text(instant: dt.datetime, *, seconds: bool = False, year: bool = True) -> str:
    """An instant in IST: ``4 Aug 2026, 09:15 IST``; with seconds ``4 Aug 2026, 09:15:20 IST``."""
    local = clock.to_ist(instant)
    wall = f"{local:%H:%M:%S}" if seconds else f"{local:%H:%M}"
    return f"{day_text(local.date(), year=year)}, {wall} IST"
