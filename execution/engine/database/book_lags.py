"""The longest delays of brokers' books, in PostgreSQL: every executor's, over restarts."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from django.db import connection

from execution.models import BookLag


def measured(since: dt.datetime) -> dict[str, tuple[float, dt.datetime]]:
    """By broker: seconds, and when they were seen, of delays that were seen after ``since``."""
    rows = BookLag.objects.filter(seen_at__gte=since)
    return {row.broker: (float(row.seconds), row.seen_at) for row in rows}


def note_lag(
    broker: str, seconds: float, tag: str, *, now: dt.datetime, kept: dt.timedelta
) -> None:
    """Keep a delay if it is the longest of those that are ``kept`` still."""
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
