"""The longest delays of brokers' books, stored for all executors and across restarts."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal

from django.db import connection

from execution.alarms import LEFT_LATE
from execution.models import Alarm, BookLag


def measured(since: dt.datetime) -> dict[str, tuple[float, dt.datetime]]:
    """By broker: the delay in seconds and when it was measured, if that was after ``since``."""
    rows = BookLag.objects.filter(seen_at__gte=since)
    return {row.broker: (float(row.seconds), row.seen_at) for row in rows}


def note_lag(
    broker: str, delays: Mapping[str, float], *, now: dt.datetime, kept: dt.timedelta
) -> float:
    """Store the longest of ``delays`` (seconds, by tag) and return it; 0 if none counts.

    An order that is known to have left late itself does not count. A longer delay that is stored
    stays, unless it is older than ``kept``.
    """
    late = set(
        Alarm.objects.filter(cause=LEFT_LATE, order_tag__in=list(delays)).values_list(
            "order_tag", flat=True
        )
    )
    lags = {tag: seconds for tag, seconds in delays.items() if tag not in late}
    if not lags:
        return 0.0
    tag = max(lags, key=lags.__getitem__)
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO execution_booklag AS t (broker, seconds, tag, seen_at)
            VALUES (%s, %s, %s, %s)
            ON CONFLICT (broker) DO UPDATE
               SET seconds = EXCLUDED.seconds, tag = EXCLUDED.tag, seen_at = EXCLUDED.seen_at
             WHERE t.seconds <= EXCLUDED.seconds OR t.seen_at < %s
            """,
            [broker, Decimal(f"{lags[tag]:.3f}"), tag, now, now - kept],
        )
    return lags[tag]
