"""Calls that really happen at once, for the tests of races."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

from django.db import connection


def at_once(
    count: int, call: Callable[[int], Any], *, errors: tuple[type[Exception], ...] = ()
) -> list[Any]:
    """Results of ``count`` calls that begin together, each on a connection of its own.

    ``errors`` are results as well; any other fails the test.
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
