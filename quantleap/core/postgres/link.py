"""A connection that waits for each answer only for a limited time.

The kernel notices a network that goes silent (``tcp_user_timeout``, keep-alives), unless something
in between keeps acknowledging: a proxy, a pooler, the machine of a server whose processes are
frozen. libpq would then wait for ever, and only the server enforces statement timeouts.
"""

from __future__ import annotations

import threading
from typing import Any, Final

import psycopg
from psycopg.abc import PQGen
from psycopg.errors import _WaitTimeout

_thread: Final = threading.local()
_INTERVAL: Final = 0.1


def be_patient(seconds: float | None) -> None:
    """Set how many seconds this thread waits for each answer; None restores the process's
    default."""
    _thread.seconds = seconds


class Link(psycopg.Connection[Any]):
    """psycopg's connection with ``patience``: seconds for one answer (None: unlimited)."""

    patience: float | None = None

    def wait(
        self, gen: PQGen[Any], interval: float = _INTERVAL, timeout: float | None = None
    ) -> Any:
        """Wait for the server; if it stays silent, close the connection and raise
        OperationalError."""
        patience = getattr(_thread, "seconds", None) or self.patience
        if timeout is not None or not patience:
            return super().wait(gen, interval=interval, timeout=timeout)
        try:
            return super().wait(gen, interval=interval, timeout=patience)
        except _WaitTimeout:
            # A late answer would be taken for that of the next statement, so the connection cannot
            # be reused.
            self.pgconn.finish()
        raise psycopg.OperationalError(f"the database has said nothing for {patience:g} s")


class Driver:
    """psycopg as Django uses it, with another class of connections."""

    connect = staticmethod(Link.connect)

    def __getattr__(self, name: str) -> Any:
        return getattr(psycopg, name)
