"""Advisory locks of PostgreSQL, held until the surrounding transaction ends."""

from __future__ import annotations

import hashlib

from django.db import connection


def lock_key(name: str) -> int:
    """A signed 64-bit key for ``name``, the same in every process."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)


def transaction_lock(name: str) -> None:
    """Wait for the lock ``name``; commit or rollback releases it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [lock_key(name)])


def try_transaction_lock(name: str) -> bool:
    """Take the lock ``name`` if it is free; returns whether it was."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [lock_key(name)])
        row = cursor.fetchone()
    return bool(row and row[0])
