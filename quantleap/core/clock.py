"""The one place that reads the clock.

Everything else is handed a ``now``. Environment variables move the whole installation to another
day (demo, tests; every start refuses them in production):

* ``QUANTLEAP_CLOCK_START``: the instant at which our time starts, ISO 8601 with offset.
* ``QUANTLEAP_CLOCK_ANCHOR``: the real unix time to which that instant corresponds. Processes that
  shall agree share it (the supervisor exports it); without it a process counts from its own start.
* ``QUANTLEAP_CLOCK_FILE``: a file with the offset itself (eight bytes, a little-endian double), in
  place of the other two. All processes that have it see each change at once, without a restart
  (docs/adr/0044).

Only the origin moves; our seconds are as long as real ones.
"""

from __future__ import annotations

import datetime as dt
import mmap
import os
import struct
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


def _map_offset() -> mmap.mmap | None:
    """The shared offset, where there is one: mapped, so that reading it asks no system call."""
    path = os.environ.get("QUANTLEAP_CLOCK_FILE", "")
    if not path:
        return None
    try:
        with open(path, "rb") as shared:
            return mmap.mmap(shared.fileno(), SHARED.size, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        message = f"QUANTLEAP_CLOCK_FILE is not a clock's file: {path!r} ({error})"
        raise ClockConfigurationError(message) from error


#: What ``QUANTLEAP_CLOCK_FILE`` holds: seconds to add to the real clock.
SHARED: Final = struct.Struct("<d")
_shared = _map_offset()
_offset: float = _read_offset()


def offset_seconds() -> float:
    """How far our clock is from the real one, in seconds (0 in production)."""
    if _shared is None:
        return _offset
    offset: float = SHARED.unpack_from(_shared)[0]
    return offset


def moved_by() -> str:
    """The variable by which our clock is, or may become, another than the real one; '' for none."""
    if _shared is not None:
        return "QUANTLEAP_CLOCK_FILE"
    return "QUANTLEAP_CLOCK_START" if _offset else ""


def now() -> dt.datetime:
    """Current instant, aware, UTC."""
    return dt.datetime.fromtimestamp(timestamp(), UTC)


def real_now() -> dt.datetime:
    """The instant that the rest of the world has, even where ours was moved (UTC).

    Only for what is compared with somebody else's clock: webhook signatures, the database's.
    """
    return dt.datetime.fromtimestamp(time.time(), UTC)


def real(instant: dt.datetime) -> dt.datetime:
    """An instant of our clock as the rest of the world has it: the same where ours is not moved.

    For what programs that do not know our clock have written down (Celery's beat).
    """
    return instant - dt.timedelta(seconds=offset_seconds())


def timestamp() -> float:
    """Current instant as unix seconds of *our* time."""
    return time.time() + (_offset if _shared is None else offset_seconds())


def real_timestamp() -> float:
    """:func:`real_now` as unix seconds."""
    return time.time()


def monotonic() -> float:
    """Seconds that never step back; for deadlines and self-fencing, not for display."""
    return time.monotonic()


#: Goes on while the machine sleeps. On Linux the monotonic clock does not; elsewhere the clock of
#: that name does, while the one that Python reads for it may not.
_SLEEPLESS: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boottime() -> float:
    """Seconds that never step back and do not stop while the machine is suspended."""
    return time.clock_gettime(_SLEEPLESS)


def monotonic_deadline(instant: dt.datetime) -> float:
    """Map an instant of our clock to the monotonic clock, as read at this moment.

    The executor does this a few seconds before the entry second, so that a wall-clock step
    afterwards cannot move it.
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
