"""Calls that really run at the same time, for tests of races."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

from django.db import connection


def at_once(
    count: int, call: Callable[[int], Any], *, errors: tuple[type[Exception], ...] = ()
) -> list[Any]:
    """Results of ``count`` calls that start together, each on its own connection.

    ``errors`` count as results; any other exception fails the test.
    """
    gate = Barrier(count)

    def go(number: int) -> Any:
        try:
            connection.ensure_connection()
            gate.wait(timeout=30)
            return call(number)
        except errors as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(go, range(count)))


def somebody_waits() -> bool:
    """Whether a transaction in this test's database waits for another one's lock.

    Locks belong to the whole server, where another worker's tests wait too; and a transaction keeps
    seeing the activity of its first look, unless that snapshot is cleared.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(
            "SELECT count(*) FROM pg_locks AS held JOIN pg_stat_activity AS who USING (pid) "
            "WHERE NOT held.granted AND who.datname = current_database()"
        )
        return bool(cursor.fetchone()[0])
