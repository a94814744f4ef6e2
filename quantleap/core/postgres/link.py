"""A connection that waits for an answer no longer than it was told to.

A network that goes silent is noticed by the kernel (``tcp_user_timeout``, keep-alives), unless
something in between goes on acknowledging: a proxy, a pooler, the machine of a server whose
processes are frozen. libpq then waits for ever, and statement timeouts are the server's to notice.
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
    """From now on this thread waits so long for each answer; None: as long as the process does."""
    _thread.seconds = seconds


class Link(psycopg.Connection[Any]):
    """psycopg's connection with a ``patience``: seconds for one answer (None: without end)."""

    patience: float | None = None

    def wait(
        self, gen: PQGen[Any], interval: float = _INTERVAL, timeout: float | None = None
    ) -> Any:
        """Wait for the server; OperationalError, and the link is closed, when it stays silent."""
        patience = getattr(_thread, "seconds", None) or self.patience
        if timeout is not None or not patience:
            return super().wait(gen, interval=interval, timeout=timeout)
        try:
            return super().wait(gen, interval=interval, timeout=patience)
        except _WaitTimeout:
            # Whatever comes after all answers nobody: the next statement needs another link.
            self.pgconn.finish()
        raise psycopg.OperationalError(f"the database has said nothing for {patience:g} s")


class Driver:
    """psycopg as Django uses it, but for the class of its connections."""

    connect = staticmethod(Link.connect)

    def __getattr__(self, name: str) -> Any:
        return getattr(psycopg, name)
