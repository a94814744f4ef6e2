"""The listed expiry that a rule selects. Pure.

Expiries come from the contract list, which already has those moved that fall on a holiday; nothing
here computes weekdays. The scheduled_* functions return what the exchange's rule would list, for
generators and tests.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from marketplace.calendar import TradingCalendar


class ExpiryError(ValueError):
    """No listed expiry satisfies the rule."""


def is_monthly(expiry: dt.date, expiries: Sequence[dt.date]) -> bool:
    """Whether ``expiry`` is the last one listed in its month.

    That is reliable for real lists, because the monthly contract is listed months before its
    month's weeklies.
    """
    return not any(
        other > expiry and (other.year, other.month) == (expiry.year, expiry.month)
        for other in expiries
    )


def has_weekly(expiries: Sequence[dt.date]) -> bool:
    """Whether the list contains an expiry that is not its month's last."""
    return any(not is_monthly(expiry, expiries) for expiry in expiries)


def select_expiry(expiries: Sequence[dt.date], kind: str, day: dt.date) -> dt.date:
    """The expiry that ``kind`` (WEEKLY, MONTHLY) selects on ``day``; today's own expiry counts.

    ``expiries`` are the listed ones, at least from ``day`` on. WEEKLY is the nearest expiry (in the
    month's last week the monthly one); it is refused if only monthlies are listed (of NSE's indices
    NIFTY alone has weeklies). ExpiryError says why nothing fits.
    """
    coming = sorted({expiry for expiry in expiries if expiry >= day})
    if not coming:
        raise ExpiryError(f"no expiry is listed from {day:%Y-%m-%d} on")
    if kind == "WEEKLY":
        if not has_weekly(expiries):
            raise ExpiryError("no weekly expiry is listed")
        return coming[0]
    if kind == "MONTHLY":
        return next(expiry for expiry in coming if is_monthly(expiry, coming))
    raise ExpiryError(f"expiry kind {kind} is not known")


def scheduled_weekly(
    calendar: TradingCalendar, weekday: int, first: dt.date, count: int
) -> tuple[dt.date, ...]:
    """``count`` weekly expiries on ``weekday`` (0 = Monday), from the week of ``first`` on.

    An expiry on a closed day moves to the previous trading day, which may be before ``first``.
    """
    start = first + dt.timedelta(days=(weekday - first.weekday()) % 7)
    return tuple(calendar.on_or_before(start + dt.timedelta(weeks=week)) for week in range(count))


def scheduled_monthly(calendar: TradingCalendar, weekday: int, year: int, month: int) -> dt.date:
    """The month's last ``weekday``, moved to the previous trading day if it is closed."""
    beyond = dt.date(year + month // 12, month % 12 + 1, 1)
    last = beyond - dt.timedelta(days=1)
    return calendar.on_or_before(last - dt.timedelta(days=(last.weekday() - weekday) % 7))
