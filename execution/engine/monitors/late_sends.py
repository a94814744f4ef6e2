"""Alarms for orders of a process that froze between the last check and the order's first byte.

Nothing can be done about that byte (docs/adr/0040). If another executor owns the shard by now, it
may have sent the order itself, and its execution may be over when this one fills; then the
account's book is no longer read for it. So the only process that knows raises the alarm.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from execution.alarms import LEFT_LATE, Alarm
from execution.engine.database.alarm_writer import About, Raised, raise_at_once
from execution.engine.memory.ownership import Ownership
from execution.engine.memory.trading_day import TradingDay
from execution.engine.runtime.database_pool import DatabaseDown, DatabasePool
from execution.state import LiveIntent
from quantleap.core import clock

log = structlog.get_logger(__name__)
AGAIN: Final = 0.25


class LateSends:
    """Receives from channels the orders that left long after their last check."""

    def __init__(self, day: TradingDay, ownership: Ownership, db: DatabasePool) -> None:
        self._day = day
        self._ownership = ownership
        self._db = db
        self._tasks: set[asyncio.Task[None]] = set()

    def left_late(self, intent: LiveIntent, mono: float) -> None:
        """Raise an alarm for an order that left at ``mono`` (monotonic seconds) after a freeze, if
        its shard may have had another owner by then."""
        execution = self._day.executions.get(intent.execution_id)
        if execution is None or self._ownership.owns_at(intent.shard, mono):
            return  # our lease outlasted the pause: no other executor has sent it
        log.error("order_left_late", execution=execution.public_id, tag=intent.tag)
        alarm = Alarm(LEFT_LATE, intent.leg_key, order=intent.tag)
        task = asyncio.create_task(self._say(Raised(About.of(execution), alarm)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _say(self, raised: Raised) -> None:
        while True:
            try:
                await self._db.run(
                    raise_at_once, raised, owner=self._ownership.owner, now=clock.now()
                )
            except DatabaseDown:
                await asyncio.sleep(AGAIN)
            else:
                return
