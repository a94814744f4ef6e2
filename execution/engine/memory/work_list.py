"""What the next round has to decide and write, and the event that starts it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable

from execution.alarms import Alarm
from execution.engine.memory.alarm_queue import AlarmQueue
from execution.engine.memory.trading_day import TradingDay
from execution.state import LiveExecution, LiveIntent


class WorkList:
    """Filled by all parts, emptied by the rounds. Used in the loop's thread only."""

    def __init__(self, day: TradingDay) -> None:
        self._day = day
        #: Ids of executions to decide, in order of arrival.
        self.scheduled: dict[int, None] = {}
        #: Intents to write, by code.
        self.dirty: dict[str, LiveIntent] = {}
        self.alarms = AlarmQueue()
        self._bell = asyncio.Event()

    # -- noticing ----------------------------------------------------------------------------
    def schedule(self, executions: Iterable[LiveExecution]) -> None:
        """Schedule these executions for the next round."""
        self.schedule_ids(execution.id for execution in executions)

    def schedule_ids(self, numbers: Iterable[int]) -> None:
        """:meth:`schedule` by the executions' ids."""
        self.scheduled.update(dict.fromkeys(numbers))
        if self.scheduled:
            self._bell.set()

    def changed(self, intent: LiveIntent) -> None:
        """Schedule an intent to be written and its execution to be decided."""
        self.dirty[intent.code] = intent
        self.scheduled[intent.execution_id] = None
        self._bell.set()

    def alarm(
        self,
        execution_id: int,
        cause: str,
        *,
        leg: str = "",
        words: str = "",
        order: str = "",
        again: bool = False,
    ) -> None:
        """Raise an alarm about an execution, with a cause of :mod:`execution.alarms`.

        ``leg`` is a leg's key, ``words`` the broker's text, ``order`` a tag. Written with the next
        round, once for each cause and leg until :meth:`calm`; repeated calls are harmless.
        ``again``: this is a new fact, raised even if the alarm before was settled.
        """
        execution = self._day.executions.get(execution_id)
        alarm = Alarm(cause, leg, words, order, again)
        if execution is not None and self.alarms.raise_on(execution, alarm):
            self.schedule([execution])

    def calm(self, execution_id: int, cause: str, *, leg: str = "", fact: str) -> None:
        """Clear an alarm raised by :meth:`alarm`; ``fact`` (text) says what ended it.

        Does nothing if there is none; the same cause raises a new alarm afterwards.
        """
        execution = self._day.executions.get(execution_id)
        if execution is not None and self.alarms.clear_on(execution, cause, leg, fact):
            self.schedule([execution])

    def wake(self) -> None:
        """Start a round although no execution has changed."""
        self._bell.set()

    # -- the rounds' side --------------------------------------------------------------------
    async def wait(self) -> None:
        """Return when there is something to decide or write."""
        await self._bell.wait()

    def silence(self) -> None:
        """Reset the event as a round begins: from here on, news starts the next round."""
        self._bell.clear()

    def take(self, at_most: int) -> tuple[dict[int, None], dict[str, LiveIntent]]:
        """Take the first ``at_most`` executions and their intents to write. If some are left, the
        next round starts at once."""
        if len(self.scheduled) <= at_most:
            scheduled, self.scheduled = self.scheduled, {}
            dirty, self.dirty = self.dirty, {}
            return scheduled, dirty
        self._bell.set()
        scheduled = dict.fromkeys(itertools.islice(self.scheduled, at_most))
        for number in scheduled:
            del self.scheduled[number]
        dirty = {c: intent for c, intent in self.dirty.items() if intent.execution_id in scheduled}
        for code in dirty:
            del self.dirty[code]
        return scheduled, dirty

    def take_dirty(self) -> dict[str, LiveIntent]:
        """Take all intents that are to be written."""
        taken, self.dirty = self.dirty, {}
        return taken

    def add_dirty(self, intents: Iterable[LiveIntent]) -> None:
        """Add intents to write with the next round, without starting one."""
        self.dirty.update((intent.code, intent) for intent in intents)

    def put_off(self, intents: dict[str, LiveIntent]) -> None:
        """Write these in a later round; what was noted since takes precedence."""
        self.dirty = intents | self.dirty

    def give_back(self, scheduled: dict[int, None], dirty: dict[str, LiveIntent]) -> None:
        """Take back the work of a failed round: nothing is assumed written, all is tried again."""
        self.scheduled = scheduled | self.scheduled
        self.dirty = dirty | self.dirty
        self._bell.set()
