"""What the next round has to decide and to write, and the bell that begins it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable

from execution.alarms import Alarm
from execution.engine.memory.alarm_queue import AlarmQueue
from execution.engine.memory.trading_day import TradingDay
from execution.state import LiveExecution, LiveIntent


class WorkList:
    """Filled by whoever notices something, emptied by the rounds. In the loop's thread alone."""

    def __init__(self, day: TradingDay) -> None:
        self._day = day
        #: Executions to decide, by id, in order: who was first is decided first.
        self.touched: dict[int, None] = {}
        #: Intents to write, by code.
        self.dirty: dict[str, LiveIntent] = {}
        self.alarms = AlarmQueue()
        self._bell = asyncio.Event()

    # -- noticing ----------------------------------------------------------------------------
    def touch(self, executions: Iterable[LiveExecution]) -> None:
        """Ask again what is next for these executions."""
        self.ask(execution.id for execution in executions)

    def ask(self, numbers: Iterable[int]) -> None:
        """:meth:`touch` by the executions' numbers."""
        self.touched.update(dict.fromkeys(numbers))
        if self.touched:
            self._bell.set()

    def changed(self, intent: LiveIntent) -> None:
        """An intent has something to write; its execution has something to decide."""
        self.dirty[intent.code] = intent
        self.touched[intent.execution_id] = None
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
        """A person has to look at an execution: a cause of :mod:`execution.alarms`, and of what.

        ``leg`` is a leg's key, ``words`` the broker's, ``order`` a tag. Written with the next
        round, and said once for each cause and leg until :meth:`calm`: whoever sees the same again
        may say it again. ``again``: this is a new fact, told even if the one before was settled.
        """
        execution = self._day.executions.get(execution_id)
        alarm = Alarm(cause, leg, words, order, again)
        if execution is not None and self.alarms.raise_on(execution, alarm):
            self.touch([execution])

    def calm(self, execution_id: int, cause: str, *, leg: str = "", fact: str) -> None:
        """What :meth:`alarm` told of is over, by this fact (in words): the alarm is cleared.

        Nothing happens where there is none; the same cause raises a new one afterwards.
        """
        execution = self._day.executions.get(execution_id)
        if execution is not None and self.alarms.clear_on(execution, cause, leg, fact):
            self.touch([execution])

    def wake(self) -> None:
        """Write what is to be written, though no execution has changed."""
        self._bell.set()

    # -- the rounds' side --------------------------------------------------------------------
    async def wait(self) -> None:
        """Return when there is something to decide or to write."""
        await self._bell.wait()

    def silence(self) -> None:
        """A round begins: whoever notices something from here on rings for the next one."""
        self._bell.clear()

    def take(self, at_most: int) -> tuple[dict[int, None], dict[str, LiveIntent]]:
        """The part that one round decides and writes: who came first. The bell rings for what is
        left of it."""
        if len(self.touched) <= at_most:
            touched, self.touched = self.touched, {}
            dirty, self.dirty = self.dirty, {}
            return touched, dirty
        self._bell.set()
        touched = dict.fromkeys(itertools.islice(self.touched, at_most))
        for number in touched:
            del self.touched[number]
        dirty = {c: intent for c, intent in self.dirty.items() if intent.execution_id in touched}
        for code in dirty:
            del self.dirty[code]
        return touched, dirty

    def take_dirty(self) -> dict[str, LiveIntent]:
        """All intents that are to be written."""
        taken, self.dirty = self.dirty, {}
        return taken

    def add_dirty(self, intents: Iterable[LiveIntent]) -> None:
        """More to write with the next round, which this alone does not begin."""
        self.dirty.update((intent.code, intent) for intent in intents)

    def put_off(self, intents: dict[str, LiveIntent]) -> None:
        """Write these in a later round; what has been noticed since stands before them."""
        self.dirty = intents | self.dirty

    def give_back(self, touched: dict[int, None], dirty: dict[str, LiveIntent]) -> None:
        """A round has failed: nothing of it is assumed written, everything is tried again."""
        self.touched = touched | self.touched
        self.dirty = dirty | self.dirty
        self._bell.set()
