"""Decides over a request: Redis, or this process alone while Redis does not answer."""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import Lock
from typing import Final

import redis
import structlog
from django.conf import settings
from redis.exceptions import ReadOnlyError, RedisError

from quantleap.core import clock
from quantleap.core.rate_limits.buckets import Charge, Decision
from quantleap.core.rate_limits.memory import Memory
from quantleap.core.rate_limits.script import Ask, ask, connect, shared_script

log = structlog.get_logger(__name__)

#: Seconds without Redis after it failed to answer; then one request tries again.
PAUSE: Final = 1.0


class Limiter:
    """One per process. ``outages`` counts how often Redis went away, ``alone`` the requests that
    were decided without it; a metrics page can read both."""

    def __init__(self, url: str, processes: Callable[[], int], patience: float) -> None:
        """``patience`` in seconds, for a connection and for an answer."""
        self.outages = 0
        self.alone = 0
        self._client: redis.Redis = connect(url, patience)
        self._script: Ask = shared_script(self._client)
        self._processes = processes
        self._memory = Memory()
        self._lock = Lock()
        self._away = False
        self._try_at = 0.0

    def charge(self, charge: Charge) -> Decision:
        """Charge a request; it never fails, and waits for a connection and an answer at most."""
        if self._may_ask():
            try:
                decision = ask(self._script, charge, self._memory)
            except (RedisError, OSError) as error:
                self._note_failure(error)
            else:
                self._note_answer()
                return decision
        with self._lock:
            self.alone += 1
        return self._memory.decide(charge, max(self._processes(), 1))

    def _may_ask(self) -> bool:
        """While Redis is away, one request a second tries it, and the others do not wait."""
        if not self._away:
            return True
        with self._lock:
            now = clock.monotonic()
            if now < self._try_at:
                return False
            self._try_at = now + PAUSE
            return True

    def _note_failure(self, error: Exception) -> None:
        if isinstance(error, ReadOnlyError):  # a primary that became a replica: look it up again
            self._client.connection_pool.disconnect()
        with self._lock:
            self._try_at = clock.monotonic() + PAUSE
            first, self._away = not self._away, True
            self.outages += first
        if first:
            log.warning("rate_limits_alone", why=str(error), processes=self._processes())

    def _note_answer(self) -> None:
        if not self._away:
            return
        with self._lock:
            was_away, self._away = self._away, False
        if was_away:
            log.warning("rate_limits_shared_again", alone=self.alone)


_limiters: Final[dict[tuple[int, str], Limiter]] = {}
_making: Final = Lock()


def limiter() -> Limiter:
    """This process's limiter; connected at its first request, after gunicorn has forked."""
    key = (os.getpid(), settings.REDIS_URL)
    found = _limiters.get(key)
    if found is None:
        with _making:
            found = _limiters.setdefault(
                key,
                Limiter(
                    settings.REDIS_URL,
                    lambda: settings.QUANTLEAP_WEB_PROCESSES,
                    settings.QUANTLEAP_LIMITS_PATIENCE,
                ),
            )
    return found
