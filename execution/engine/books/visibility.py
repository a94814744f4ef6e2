"""How long brokers take to show an accepted order in their books: measured, stored, bounded.

Absence is proven only after that long, for I3 (no second send without proof). The adapter declares
the minimum; a longer delay that was measured applies in all executors for a week.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable
from typing import Final

import structlog

from brokers.base import BrokerAdapter, Capabilities
from execution.engine.database.book_lags import measured, note_lag
from execution.engine.runtime.database_pool import DatabaseDown, DatabasePool
from quantleap.core import clock

log = structlog.get_logger(__name__)
#: Factor on a measured delay: it may be a little longer the next time.
MARGIN: Final = 1.5
#: Longest delay in seconds; otherwise an exit that is not there might never be sent again.
LONGEST: Final = 30.0
#: How long a measured delay counts.
KEPT: Final = dt.timedelta(days=7)
#: Seconds for a process that froze to say that the order left late (LEFT_LATE).
CHECKED_AFTER: Final = 5.0
#: Seconds between two reads of what other executors have measured.
READ_EVERY: Final = 30.0


class Visibility:
    """The delay of each broker in seconds. ``least``: the declared minimum, or the setting."""

    def __init__(self, db: DatabasePool, least: Callable[[Capabilities], float]) -> None:
        self._db = db
        self._least = least
        self._measured: dict[str, tuple[float, dt.datetime]] = {}
        #: Delays by broker and order, until it is known whether the book was late or the order.
        self._unchecked: dict[str, dict[str, float]] = {}
        #: The longest of them by broker, and of those that are being checked.
        self._suspected: dict[str, float] = {}
        self._checks: dict[str, asyncio.Task[None]] = {}

    def delay(self, adapter: BrokerAdapter) -> float:
        """Seconds after which an order's absence from the book counts as proof."""
        broker = adapter.capabilities.kind
        longest = max(self._known(broker), self._suspected.get(broker, 0.0))
        return max(self._least(adapter.capabilities), min(longest * MARGIN, LONGEST))

    def _known(self, broker: str) -> float:
        seconds, at = self._measured.get(broker, (0.0, clock.now()))
        return seconds if clock.now() - at < KEPT else 0.0

    def seen_after(self, adapter: BrokerAdapter, seconds: float, tag: str) -> None:
        """Note an order that appeared in the book ``seconds`` after its last byte could leave.

        It counts at once, and is forgotten if a process that froze says that it sent the order
        late. Observed: after one such order nobody's order was sent again for 30 s, for a week.
        """
        broker = adapter.capabilities.kind
        if seconds <= self._known(broker):
            return
        self._unchecked.setdefault(broker, {})[tag] = seconds
        self._suspected[broker] = max(seconds, self._suspected.get(broker, 0.0))
        if broker not in self._checks:
            self._checks[broker] = asyncio.create_task(self._check(broker))

    async def _check(self, broker: str) -> None:
        """Check all orders that have been noted, together: a thousand may be late in one book."""
        try:
            while delays := self._unchecked.pop(broker, None):
                await asyncio.sleep(CHECKED_AFTER)
                now = clock.now()
                try:
                    lag = await self._db.run(note_lag, broker, delays, now=now, kept=KEPT)
                except DatabaseDown:
                    log.warning("book_lag_not_kept", broker=broker)  # it will be measured again
                    lag = max(delays.values())
                if lag > self._known(broker):
                    self._measured[broker] = lag, now
                    log.warning("order_visible_late", broker=broker, seconds=round(lag, 3))
                self._suspected[broker] = max(self._unchecked.get(broker, {}).values(), default=0.0)
        finally:
            del self._checks[broker]

    async def loop(self) -> None:
        """Read the delays that all executors have measured, for ever."""
        while True:
            for broker, lag in (await self._db.run(measured, clock.now() - KEPT)).items():
                if lag[0] >= self._known(broker):
                    self._measured[broker] = lag
            await asyncio.sleep(READ_EVERY)
