"""The longest delays of brokers' books, stored for all executors and across restarts."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from django.db import connection

from execution.alarms import LEFT_LATE
from execution.models import Alarm, BookLag


def measured(since: dt.datetime) -> dict[str, tuple[float, dt.datetime]]:
    """By broker: the delay in seconds and when it was measured, if that was after ``since``."""
    rows = BookLag.objects.filter(seen_at__gte=since)
    return {row.broker: (float(row.seconds), row.seen_at) for row in rows}


def note_lag(
    broker: str, seconds: float, tag: str, *, now: dt.datetime, kept: dt.timedelta
) -> bool:
    """Store a delay (seconds) if it is the longest, or the stored one is older than ``kept``.

    False, and nothing is stored, if the order ``tag`` is known to have left late itself.
    """
    if Alarm.objects.filter(cause=LEFT_LATE, order_tag=tag).exists():
        return False
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO execution_booklag AS t (broker, seconds, tag, seen_at)
            VALUES (%s, %s, %s, %s)
            ON CONFLICT (broker) DO UPDATE
               SET seconds = EXCLUDED.seconds, tag = EXCLUDED.tag, seen_at = EXCLUDED.seen_at
             WHERE t.seconds <= EXCLUDED.seconds OR t.seen_at < %s
            """,
            [broker, Decimal(f"{seconds:.3f}"), tag, now, now - kept],
        )
    return True
