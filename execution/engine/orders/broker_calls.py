"""Broker calls other than orders: reads and quotes, each paced by its account and time-limited."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import structlog

from brokers import transport_async
from brokers.base import HttpRequest, HttpResponse
from brokers.pace import Call, Urgency
from brokers.transport_sync import Limits, TransportError
from execution.engine.memory.actors import Actor
from execution.engine.runtime import call_slots
from execution.engine.runtime.call_slots import CallSlots
from execution.engine.runtime.quiet_window import QuietWindow
from execution.engine.wire.channel import Channel
from execution.pacing import EXITS
from quantleap.core import clock

log = structlog.get_logger(__name__)
T = TypeVar("T")
#: Limits of a read: a day's book of 3,000 orders is some 3 MB. A larger answer is not read fully.
LIMITS: Final = Limits(connect=2.0, read=4.0, max_bytes=5 * 1024 * 1024)
#: Bytes from which an answer is parsed in a thread: a thousand orders take a tenth of a second.
LARGE: Final = 32 * 1024


class BrokerCalls:
    """Sends calls other than orders and parses the answers. No order waits for them."""

    def __init__(self, quiet: QuietWindow) -> None:
        self._quiet = quiet
        # No limit on connections: hanging ones would use it up.
        self._clients = transport_async.Clients(connections=0)
        self._slots: dict[str, CallSlots] = {}
        self._failing: dict[int, str] = {}
        self._parser = ThreadPoolExecutor(1, "executor-books")

    async def close(self) -> None:
        """Close the connections and the parser thread."""
        await self._clients.close()
        self._parser.shutdown(wait=False, cancel_futures=True)

    async def quote(self, channel: Channel, request: HttpRequest) -> HttpResponse | None:
        """The answer to a quote request, paced by the account; None if there was none."""
        await channel.paced(Call.QUOTE, EXITS)
        response, _ = await self.read_in_slot(channel, request, EXITS)
        return response

    async def read_in_slot(
        self, channel: Channel, request: HttpRequest, urgency: Urgency
    ) -> tuple[HttpResponse | None, float]:
        """The answer to a read (None: none in time), and when it was sent (monotonic seconds)."""

        async def read() -> tuple[HttpResponse | None, float]:
            started = clock.monotonic()
            return await self.fetch(channel, request), started

        bound = self._slots.setdefault(channel.real.broker, CallSlots(*call_slots.READS))
        return await bound.carry(read, urgent=urgency is EXITS)

    async def parse(
        self,
        parse: Callable[[HttpResponse], T],
        response: HttpResponse,
        actor: Actor | None = None,
    ) -> T:
        """Parse an answer. Large ones are parsed in a thread, one after another, and their account
        rests afterwards."""
        if len(response.body) <= LARGE:
            return parse(response)
        await self._quiet.over()  # a thread would compete with the orders that leave
        loop = asyncio.get_running_loop()
        parsed, seconds = await loop.run_in_executor(self._parser, _timed, parse, response)
        if actor is not None:
            actor.worked(seconds)
        return parsed

    async def fetch(self, channel: Channel, request: HttpRequest) -> HttpResponse | None:
        """The answer, or None if there was none in time (which proves nothing)."""
        account_id = channel.account_id
        try:
            answer = await channel.fetch(self._clients, request, LIMITS)
        except TransportError as error:
            # Logged once, not with every read: a broker that is down is one fact.
            say = log.debug if self._failing.get(account_id) == error.message else log.warning
            say("broker_read_failed", account=account_id, reason=error.message)
            self._failing[account_id] = error.message
            channel.unanswered += 1
            return None
        channel.unanswered = 0
        if self._failing.pop(account_id, ""):
            log.info("broker_answers_again", account=account_id)
        return answer


def _timed(parse: Callable[[HttpResponse], T], response: HttpResponse) -> tuple[T, float]:
    """The result of ``parse``, and the CPU seconds that it took."""
    begun = time.thread_time()
    return parse(response), time.thread_time() - begun
