"""Verifies a key's secret: bcrypt once, then a cached match for a minute (docs/adr/0012).

The cache only says "this secret matched that stored hash". Whether the key is still valid, what it
may do and from where is read from the database on every request.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import threading
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import bcrypt

from quantleap.core import clock

REMEMBER_SECONDS: Final = 60.0
# In the last part of its minute, a cached secret is verified again by the first request that finds
# bcrypt idle, so that a flood of wrong secrets cannot lock out a client that calls regularly.
RENEW_SECONDS: Final = 20.0
MAX_FAILURES: Final = 10
FAILURE_WINDOW: Final = 60.0
MAX_REMEMBERED: Final = 4096


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """A live secret as currently stored."""

    id: int
    version: int
    hash: str


@dataclass(frozen=True, slots=True)
class _Remembered:
    secret: StoredSecret
    until: float


class SecretVerifier:
    """Caches good secrets, counts bad ones, runs one bcrypt at a time. One instance per process."""

    def __init__(self) -> None:
        self._pepper = os.urandom(32)
        self._remembered: OrderedDict[bytes, _Remembered] = OrderedDict()
        self._failures: dict[int, deque[float]] = {}
        self._state = threading.Lock()
        self._bcrypt = threading.Lock()

    def verify(self, key_id: int, tail: str, stored: Sequence[StoredSecret]) -> StoredSecret | None:
        """The stored secret that ``tail`` matches, or None.

        ``stored`` are the key's live secrets as just read: a cached match for a secret that is not
        among them, hash included, does not count.
        """
        mark = hmac.digest(self._pepper, f"{key_id}:{tail}".encode(), hashlib.sha256)
        match, left = self._recall(mark, stored)
        if match is not None:
            if left < RENEW_SECONDS and self._bcrypt.acquire(blocking=False):
                try:
                    return self._check(key_id, mark, tail, stored)
                finally:
                    self._bcrypt.release()
            return match
        if self._is_throttled(key_id):
            return None
        with self._bcrypt:
            # Another thread may have proved this secret, or used up the failures, while we waited.
            match, _ = self._recall(mark, stored)
            if match is not None or self._is_throttled(key_id):
                return match
            return self._check(key_id, mark, tail, stored)

    def forget(self) -> None:
        """Clear the cache (for tests, and for a process that distrusts its memory)."""
        with self._state:
            self._remembered.clear()
            self._failures.clear()

    def _recall(
        self, mark: bytes, stored: Sequence[StoredSecret]
    ) -> tuple[StoredSecret | None, float]:
        with self._state:
            entry = self._remembered.get(mark)
        if entry is None or entry.secret not in stored:
            return None, 0.0
        left = entry.until - clock.monotonic()
        return (entry.secret, left) if left > 0 else (None, 0.0)

    def _check(
        self, key_id: int, mark: bytes, tail: str, stored: Sequence[StoredSecret]
    ) -> StoredSecret | None:
        for secret in stored:
            if bcrypt.checkpw(tail.encode(), secret.hash.encode()):
                with self._state:
                    until = clock.monotonic() + REMEMBER_SECONDS
                    self._remembered[mark] = _Remembered(secret, until)
                    self._remembered.move_to_end(mark)
                    while len(self._remembered) > MAX_REMEMBERED:
                        self._remembered.popitem(last=False)
                return secret
        with self._state:
            self._failures.setdefault(key_id, deque(maxlen=MAX_FAILURES)).append(clock.monotonic())
        return None

    def _is_throttled(self, key_id: int) -> bool:
        with self._state:
            failures = self._failures.get(key_id)
            if not failures:
                return False
            while failures and failures[0] <= clock.monotonic() - FAILURE_WINDOW:
                failures.popleft()
            if not failures:
                del self._failures[key_id]
            return len(failures) >= MAX_FAILURES


VERIFIER: Final = SecretVerifier()
