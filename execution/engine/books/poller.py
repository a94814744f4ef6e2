"""Decides when to read brokers' order books: while orders are unfinished, within the read rate."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Final

import structlog

from execution import duplicates, lifecycle, transitions
from execution.causes import BROKER_DOWN
from execution.engine.books.book_reader import BookReader
from execution.engine.memory.actors import Actor
from execution.engine.memory.channels import Channels
from execution.engine.memory.reading_list import ReadingList
from execution.engine.memory.streams import Streams
from execution.engine.memory.trading_day import TradingDay
from execution.engine.memory.work_list import WorkList
from execution.engine.orders.accounts import Accounts
from execution.engine.orders.sender import OrderSender
from execution.engine.runtime.quiet_window import QuietWindow
from execution.engine.wire.channel import Channel
from execution.pacing import READS
from execution.state import LiveIntent
from quantleap.core import clock

log = structlog.get_logger(__name__)
PERIOD: Final = 0.05
#: Seconds between two checks of all unfinished orders; a requested book is read sooner.
CHECK_EVERY: Final = 0.5
#: Reads started before the loop yields to whatever has arrived.
AT_A_TIME: Final = 16
UNKNOWN_EVERY: Final = 1.5
REST_EVERY: Final = 2.0
#: Seconds between two reads of a book whose account has order updates.
RECONCILED_EVERY: Final = 5.0
STRANDED_AFTER: Final = 5.0
STALE_SENDING: Final = 2.0


class BookPoller:
    """Reads the books of accounts with unfinished orders, within each broker's read rate."""

    def __init__(
        self,
        *,
        day: TradingDay,
        quiet: QuietWindow,
        channels: Channels,
        accounts: Accounts,
        sender: OrderSender,
        reader: BookReader,
        streams: Streams,
        work: WorkList,
        reading: ReadingList,
        answer_timeout: float,
    ) -> None:
        """``answer_timeout``: seconds to wait for the answer to an order."""
        self._day = day
        self._quiet = quiet
        self._channels = channels
        self._accounts = accounts
        self._sender = sender
        self._reader = reader
        self._streams = streams
        self._work = work
        self._reading = reading
        self._late = answer_timeout + STALE_SENDING
        self._checked_at = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    def close(self) -> None:
        """Stop reading."""
        for task in list(self._tasks):
            task.cancel()

    # -- the loop ----------------------------------------------------------------------------
    async def loop(self) -> None:
        """Read the books that are due, for ever."""
        while True:
            await self._quiet.over()
            await self._look()
            await asyncio.sleep(PERIOD)

    async def _look(self) -> None:
        """Start the reads that are due now."""
        now = clock.monotonic()
        if now - self._checked_at >= CHECK_EVERY:
            self._checked_at = now
            self._check(now)
        due: dict[Actor, list[LiveIntent]] = {}
        for actor in list(self._reading.watched):
            if actor.reading or actor.next_read_mono > now:
                continue
            intents = _waiting(actor)
            if intents:
                due[actor] = intents
            else:
                self._reading.watched.discard(actor)
        await self._open_missing(due)
        for number, (actor, intents) in enumerate(due.items(), start=1):
            self._start(actor, intents)
            if number % AT_A_TIME == 0:  # five thousand in one go would delay every answer
                await asyncio.sleep(0)

    def _check(self, now: float) -> None:
        """Check all unfinished orders: settle lost sends, and list the books to read."""
        for intent in list(self._day.unfinished.values()):
            if intent.is_final:
                del self._day.unfinished[intent.code]
            if (
                intent.state == lifecycle.SENDING
                and intent.sent_mono
                and now - intent.sent_mono > self._late
            ):
                transitions.become_unknown(intent, now)
                self._work.changed(intent)
            elif self._is_stranded(intent):
                self._sender.on_not_sent(intent, BROKER_DOWN)
            if intent.state in lifecycle.MAY_REST:
                actor = self._day.actors.at(intent.account_id)
                if actor is not None:
                    self._reading.watched.add(actor)

    def _is_stranded(self, intent: LiveIntent) -> bool:
        """Whether an order is overdue and in no queue: however it was lost, it has provably not
        left. Observed: 12 orders SENDING for ever, without a cause or an alarm."""
        if intent.state != lifecycle.SENDING or intent.sent_mono:
            return False
        if (clock.now() - intent.due_at).total_seconds() < STRANDED_AFTER:
            return False
        channel = self._channels.by_account.get(intent.account_id)
        waits = channel is not None and channel.holds(intent)
        return not waits and not self._sender.is_fenced(intent)

    async def _open_missing(self, waiting: Mapping[Actor, Sequence[LiveIntent]]) -> None:
        """Look up the sessions of account rows without one, all at once."""
        owners = {
            intent.execution_id
            for actor, intents in waiting.items()
            for intent in intents
            if intent.account_id not in actor.channels
            and intent.execution_id in self._day.executions
        }
        if owners:
            await self._accounts.open_for([self._day.executions[key] for key in owners])

    def _start(self, actor: Actor, intents: Sequence[LiveIntent]) -> None:
        channel = actor.reader()
        if channel is None:
            return
        actor.reading = True
        self._spawn(self._read(actor, channel, intents))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read(self, actor: Actor, channel: Channel, intents: Sequence[LiveIntent]) -> None:
        try:
            await self._reader.read(channel, READS)
            self._escalate(intents)
        finally:
            actor.reading = False
            actor.reads += 1
            actor.next_read_mono = clock.monotonic() + self._pause(actor, channel, intents)

    def _pause(self, actor: Actor, channel: Channel, intents: Sequence[LiveIntent]) -> float:
        budget = 1 / float(channel.adapter.capabilities.book_reads_per_second)
        if any(intent.state == lifecycle.UNKNOWN for intent in intents):
            return max(budget, UNKNOWN_EVERY)
        watched = any(duplicates.is_watched(intent) for intent in intents)
        if self._streams.trusts(actor) and not watched:
            return RECONCILED_EVERY
        return max(budget, min(REST_EVERY, 0.25 * float(2**actor.reads)))

    def _escalate(self, intents: Sequence[LiveIntent]) -> None:
        now, now_mono = clock.now(), clock.monotonic()
        for intent in intents:
            if transitions.escalate_if_stuck(intent, at=now, now_mono=now_mono):
                log.error("intent_escalated", tag=intent.tag, account=intent.account_id)
                self._work.changed(intent)
            if duplicates.lose_sight(intent, now_mono):
                log.error("intent_out_of_sight", tag=intent.tag, account=intent.account_id)
                self._work.schedule_ids([intent.execution_id])


def _waiting(actor: Actor) -> list[LiveIntent]:
    return [
        intent
        for intent in actor.intents.values()
        if intent.state in lifecycle.MAY_REST or duplicates.is_watched(intent)
    ]
