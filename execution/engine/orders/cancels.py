"""Cancels of resting orders: paced, and sent for our own shards only."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from brokers.pace import Call
from execution.engine.memory.actors import Actors
from execution.engine.memory.ownership import Ownership
from execution.engine.memory.reading_list import ReadingList
from execution.engine.orders.broker_calls import BrokerCalls
from execution.engine.wire.channel import Channel
from execution.pacing import EXITS
from execution.state import LiveExecution, LiveIntent
from execution.withdrawals import note_cancel
from quantleap.core import clock


class Cancels:
    """Sends cancels to brokers; the book shows the outcome."""

    def __init__(
        self, actors: Actors, ownership: Ownership, calls: BrokerCalls, reading: ReadingList
    ) -> None:
        self._actors = actors
        self._ownership = ownership
        self._calls = calls
        self._reading = reading
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, execution: LiveExecution, intent: LiveIntent) -> None:
        """Ask the broker to cancel a resting order of an execution."""
        note_cancel(execution, intent, clock.monotonic())
        if not intent.broker_order_id:
            intent.cancel_sent_mono = 0.0
            return
        self._spawn(self.send(intent))

    def begin_stray(self, channel: Channel, order_id: str) -> None:
        """Ask the broker to cancel an order that should not be there, by the broker's order id."""
        self._spawn(self._cancel(channel, order_id))

    def close(self) -> None:
        """Abandon all cancels under way."""
        for task in list(self._tasks):
            task.cancel()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def send(self, intent: LiveIntent) -> None:
        """Send a cancel; return after its answer or time-out. The book is read next."""
        actor = self._actors.at(intent.account_id)
        channel = None if actor is None else actor.changer(intent.account_id)
        if channel is not None:
            await self._cancel(channel, intent.broker_order_id)

    async def _cancel(self, channel: Channel, order_id: str) -> None:
        request = channel.adapter.cancel_order(channel.session, order_id)
        await channel.paced(Call.CHANGE, EXITS)
        if not self._ownership.owns(channel.shard):
            return  # the order belongs to another executor by now
        response = await self._calls.fetch(channel, request)
        if response is not None:
            # By the parsed cause: Noren's "too many" comes with another status than Kite's.
            result = channel.adapter.parse_cancel(response)
            if result.cause == "RATE_LIMIT":
                channel.throttled(response, Call.CHANGE, result.message)
        self._reading.soon(channel.account_id)
