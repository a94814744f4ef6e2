"""The only place that reads the clock.

All other code receives a ``now``. Environment variables move the whole installation to another day
(demo, tests; every start refuses them in production):

* ``QUANTLEAP_CLOCK_START``: the time at which our clock starts, ISO 8601 with offset.
* ``QUANTLEAP_CLOCK_ANCHOR``: the real unix time to which that time corresponds. Processes that
  must agree share it (the supervisor exports it); without it a process counts from its own start.
* ``QUANTLEAP_CLOCK_FILE``: a file with the offset itself (eight bytes, a little-endian double), in
  place of the other two. All processes that use it see each change at once, without a restart
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
    """The clock's environment variables cannot be read."""


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
    """The shared offset, if there is one: memory-mapped, so that reading it needs no system
    call."""
    path = os.environ.get("QUANTLEAP_CLOCK_FILE", "")
    if not path:
        return None
    try:
        with open(path, "rb") as shared:
            return mmap.mmap(shared.fileno(), SHARED.size, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        message = f"QUANTLEAP_CLOCK_FILE is not a clock's file: {path!r} ({error})"
        raise ClockConfigurationError(message) from error


#: Content of ``QUANTLEAP_CLOCK_FILE``: seconds to add to the real clock.
SHARED: Final = struct.Struct("<d")
_shared = _map_offset()
_offset: float = _read_offset()


def offset_seconds() -> float:
    """The distance of our clock from the real one, in seconds (0 in production)."""
    if _shared is None:
        return _offset
    offset: float = SHARED.unpack_from(_shared)[0]
    return offset


def moved_by() -> str:
    """The variable that moves, or may move, our clock; '' if there is none."""
    if _shared is not None:
        return "QUANTLEAP_CLOCK_FILE"
    return "QUANTLEAP_CLOCK_START" if _offset else ""


def now() -> dt.datetime:
    """The current time, aware, UTC."""
    return dt.datetime.fromtimestamp(timestamp(), UTC)


def real_now() -> dt.datetime:
    """The real current time (UTC), even if ours was moved.

    Only for comparison with somebody else's clock: webhook signatures, the database's.
    """
    return dt.datetime.fromtimestamp(time.time(), UTC)


def real(instant: dt.datetime) -> dt.datetime:
    """A time of our clock converted to the real clock; the same if ours is not moved.

    For comparison with times written by programs that do not use our clock (Celery's beat).
    """
    return instant - dt.timedelta(seconds=offset_seconds())


def timestamp() -> float:
    """The current time as unix seconds of *our* clock."""
    return time.time() + (_offset if _shared is None else offset_seconds())


def real_timestamp() -> float:
    """:func:`real_now` as unix seconds."""
    return time.time()


def monotonic() -> float:
    """Seconds that never go back; for deadlines and self-fencing, not for display."""
    return time.monotonic()


#: Continues while the machine sleeps. On Linux the monotonic clock does not; elsewhere the clock of
#: that name does, but the one that Python uses instead may not.
_SLEEPLESS: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boottime() -> float:
    """Seconds that never go back and continue while the machine is suspended."""
    return time.clock_gettime(_SLEEPLESS)


def monotonic_deadline(instant: dt.datetime) -> float:
    """A time of our clock mapped to the monotonic clock, as of this moment.

    The executor calls this a few seconds before the entry second, so that a later step of the wall
    clock cannot move it.
    """
    return time.monotonic() + (instant.timestamp() - timestamp())


def to_ist(instant: dt.datetime) -> dt.datetime:
    """The same time on an Indian wall clock."""
    return instant.astimezone(IST)


def ist_date(instant: dt.datetime) -> dt.date:
    """The trading date of a time: its calendar date in Asia/Kolkata."""
    return instant.astimezone(IST).date()


def at_ist(day: dt.date, wall: dt.time) -> dt.datetime:
    """The UTC instant of a wall-clock time (IST) on a day."""
    return dt.datetime.combine(day, wall, IST).astimezone(UTC)
