"""How many rows PostgreSQL reads: what a statement costs, counted and not timed.

https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-PG-STAT-ALL-TABLES-VIEW
"""

from __future__ import annotations

from django.db import connection


def rows_read(*tables: str) -> int:
    """Rows of these tables, or of all, that this transaction has read so far, by scans and by
    indexes."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(sum(seq_tup_read + idx_tup_fetch), 0) FROM pg_stat_xact_user_tables"
            " WHERE %(tables)s = '{}' OR relname = ANY(%(tables)s)",
            {"tables": list(tables)},
        )
        return int(cursor.fetchone()[0])
