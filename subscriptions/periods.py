"""Billing periods, always counted from the anchor (docs/billing.md#what-is-billed). Pure.

Period n of an anchor is [anchor + n months, anchor + (n + 1) months). A month without the anchor's
day shortens its own period and none after it: 31 Jan -> 28 Feb -> 31 Mar.
"""

from __future__ import annotations

import calendar
import datetime as dt
from dataclasses import dataclass
from typing import Final

_MONTHS: Final = 12


@dataclass(frozen=True, slots=True)
class Period:
    """Period ``number`` (from 0) of an anchor: its first day and the first day after it (IST)."""

    number: int
    start: dt.date
    end: dt.date


def add_months(anchor: dt.date, months: int) -> dt.date:
    """``anchor`` plus ``months`` months; the last day of the month if that month is too short."""
    year, month = divmod(anchor.year * _MONTHS + anchor.month - 1 + months, _MONTHS)
    last = calendar.monthrange(year, month + 1)[1]
    return dt.date(year, month + 1, min(anchor.day, last))


def period(anchor: dt.date, number: int) -> Period:
    """Period ``number`` of ``anchor``. Raises ValueError for a negative number."""
    if number < 0:
        raise ValueError(f"no period {number}")
    return Period(number, add_months(anchor, number), add_months(anchor, number + 1))


def period_on(anchor: dt.date, day: dt.date) -> Period:
    """The period that contains ``day`` (IST). Raises ValueError for a day before the anchor."""
    if day < anchor:
        raise ValueError(f"{day} is before the anchor {anchor}")
    months = (day.year - anchor.year) * _MONTHS + day.month - anchor.month
    candidate = period(anchor, months)
    return candidate if candidate.start <= day else period(anchor, months - 1)


def next_billing_date(anchor: dt.date, day: dt.date) -> dt.date:
    """Start (IST date) of the period after the one that contains ``day``."""
    return period_on(anchor, max(day, anchor)).end


def anchor_after_pause(anchor: dt.date, paused_on: dt.date, resumed_on: dt.date) -> dt.date:
    """The anchor of a resumed subscription (all dates IST).

    The period in which the pause began continues. A resumption after its end starts a new segment
    with a new anchor, so that the time between is not billed.
    """
    return anchor if resumed_on < next_billing_date(anchor, paused_on) else resumed_on
