"""Take numbers from a series, in the transaction that uses them."""

from __future__ import annotations

import datetime as dt
from typing import Final

from django.db import connection, transaction

from quantleap.core.inserts import insert_missing
from quantleap.core.outbox import NotInTransaction
from subscriptions.billing.invoicing.number_format import financial_year
from subscriptions.billing.models import NumberSeries

_TAKE: Final = """
UPDATE billing_numberseries SET last = last + %s, last_on = greatest(last_on, %s)
 WHERE series = %s AND fy = %s RETURNING last, last_on
"""


def ensure_series(series: str, fy: str) -> None:
    """Create the row of a financial year before concurrent transactions need it."""
    insert_missing([NumberSeries(series=series, fy=fy)], unique=("series", "fy"))


def take(series: str, count: int, *, today: dt.date) -> tuple[str, int, dt.date]:
    """Take ``count`` numbers. Returns financial year, first number, and the date to print (IST).

    The date is ``today``, or the last one printed if the clock went back: dates never decrease. All
    others wait until the transaction ends, so call it late; a rollback returns the numbers. Write
    exactly these documents with one INSERT, or the database refuses them.
    """
    if not transaction.get_connection().in_atomic_block:
        raise NotInTransaction
    fy = financial_year(today)
    with connection.cursor() as cursor:
        for _ in range(2):
            cursor.execute(_TAKE, [count, today, series, fy])
            row = cursor.fetchone()
            if row is not None:
                return fy, row[0] - count + 1, row[1]
            ensure_series(series, fy)
    raise RuntimeError(f"no series {series} {fy}")
