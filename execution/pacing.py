"""At most n orders per second for one account and exchange (execution.md section 2). Pure.

The exchanges' threshold is 10 a second; 9 are used, so that jitter on the wire never makes an
eleventh (NSE/INVG/67858 B.2, reliability.md 1.3).
"""

from __future__ import annotations

from collections import deque
from typing import Final

WINDOW: Final = 1.0
MARGIN: Final = 1


class Pacer:
    """Sliding one-second window of sends of one account. Times are monotonic seconds."""

    __slots__ = ("_limit", "_sends")

    def __init__(self, orders_per_second: int) -> None:
        self._limit = max(1, orders_per_second - MARGIN)
        self._sends: deque[float] = deque()

    def next_slot(self, now: float) -> float:
        """Earliest time at or after ``now`` at which one more order may leave."""
        while self._sends and self._sends[0] <= now - WINDOW:
            self._sends.popleft()
        if len(self._sends) < self._limit:
            return now
        return self._sends[-self._limit] + WINDOW

    def take(self, now: float) -> None:
        """Count one order leaving at ``now``."""
        self._sends.append(now)
