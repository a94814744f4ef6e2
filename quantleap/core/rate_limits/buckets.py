"""What a request is charged to, and what became of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

WINDOW_US: Final = 60_000_000  # a bucket holds one minute's worth; microseconds
DAY_SECONDS: Final = 86_400
IST_SECONDS: Final = 19_800


@dataclass(frozen=True, slots=True)
class Bucket:
    """``per_minute`` requests at once and per minute, refilled continuously.

    ``policy`` is its name in the headers; ``of`` says whose it is, in words that nobody else has.
    """

    policy: str
    of: str
    per_minute: int


@dataclass(frozen=True, slots=True)
class DayQuota:
    """``per_day`` requests on one day in India, counted for ``of``."""

    of: str
    per_day: int
    policy: str = "day"


@dataclass(frozen=True, slots=True)
class Charge:
    """All that one request is charged to, or nothing of it if one refuses.

    ``owner`` is part of every key; Redis Cluster keeps an owner's keys on one node.
    """

    owner: str
    buckets: tuple[Bucket, ...]
    day: DayQuota | None = None

    @property
    def keys(self) -> list[str]:
        """The keys in Redis: a bucket's each, then the day's."""
        keys = [f"ql:limit:{{{self.owner}}}:{bucket.of}" for bucket in self.buckets]
        return [*keys, f"ql:limit:{{{self.owner}}}:day:{self.day.of}"] if self.day else keys


@dataclass(frozen=True, slots=True)
class Standing:
    """One limit after the request: ``limit`` requests in ``window`` seconds, ``remaining`` of them;
    ``reset`` seconds until all are there again, ``wait`` until this request would have passed.

    Both are whole seconds, rounded up; ``wait`` is 0 if this limit did not refuse it.
    """

    policy: str
    limit: int
    window: int
    remaining: int
    reset: int
    wait: int

    @property
    def words(self) -> str:
        """``60 requests per minute``."""
        noun = "request" if self.limit == 1 else "requests"
        per = "day" if self.window == DAY_SECONDS else "minute"
        return f"{self.limit:,} {noun} per {per}"


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether the request may go on; ``at`` is the time of it in unix seconds.

    ``standings`` are the charge's limits in its order, the day's quota last. ``shared`` is False if
    this process decided alone.
    """

    allowed: bool
    at: int
    standings: tuple[Standing, ...]
    shared: bool = True

    @property
    def binding(self) -> Standing:
        """The limit to tell of: the one that refused for longest, else the first."""
        longest = max(self.standings, key=lambda standing: standing.wait)
        return self.standings[0] if self.allowed else longest

    @property
    def retry_after(self) -> int:
        """Seconds after which the same request passes, if nobody else draws on the same limits."""
        return self.binding.wait


def bucket_standing(bucket: Bucket, debt_us: int, remaining: int, wait_us: int) -> Standing:
    """A bucket's standing from microseconds."""
    reset, wait = _up(debt_us), _up(wait_us)
    return Standing(bucket.policy, bucket.per_minute, 60, remaining, reset, wait)


def day_standing(quota: DayQuota, today: int, count: int, at: int, *, refused: bool) -> Standing:
    """A quota's standing ``at`` unix seconds of the day number ``today`` since 1970 in India."""
    left = max((today + 1) * DAY_SECONDS - IST_SECONDS - at, 1)
    remaining = max(quota.per_day - count, 0)
    return Standing(
        quota.policy, quota.per_day, DAY_SECONDS, remaining, left, left if refused else 0
    )


def india_day(at: int) -> int:
    """Number of the day in India since 1970 at ``at`` unix seconds."""
    return (at + IST_SECONDS) // DAY_SECONDS


def read_answer(charge: Charge, answer: Sequence[int]) -> Decision:
    """The decision that charge.lua returned."""
    allowed, at = bool(answer[0]), int(answer[1])
    standings = [
        bucket_standing(bucket, *answer[3 + 3 * place : 6 + 3 * place])
        for place, bucket in enumerate(charge.buckets)
    ]
    if charge.day is not None:
        today, count = answer[-2:]
        refused = not allowed and count >= charge.day.per_day
        standings.append(day_standing(charge.day, today, count, at, refused=refused))
    return Decision(allowed, at, tuple(standings))


def _up(us: int) -> int:
    return -(-us // 1_000_000)
