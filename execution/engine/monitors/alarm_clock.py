"""Raises alarms for what has waited too long: checked once a second, without any broker's help."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import defaultdict
from collections.abc import Callable
from typing import Final

from execution import lifecycle
from execution.alarms import BOOK_UNREAD, NO_PRICE
from execution.duplicates import is_watched
from execution.engine.database import loader
from execution.engine.database.alarm_writer import About
from execution.engine.memory.ownership import Ownership
from execution.engine.memory.trading_day import TradingDay
from execution.engine.memory.work_list import WorkList
from execution.engine.runtime.database_pool import DatabasePool
from execution.engine.runtime.quiet_window import QuietWindow
from execution.overdue import book_unread, over, overdue, unpriced
from execution.state import LiveExecution, LiveIntent, LiveRun
from quantleap.core import clock

EVERY: Final = 1.0
#: Executions checked in one go before the loop may send orders.
AT_ONCE: Final = 250


class AlarmClock:
    """Checks everything that this executor holds, whether or not anything happens."""

    def __init__(
        self,
        *,
        day: TradingDay,
        ownership: Ownership,
        db: DatabasePool,
        quiet: QuietWindow,
        work: WorkList,
        is_judged: Callable[[LiveRun], bool],
    ) -> None:
        """``is_judged``: whether stops and targets of a run need prices now."""
        self._day = day
        self._ownership = ownership
        self._db = db
        self._quiet = quiet
        self._work = work
        self._is_judged = is_judged
        self._known: set[About] = set()

    async def loop(self) -> None:
        """Check once a second, for ever."""
        while True:
            await self._quiet.over()
            await self.once()
            await asyncio.sleep(EVERY)

    async def once(self) -> None:
        """Check all executions once, then their accounts and runs."""
        if self._ownership.fenced():
            return  # they may have another owner, whose own check then finds them
        now, now_mono = clock.now(), clock.monotonic()
        for number, execution in enumerate(list(self._day.executions.values()), start=1):
            if execution.shard in self._ownership.tokens:
                self._look(execution, now, now_mono)
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
        await self._adopt()
        self._look_around(clock.now(), clock.monotonic())

    def _look_around(self, now: dt.datetime, now_mono: float) -> None:
        alarms, waiting = self._work.alarms, self._waiting()
        for about in self._abouts():
            if about.account_id is not None:
                orders = waiting.get(about.account_id, [])
                actor = self._day.actors.at(about.account_id)
                read = None if actor is None else actor.read_mono
                alarm, cause = book_unread(orders, read, now, now_mono), BOOK_UNREAD
            else:
                run = self._day.runs[about.run_id or 0]
                judged = self._is_judged(run) and now.timestamp() < run.closes_unix
                alarm, cause = unpriced(run, now_mono) if judged else None, NO_PRICE
            fact = "it was read" if cause == BOOK_UNREAD else "its legs have prices, or are over"
            if alarm is not None:
                changed = alarms.raise_about(about, alarm)
            else:
                changed = alarms.clear_about(about, cause, fact)
            if changed:
                self._work.wake()

    def _look(self, execution: LiveExecution, now: dt.datetime, now_mono: float) -> None:
        late = overdue(execution, now, now_mono)
        if not late and not execution.alarms:
            return
        for (cause, leg), alarm in late.items():
            self._work.alarm(execution.id, cause, leg=leg, words=alarm.words, order=alarm.order)
        for (cause, leg), fact in over(execution, late):
            self._work.calm(execution.id, cause, leg=leg, fact=fact)

    def _waiting(self) -> dict[int, list[LiveIntent]]:
        """Orders whose outcome only a book can show, by account: unfinished ones, and those that
        were given up and may still turn up."""
        by_account: dict[int, list[LiveIntent]] = defaultdict(list)
        for intent in self._day.unfinished.values():
            if intent.state in lifecycle.MAY_REST:
                by_account[intent.account_id].append(intent)
        for execution in self._day.executions.values():
            for intent in execution.intents:
                if intent.is_final and is_watched(intent):
                    by_account[intent.account_id].append(intent)
        return by_account

    def _abouts(self) -> set[About]:
        """Accounts and runs of the executions in our shards."""
        held = [e for e in self._day.executions.values() if e.shard in self._ownership.tokens]
        accounts = {About(account_id=e.account_id, shard=e.shard) for e in held}
        runs = {e.run.id: e.run for e in held if e.run.id in self._day.runs}
        return accounts | {About(run_id=run.id, name=run.public_id) for run in runs.values()}

    async def _adopt(self) -> None:
        """Load alarms that were raised about accounts and runs before they were ours."""
        abouts = self._abouts()
        fresh, self._known = abouts - self._known, abouts
        if fresh:
            try:
                open_alarms = await self._db.run(loader.alarms_about, fresh)
            except BaseException:
                self._known = abouts - fresh
                raise
            self._work.alarms.adopt(open_alarms)
