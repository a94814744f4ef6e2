"""The one place that reads the clock.

Everything else is handed a ``now``. Two environment variables move the whole installation to
another day (demo, tests; a system check refuses them in production):

* ``QUANTLEAP_CLOCK_START``: the instant at which our time starts, ISO 8601 with offset.
* ``QUANTLEAP_CLOCK_ANCHOR``: the real unix time to which that instant corresponds. Processes that
  shall agree share it (the supervisor exports it); without it a process counts from its own start.

Only the origin moves; our seconds are as long as real ones.
"""

from __future__ import annotations

import datetime as dt
import os
import time
from typing import Final
from zoneinfo import ZoneInfo

IST: Final = ZoneInfo("Asia/Kolkata")
UTC: Final = dt.UTC


class ClockConfigurationError(RuntimeError):
    """The clock variables cannot be read."""


def _read_offset() -> float:
    """Seconds to add to the real clock, from the environment."""
    start = os.environ.get("QUANTLEAP_CLOCK_START", "")
    if not start:
        return 0.0
    try:
        begin = dt.datetime.fromisoformat(start)
    except ValueError as error:
        message = f"QUANTLEAP_CLOCK_START is not an ISO 8601 instant: {start!r}"
        raise ClockConfigurationError(message) from error
    if begin.tzinfo is None:
        begin = begin.replace(tzinfo=IST)
    anchor = os.environ.get("QUANTLEAP_CLOCK_ANCHOR", "")
    try:
        real = float(anchor) if anchor else time.time()
    except ValueError as error:
        message = f"QUANTLEAP_CLOCK_ANCHOR is not a unix time: {anchor!r}"
        raise ClockConfigurationError(message) from error
    return begin.timestamp() - real


_offset: float = _read_offset()


def offset_seconds() -> float:
    """How far our clock is from the real one, in seconds (0 in production)."""
    return _offset


def now() -> dt.datetime:
    """Current instant, aware, UTC."""
    return dt.datetime.fromtimestamp(time.time() + _offset, UTC)


def real_now() -> dt.datetime:
    """The instant that the rest of the world has, even where ours was moved (UTC).

    Only for wire protocols whose receivers compare with their own clock (webhook signatures).
    """
    return dt.datetime.fromtimestamp(time.time(), UTC)


def real(instant: dt.datetime) -> dt.datetime:
    """An instant of our clock as the rest of the world has it: the same where ours is not moved.

    For what programs that do not know our clock have written down (Celery's beat).
    """
    return instant - dt.timedelta(seconds=_offset)


def timestamp() -> float:
    """Current instant as unix seconds of *our* time."""
    return time.time() + _offset


def monotonic() -> float:
    """Seconds that never step back; for deadlines and self-fencing, not for display."""
    return time.monotonic()


def monotonic_deadline(instant: dt.datetime) -> float:
    """Map an instant of our clock to the monotonic clock, as read at this moment.

    The executor does this a few seconds before the entry second, so that a wall-clock step
    afterwards cannot move it (execution.md section 2).
    """
    return time.monotonic() + (instant.timestamp() - timestamp())


def to_ist(instant: dt.datetime) -> dt.datetime:
    """The same instant on an Indian wall clock."""
    return instant.astimezone(IST)


def ist_date(instant: dt.datetime) -> dt.date:
    """Trade date of an instant: its calendar date in Asia/Kolkata."""
    return instant.astimezone(IST).date()


def at_ist(day: dt.date, wall: dt.time) -> dt.datetime:
    """The UTC instant of a wall-clock time (IST) on a day."""
    return dt.datetime.combine(day, wall, IST).astimezone(UTC)
