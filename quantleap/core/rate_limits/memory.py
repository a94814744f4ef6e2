"""What this process knows of the buckets, and how it decides alone while Redis is away.

It notes each answer of Redis. While Redis is away it goes on from there with its part of the
limits, and a Redis that has lost a bucket gets it back with the next request: otherwise an outage
would give every caller a second full bucket at its beginning, and a third at its end.
"""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import Final, TypeVar

from quantleap.core import clock
from quantleap.core.rate_limits.buckets import (
    WINDOW_US,
    Bucket,
    Charge,
    DayQuota,
    Decision,
    Standing,
    bucket_standing,
    day_standing,
    india_day,
)

_Value = TypeVar("_Value")
_MOST: Final = 20_000  # entries of each kind; the one that was used longest ago is forgotten


class Memory:
    """Debts and counts by key. Debts are measured by the monotonic clock, so that a web process's
    time of day does not matter to them."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._full_at: OrderedDict[str, int] = OrderedDict()  # monotonic microseconds
        self._days: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def debt(self, key: str) -> int:
        """Microseconds until the bucket is full, as far as this process knows."""
        return max(self._full_at.get(key, 0) - _now_us(), 0)

    def note_debt(self, key: str, debt_us: int) -> None:
        """Remember a bucket's debt."""
        with self._lock:
            _put(self._full_at, key, _now_us() + debt_us)

    def day(self, key: str) -> tuple[int, int]:
        """The day's number and the count of a quota, as far as this process knows."""
        return self._days.get(key, (0, 0))

    def note_day(self, key: str, today: int, count: int) -> None:
        """Remember a quota's count."""
        with self._lock:
            _put(self._days, key, (today, count))

    def decide(self, charge: Charge, processes: int) -> Decision:
        """Charge a request here, as one of ``processes`` that have the same part of every limit."""
        at = int(clock.real_timestamp())  # like Redis, whose clock nobody moves
        keys = charge.keys
        with self._lock:
            buckets = [
                _Share(bucket, self.debt(key), processes)
                for bucket, key in zip(charge.buckets, keys, strict=False)
            ]
            day, count = self.day(keys[-1]) if charge.day else (0, 0)
            today = max(day, india_day(at)) if day == india_day(at) + 1 else india_day(at)
            count = count if day == today else 0
            spent = charge.day is not None and count >= charge.day.per_day
            allowed = not spent and all(share.wait == 0 for share in buckets)
            if allowed:
                for share, key in zip(buckets, keys, strict=False):
                    share.draw()
                    _put(self._full_at, key, _now_us() + share.debt)
                if charge.day is not None:
                    count += processes
                    _put(self._days, keys[-1], (today, count))
        standings = [share.standing() for share in buckets]
        if charge.day is not None:
            standings.append(_day(charge.day, today, count, at, refused=spent))
        return Decision(allowed, at, tuple(standings), shared=False)


class _Share:
    """This process's part of a bucket: each request counts as often as there are processes. A part
    that holds less than one request holds one, or nothing would ever pass."""

    def __init__(self, bucket: Bucket, debt: int, processes: int) -> None:
        self.bucket, self.debt = bucket, debt
        self._step = -(-WINDOW_US * processes // bucket.per_minute)
        self._window = max(WINDOW_US, self._step)
        self.wait = max(debt + self._step - self._window, 0)

    def draw(self) -> None:
        self.debt += self._step

    def standing(self) -> Standing:
        remaining = (self._window - self.debt) // self._step
        return bucket_standing(self.bucket, self.debt, remaining, self.wait)


def _day(quota: DayQuota, today: int, count: int, at: int, *, refused: bool) -> Standing:
    return day_standing(quota, today, min(count, quota.per_day), at, refused=refused)


def _put(entries: OrderedDict[str, _Value], key: str, value: _Value) -> None:
    entries[key] = value
    entries.move_to_end(key)
    if len(entries) > _MOST:
        entries.popitem(last=False)


def _now_us() -> int:
    return int(clock.monotonic() * 1_000_000)
