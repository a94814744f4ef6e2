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
        #: Broker and delay by order, until it is known whether the book was late or the order.
        self._unchecked: dict[str, tuple[str, float]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def delay(self, adapter: BrokerAdapter) -> float:
        """Seconds after which an order's absence from the book counts as proof."""
        seen = self._longest(adapter.capabilities.kind)
        return max(self._least(adapter.capabilities), min(seen * MARGIN, LONGEST))

    def _longest(self, broker: str) -> float:
        seconds, at = self._measured.get(broker, (0.0, clock.now()))
        unchecked = [delay for of, delay in self._unchecked.values() if of == broker]
        return max(unchecked + ([seconds] if clock.now() - at < KEPT else []), default=0.0)

    def seen_after(self, adapter: BrokerAdapter, seconds: float, tag: str) -> None:
        """Note an order that appeared in the book ``seconds`` after its last byte could leave.

        It counts at once, and is forgotten if a process that froze says that it sent the order
        late. Observed: after one such order nobody's order was sent again for 30 s, for a week.
        """
        broker = adapter.capabilities.kind
        if seconds <= self._longest(broker):
            return
        self._unchecked[tag] = broker, seconds
        task = asyncio.create_task(self._keep(broker, seconds, tag))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _keep(self, broker: str, seconds: float, tag: str) -> None:
        await asyncio.sleep(CHECKED_AFTER)
        now, book_was_late = clock.now(), True
        try:
            book_was_late = await self._db.run(note_lag, broker, seconds, tag, now=now, kept=KEPT)
        except DatabaseDown:
            log.warning("book_lag_not_kept", broker=broker)  # it will be measured again
        self._unchecked.pop(tag, None)
        if book_was_late and seconds > self._longest(broker):
            self._measured[broker] = seconds, now
            log.warning("order_visible_late", broker=broker, seconds=round(seconds, 3), tag=tag)

    async def loop(self) -> None:
        """Read the delays that all executors have measured, for ever."""
        while True:
            for broker, lag in (await self._db.run(measured, clock.now() - KEPT)).items():
                if lag[0] >= self._longest(broker):
                    self._measured[broker] = lag
            await asyncio.sleep(READ_EVERY)
