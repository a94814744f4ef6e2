"""Work in another connection, while a transaction of this one is open."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection


@contextmanager
def meanwhile(work: Callable[[], Any]) -> Iterator[threading.Event]:
    """Run ``work`` in another connection; yields an event that is set when it is through."""
    done = threading.Event()
    failures: list[BaseException] = []

    def body() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised again in the test's own thread
            failures.append(error)
        finally:
            connection.close()
            done.set()

    thread = threading.Thread(target=body)
    thread.start()
    yield done
    thread.join(20)
    assert not thread.is_alive()
    if failures:
        raise failures[0]


def closing(work: Callable[[], Any]) -> Callable[[], None]:
    """``work`` for a thread of its own, whose connection is closed behind it."""

    def body() -> None:
        try:
            work()
        finally:
            connection.close()

    return body
