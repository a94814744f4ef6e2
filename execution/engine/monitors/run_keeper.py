"""The runs of the day: armed shortly before their entry, held in memory until they are over."""

from __future__ import annotations

import asyncio
from typing import Final

from execution.arming import DueStrategy, arm_due
from execution.engine.database import loader
from execution.engine.memory.ownership import Ownership
from execution.engine.memory.trading_day import TradingDay
from execution.engine.runtime.database_pool import DatabasePool
from execution.timing import Timing
from quantleap.core import clock

ARM_EVERY: Final = 1.0
ARM_NEAR: Final = 10.0


class RunKeeper:
    """Arms runs, and keeps the database's open runs in memory."""

    def __init__(
        self, timing: Timing, db: DatabasePool, ownership: Ownership, day: TradingDay
    ) -> None:
        self._timing = timing
        self._db = db
        self._ownership = ownership
        self._day = day
        self._armed: dict[str, float] = {}

    async def loop(self) -> None:
        """Arm what is due, for ever; arm nothing while our clock is off."""
        while True:
            if not self._ownership.clock_is_off:
                await self._db.run(
                    arm_due, now=clock.now(), timing=self._timing, skip=self._armed_lately
                )
            await asyncio.sleep(ARM_EVERY)

    def _armed_lately(self, due: DueStrategy) -> bool:
        """Whether a strategy was armed a moment ago. Arming reads every subscriber, so it does not
        run every second; more often near the entry."""
        now = clock.monotonic()
        near = abs((due.entry_at - clock.now()).total_seconds()) < ARM_NEAR
        if now - self._armed.get(due.strategy.key, -1e9) < (2 * ARM_EVERY if near else ARM_NEAR):
            return True
        self._armed[due.strategy.key] = now
        return False

    async def load(self) -> None:
        """Update the runs in memory, including their decisions."""
        runs = self._day.runs
        rows = await self._db.run(loader.open_runs)
        fresh = [row for row in rows if row.id not in runs]
        closes = await self._db.run(loader.closing_times, fresh) if fresh else {}
        for row in rows:
            if row.id not in runs:
                runs[row.id] = loader.live_run(row, closes.get(row.id))
            runs[row.id].status = row.status
        for run_id in set(runs) - {row.id for row in rows}:
            if not self._day.of_run(run_id):
                del runs[run_id]
        if runs:
            await self._db.run(loader.refresh_decisions, dict(runs))
